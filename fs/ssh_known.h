/*
 * ssh_known.h - known_hosts(5), read and written as OpenSSH does: plain and
 * hashed names, patterns, [host]:port, @revoked, @cert-authority.
 */
#ifndef FS_SSH_KNOWN_H
#define FS_SSH_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SSH_KNOWN_NAME = 280, SSH_KNOWN_TYPES = 256, SSH_KNOWN_WHERE = 512, SSH_FINGERPRINT = 64 };

struct ssh_known {
	/* The question. */
	char		 name[SSH_KNOWN_NAME];	/* as ssh_known_name() writes it */
	const uint8_t	*key;			/* as on the wire; NULL: only which types are known */
	size_t		 key_len;

	/* The answer, gathered over all files. */
	bool		 same;			/* this key is the host's */
	bool		 other;			/* another key of this type is */
	bool		 other_type;		/* keys of other types are */
	bool		 revoked;		/* this key must not be used */
	bool		 authority;		/* a certificate authority vouches for the host */
	char		 where[SSH_KNOWN_WHERE];	/* file:line of `other` or `revoked` */
	char		 types[SSH_KNOWN_TYPES];	/* of all keys that are the host's, separated by commas */
};

/* HOST, or [HOST]:PORT where that is not 22. */
void	ssh_known_name(char to[SSH_KNOWN_NAME], const char *host, unsigned port);
/* The type that a key on the wire says it is; empty when it is no key. */
void	ssh_known_type(const uint8_t *key, size_t len, char *to, size_t size);
/* Adds what a file's text says; lines that are no entries are passed over. */
void	ssh_known_read(struct ssh_known *k, const char *text, size_t len, const char *file);
/* The same for a file, which need not be there; a negative errno when it cannot be read. */
int	ssh_known_file(struct ssh_known *k, const char *path);
/* Appends the key, making file and directory; 0 or a negative errno. */
int	ssh_known_add(const struct ssh_known *k, const char *path, bool hashed);
/* "SHA256:..." */
void	ssh_known_fingerprint(const uint8_t *key, size_t len, char to[SSH_FINGERPRINT]);

#endif
