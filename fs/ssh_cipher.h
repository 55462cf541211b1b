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

/*
 * From now on libssh2 gets it in this thread, by a library context of
 * libcrypto's that is the thread's default one (OSSL_LIB_CTX(3)): what other
 * threads use, and what the system's configuration says to them, stays as it
 * is.  Returns what ends that; NULL, and all is slower: there is no memory,
 * or only validated modules are wanted (FIPS).
 */
void	*ssh_cipher_enter(void);
void	 ssh_cipher_leave(void *before);

#endif
