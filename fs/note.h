/*
 * note.h - a small file of "key value" lines that survives a crash whole.
 *
 *	nuage TYPE 1
 *	key value
 *	...
 *	checksum 16 hex digits		of the lines above, BLAKE2b
 *
 * A note is written beside its file, synced and renamed over it, mode 0600.
 * It may hold secrets: note_done() wipes it.  One thread.
 */
#ifndef FS_NOTE_H
#define FS_NOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NOTE_MAX = 4096 };
struct note {
	char	text[NOTE_MAX];
	size_t	len;
	bool	overflow;
};

void	note_begin(struct note *n, const char *type);
/* Values must not hold a line break; one that does not fit fails the saving. */
void	note_add(struct note *n, const char *key, const char *value);
void	note_add_hex(struct note *n, const char *key, const uint8_t *from, size_t len);
void	note_add_number(struct note *n, const char *key, uint64_t value);
/* 0, or -errno; -EINVAL when the note overflowed. */
int	note_save(struct note *n, const char *path);

/* 0, -ENOENT, -EBADMSG (damaged, or another type), -ENOTSUP (a later version), or -errno. */
int	note_load(struct note *n, const char *path, const char *type);
/* The value, in the note; NULL when there is none. */
const char *note_get(const struct note *n, const char *key);
/* 0 or -EBADMSG: absent, or not exactly that long. */
int	note_get_hex(const struct note *n, const char *key, uint8_t *to, size_t len);
int	note_get_number(const struct note *n, const char *key, uint64_t *to);
void	note_done(struct note *n);
/* The entry of that path is on the disk afterwards; for other files than notes, too. */
int	note_sync_directory_of(const char *path);

#endif
