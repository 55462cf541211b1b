/* fetch.c - see fetch.h. */
#include "server/fetch.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/seal.h"
#include "server/store.h"

enum { HEADER_ROOM = 512 };	/* the longest header is shorter */

int
fetch_cells(struct block_ref *ref, unsigned first, unsigned count, uint8_t **ret_data, size_t *ret_len)
{
	size_t room = ref->len < HEADER_ROOM ? ref->len : HEADER_ROOM, offset, size;
	struct block_header h;
	uint8_t head[HEADER_ROOM], *data = NULL;
	int r = store_block_read(ref, 0, room, head);

	if (r == 0)
		r = block_header_decode(&h, (struct bytes){ head, room });
	if (r < 0)
		return r;
	if (first >= h.cells || count == 0)
		return -EINVAL;
	if (count > h.cells - first)
		count = h.cells - first;
	r = block_cells(&h, first, count, &offset, &size);
	if (r == 0 && (offset < h.size || offset + size > ref->len))
		r = -EBADMSG;
	if (r < 0)
		return r;
	data = malloc(h.size + size);
	if (data == NULL)
		return -ENOMEM;
	/* All of it in one piece: then its checksum is verified. */
	if (h.size + size == ref->len && offset == h.size)
		r = store_block_read(ref, 0, ref->len, data);
	else if ((r = store_block_read(ref, 0, h.size, data)) == 0)
		r = store_block_read(ref, offset, size, data + h.size);
	if (r < 0) {
		free(data);
		return r;
	}
	*ret_data = data;
	*ret_len = h.size + size;
	return 0;
}
