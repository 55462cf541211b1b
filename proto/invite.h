/*
 * invite.h - the two texts that people hand to each other or keep in a
 * drawer: an invitation and a recovery code.
 *
 *	nuage-invite-<unpadded base64url>	to be pasted
 *	nuage-recover-<base32 in groups of 5>	to be typed; Crockford's alphabet,
 *						lower case; o counts as 0, i and l as 1
 *
 * Inside, both end with a checksum, so that a typing error is told from an
 * invitation that was used before.  invite.c has the layout.
 *
 * Pure functions, any thread.  Texts and structs hold secrets: the caller
 * keeps them in locked memory or wipes them.
 */
#ifndef PROTO_INVITE_H
#define PROTO_INVITE_H

#include "proto/limits.h"
#include "proto/wrap.h"

enum {
	INVITE_ADDRESS_MAX	= 255,
	INVITE_TEXT		= 512,		/* room for any invitation, with its final zero */
	INVITE_RECOVERY_TEXT	= 640,		/* room for any recovery code */
};

enum invite_kind { INVITE_SERVER = 1, INVITE_VOLUME = 2 };

struct invitation {
	enum invite_kind kind;
	char		address[INVITE_ADDRESS_MAX + 1];	/* host:port; printable ASCII */
	uint8_t		server[KEY_SIZE];			/* the server's public key */
	uint8_t		secret[SECRET_SIZE];
};

struct recovery_code {
	char		address[INVITE_ADDRESS_MAX + 1];
	uint8_t		server[KEY_SIZE];
	uint8_t		secret[RECOVERY_SECRET];
};

/* 0, or -EINVAL: no such kind, or an address that is empty, too long, unprintable, or with a port that is none. */
int	invite_print(const struct invitation *i, char to[INVITE_TEXT]);
int	invite_print_recovery(const struct recovery_code *r, char to[INVITE_RECOVERY_TEXT]);
/*
 * 0; -EINVAL: another sort of text; -EBADMSG: one of these, but mistyped or
 * incomplete; -ENOTSUP: made by a newer nuage.  White space is passed over,
 * and in a recovery code so are dashes, wherever they are.
 */
int	invite_parse(struct invitation *i, const char *text);
int	invite_parse_recovery(struct recovery_code *r, const char *text);

#endif
