/*
 * ssh_parcel.h - a nuaged that can be copied to a machine which has none: a
 * static program of this version, kept beside our own as
 *
 *	nuaged-VERSION-MACHINE		MACHINE as that machine's `uname -m` says it
 *	nuaged-VERSION-MACHINE.sha256	as sha256sum prints it
 *
 * in $NUAGE_SERVERS, or where the build installs them.
 */
#ifndef FS_SSH_PARCEL_H
#define FS_SSH_PARCEL_H

#include <stddef.h>
#include <stdint.h>

enum { SSH_PARCEL_DIGEST = 64, SSH_PARCEL_NAME = 160 };

struct ssh_parcel {
	uint8_t		*data;
	size_t		 len;
	char		 digest[SSH_PARCEL_DIGEST + 1];	/* SHA-256, hex */
	char		 name[SSH_PARCEL_NAME];		/* what it is called there: it says version, machine and digest */
};

/*
 * Reads it, and checks that it is a program for that machine and what its
 * digest says.  0, or a negative errno and a sentence: -ENOENT there is none
 * for such a machine; -EBADMSG it is not what it should be.
 */
int	ssh_parcel_load(struct ssh_parcel *p, const char *system, const char *machine, char *why, size_t size);
void	ssh_parcel_done(struct ssh_parcel *p);

#endif
