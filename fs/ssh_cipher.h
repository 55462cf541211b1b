/*
 * ssh_cipher.h - AES in counter mode, fast for who asks for 16 bytes at a time.
 */
#ifndef FS_SSH_CIPHER_H
#define FS_SSH_CIPHER_H

/*
 * From now on whoever in this process asks libcrypto for AES-128-CTR or
 * AES-192-CTR gets ours; nothing else changes.  Once, before
 * there are threads that use such a cipher.  Where it cannot be done
 * libcrypto's own go on being used.
 */
void	ssh_cipher_register(void);

#endif
