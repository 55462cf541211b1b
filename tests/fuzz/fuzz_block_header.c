/* fuzz_block_header.c - every range of cells lies in a block of legal size; no forged cell opens. */
#include "proto/seal.h"

#include "tests/fuzz/fuzz.h"

const char fuzz_target[] = "block_header";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[KEY_SIZE] = { 1 }, id[ID_SIZE] = { 2 };
	static struct volume_keys *keys;
	static uint8_t plain[CELL_SIZE];
	struct block_header h;
	size_t offset, bytes, end;

	if (keys == NULL && (keys = volume_keys_new(key, key)) == NULL)
		abort();
	if (block_header_decode(&h, (struct bytes){ data, size }) < 0)
		return 0;
	promise(h.size <= size && h.cells > 0 && h.cells <= CELLS_MAX && h.length <= BLOCK_SIZE);
	promise(block_cells(&h, 0, h.cells, &offset, &end) == 0 && offset == h.size &&
	    offset + end <= BLOCK_SEALED_MAX);
	end += h.size;
	for (unsigned i = 0; i < h.cells; i++) {
		promise(block_cells(&h, i, 1, &offset, &bytes) == 0 && bytes <= CELL_SIZE + 16 &&
		    offset + bytes <= end);
		if (offset + bytes <= size)
			promise(cell_open(keys, id, &h, i, (struct bytes){ data + offset, bytes }, plain) < 0);
	}
	promise(block_cells(&h, h.cells, 1, &offset, &bytes) < 0);
	return 0;
}
