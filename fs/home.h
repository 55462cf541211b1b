/*
 * home.h - what one person's nuage keeps on this machine.
 *
 *	config/device			this device's key
 *	config/servers/NAME		address and pinned public key
 *	config/volumes/SERVER/NAME	id, the volume key wrapped for the device
 *	state/ID/lock			held (flock) while the volume is mounted
 *	state/ID/session		of the present or the last, killed mount
 *	state/ID/mount			the live or killed mount's device
 *	state/ID/version		highest version of the volume seen
 *	state/ID/journal/		what a mount did and the server may not have (journal.h)
 *	state/ID/conflicts		copies that its running again made: a path a line
 *	state/ID/pins/HASH		what is pinned: a path each
 *	cache/ID/			sealed blocks (blockcache.h)
 *	run/ID				control socket of a live mount
 *
 * config is $XDG_CONFIG_HOME/nuage, state $XDG_STATE_HOME/nuage/journal, cache
 * $XDG_CACHE_HOME/nuage, run $XDG_RUNTIME_DIR/nuage (or /run/nuage for root);
 * with $NUAGE_HOME set, all are directories of it.  Directories are made
 * 0700 when first needed.  Files are notes (note.h).
 *
 * Unless said otherwise functions return 0 or a negative errno; -EBADMSG is a
 * damaged file.  One thread, except home_session_save() and
 * home_version_save(), which may come from any.
 */
#ifndef FS_HOME_H
#define FS_HOME_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/limits.h"
#include "proto/wrap.h"

enum {
	HOME_NAME	= VOLUME_NAME_MAX + 1,
	HOME_ADDRESSES	= 512,
};

struct home;
int	home_open(struct home **ret);
void	home_close(struct home *h);
/* A path inside, for messages; borrowed. */
const char *home_config(const struct home *h);

/*
 * The device's secret key, into locked memory that the caller frees with
 * sodium_free().  -ENOENT: none yet, and `make` is false.
 */
int	home_device(struct home *h, bool make, uint8_t **ret_secret);

struct home_server {
	char		name[HOME_NAME];
	char		addresses[HOME_ADDRESSES];
	uint8_t		key[KEY_SIZE];
};
int	home_server_load(struct home *h, const char *name, struct home_server *to);
/* The one with that public key; -ENOENT. */
int	home_server_by_key(struct home *h, const uint8_t key[KEY_SIZE], struct home_server *to);
/* Names it first: `wanted`, or after the host of its address; a taken name gets a number. */
int	home_server_save(struct home *h, struct home_server *server, const char *wanted);

struct home_volume {
	char		name[HOME_NAME];
	char		server[HOME_NAME];
	uint8_t		id[VOLUME_ID_SIZE];
	uint8_t		wrap[WRAP_SIZE];
	bool		formatted;		/* its first commit is on the server */
};
int	home_volume_save(struct home *h, const struct home_volume *volume);
int	home_volume_remove(struct home *h, const struct home_volume *volume);
/* `text` is NAME or SERVER/NAME. -ENOENT; -EMLINK: several servers have one. */
int	home_volume_find(struct home *h, const char *text, struct home_volume *to);
int	home_volume_by_id(struct home *h, const uint8_t id[VOLUME_ID_SIZE], struct home_volume *to);
/* Calls each() until it returns non-zero, in no order; unreadable entries are passed over. */
int	home_each_server(struct home *h, int (*each)(void *context, const struct home_server *s), void *context);
int	home_each_volume(struct home *h, int (*each)(void *context, const struct home_volume *v), void *context);
/* Letters, digits, and "._-" inside; 1 to VOLUME_NAME_MAX bytes. */
bool	home_name_valid(const char *name);

/* Holds the volume for this process; closing the descriptor lets go. -EBUSY: another mount does. */
int	home_lock(struct home *h, const uint8_t id[VOLUME_ID_SIZE], int *ret_fd);
struct home_session {
	uint64_t	id;
	uint8_t		secret[SECRET_SIZE];
	uint32_t	generation;
};
/* -ENOENT: the last mount ended cleanly. */
int	home_session_load(struct home *h, const uint8_t id[VOLUME_ID_SIZE], struct home_session *to);
int	home_session_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const struct home_session *s);
int	home_session_remove(struct home *h, const uint8_t id[VOLUME_ID_SIZE]);
/* 0 when none was seen yet. */
int	home_version_load(struct home *h, const uint8_t id[VOLUME_ID_SIZE], uint64_t *to);
int	home_version_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], uint64_t version);
/* Paths of the journal's directory, and of the list of conflicts; the directory above exists afterwards. */
int	home_journal(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size);
int	home_conflicts(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size);
/* Path of the cached blocks' directory; the one above exists afterwards. */
int	home_cache(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size);
/* Paths, from the volume's root, that `nuage pin` was told. -ENAMETOOLONG, -EINVAL (a line break in it). */
int	home_pin_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *path);
int	home_pin_remove(struct home *h, const uint8_t id[VOLUME_ID_SIZE], const char *path);
/* In no order; unreadable ones are passed over. */
int	home_each_pin(struct home *h, const uint8_t id[VOLUME_ID_SIZE], void (*each)(void *context, const char *path),
	    void *context);
/*
 * The device of the volume's mount, until it has ended: so a home knows its own
 * from another's, also when its process was killed.  0: there is none.
 */
dev_t	home_mount(struct home *h, const uint8_t id[VOLUME_ID_SIZE]);
int	home_mount_save(struct home *h, const uint8_t id[VOLUME_ID_SIZE], dev_t device);
int	home_mount_remove(struct home *h, const uint8_t id[VOLUME_ID_SIZE]);
/* Calls each() with the id of every volume that something is kept of. */
int	home_each_state(struct home *h, void (*each)(void *context, const uint8_t id[VOLUME_ID_SIZE]), void *context);
/* Path of the control socket; its directory exists afterwards. */
int	home_socket(struct home *h, const uint8_t id[VOLUME_ID_SIZE], char *to, size_t size);

#endif
