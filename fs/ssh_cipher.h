/*
 * ssh_cipher.h - AES in counter mode (RFC 4344) at the pace at which libssh2 asks for it.
 *
 * libssh2 enciphers packets one block of 16 bytes at a time, each by a call of
 * libcrypto's, which costs ten times as much as the block does: at 1 Gbit/s
 * half a core.  This is a provider, libcrypto's own way of giving it another
 * implementation of a cipher (provider-cipher(7)), which makes the keystream
 * of many blocks at once, by the implementation that was there before, and
 * hands it out in pieces of any size.
 */
#ifndef FS_SSH_CIPHER_H
#define FS_SSH_CIPHER_H

#include <stdbool.h>

/*
 * Once, before the first session: from then on whoever asks libcrypto for AES
 * in counter mode, and does not say of whom, gets this.  False: all is as it
 * was, slower; so it is where only validated modules (FIPS) are wanted.
 */
bool	ssh_cipher_start(void);

#endif
