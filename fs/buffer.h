/*
 * buffer.h - counted plain bytes, shared between the engine and the threads
 * that seal, open and send.  The count is atomic; the bytes are written only
 * by the holder that made them, or under the engine's lock.
 */
#ifndef FS_BUFFER_H
#define FS_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct buffer {
	_Atomic int	 refs;
	size_t		 size;		/* bytes in use */
	size_t		 capacity;
	uint8_t		*data;		/* zeroed when new, unless raw */
};

/* One reference for the caller; NULL when out of memory. */
struct buffer	*buffer_new(size_t capacity);
/* The same with bytes of no particular value, for a caller that writes all it uses. */
struct buffer	*buffer_new_raw(size_t capacity);
struct buffer	*buffer_get(struct buffer *b);
void		 buffer_put(struct buffer *b);		/* NULL is fine */

#endif
