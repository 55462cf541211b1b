/* ssh_parcel.c - see ssh_parcel.h. */
#include "config.h"
#include "fs/ssh_parcel.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 64 * 1024 * 1024, MACHINE_MAX = 32, DIGEST_IN_NAME = 16 };

/* What `uname -m` calls them, and ELF. */
static const struct machine {
	const char	*name;
	uint8_t		 class, data;
	uint16_t	 elf;
} machines[] = {
	{ "x86_64", ELFCLASS64, ELFDATA2LSB, EM_X86_64 },
	{ "i686", ELFCLASS32, ELFDATA2LSB, EM_386 },
	{ "aarch64", ELFCLASS64, ELFDATA2LSB, EM_AARCH64 },
	{ "armv6l", ELFCLASS32, ELFDATA2LSB, EM_ARM },
	{ "armv7l", ELFCLASS32, ELFDATA2LSB, EM_ARM },
	{ "riscv64", ELFCLASS64, ELFDATA2LSB, EM_RISCV },
	{ "ppc64le", ELFCLASS64, ELFDATA2LSB, EM_PPC64 },
	{ "s390x", ELFCLASS64, ELFDATA2MSB, EM_S390 },
};

static bool
is_for(const struct ssh_parcel *p, const char *name)
{
	const size_t at = offsetof(Elf64_Ehdr, e_machine);	/* the same in both classes */
	const struct machine *m = NULL;

	for (size_t i = 0; i < sizeof machines / sizeof *machines; i++)
		if (strcmp(machines[i].name, name) == 0)
			m = &machines[i];
	if (m == NULL || p->len < sizeof(Elf64_Ehdr) || memcmp(p->data, ELFMAG, SELFMAG) != 0)
		return false;
	return p->data[EI_CLASS] == m->class && p->data[EI_DATA] == m->data &&
	    p->data[at] + (p->data[at + 1] << 8) == (m->data == ELFDATA2LSB ? m->elf : (m->elf & 0xff) << 8 | m->elf >> 8);
}

static int
read_file(const char *path, size_t most, uint8_t **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
	uint8_t *data = NULL;
	struct stat st;
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_size < 1 || (size_t)st.st_size > most)
		r = -EBADMSG;
	else if ((data = malloc((size_t)st.st_size + 1)) == NULL)
		r = -ENOMEM;
	while (r == 0 && n > 0 && len < (size_t)st.st_size) {
		n = read(fd, data + len, (size_t)st.st_size - len);
		if (n < 0)
			r = -errno;
		len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (r < 0) {
		free(data);
		return r;
	}
	data[len] = '\0';
	*ret = data;
	*ret_len = len;
	return 0;
}

/* What the file beside it says its digest is. */
static int
read_digest(const char *path, char to[SSH_PARCEL_DIGEST + 1])
{
	uint8_t *text = NULL, hash[crypto_hash_sha256_BYTES];
	size_t len, n = 0;
	int r = read_file(path, PATH_MAX, &text, &len);

	if (r < 0)
		return r;
	if (len < SSH_PARCEL_DIGEST || sodium_hex2bin(hash, sizeof hash, (char *)text, SSH_PARCEL_DIGEST, NULL, &n, NULL) != 0 ||
	    n != sizeof hash)
		r = -EBADMSG;
	else
		sodium_bin2hex(to, SSH_PARCEL_DIGEST + 1, hash, sizeof hash);
	free(text);
	return r;
}

int
ssh_parcel_load(struct ssh_parcel *p, const char *system, const char *machine, char *why, size_t size)
{
	const char *directory = getenv("NUAGE_SERVERS");
	char path[PATH_MAX], beside[PATH_MAX], expected[SSH_PARCEL_DIGEST + 1] = "";
	uint8_t hash[crypto_hash_sha256_BYTES];
	size_t len = strlen(machine);
	bool plain = len > 0 && len < MACHINE_MAX;
	int r;

	memset(p, 0, sizeof *p);
	for (size_t i = 0; i < len; i++)
		plain &= isalnum((unsigned char)machine[i]) || machine[i] == '_';
	if (directory == NULL || *directory == '\0')
		directory = SERVERS_DIR;
	if (strcmp(system, "Linux") != 0 || !plain) {
		snprintf(why, size, "it is a machine of the kind %.40s %.40s, for which there is no nuaged", system, machine);
		return -ENOENT;
	}
	if (snprintf(path, sizeof path, "%s/nuaged-%s-%s", directory, PACKAGE_VERSION, machine) >= (int)sizeof path - 8)
		return -ENAMETOOLONG;
	snprintf(beside, sizeof beside, "%.*s.sha256", (int)sizeof beside - 8, path);
	r = read_file(path, FILE_MAX, &p->data, &p->len);
	if (r == 0)
		r = read_digest(beside, expected);
	if (r == -ENOENT) {
		snprintf(why, size, "it is a machine of the kind %.40s, and here is no nuaged to be copied to such (%.200s): "
		    "install nuage there, or say where it is with --nuaged COMMAND", machine, path);
	} else if (r < 0) {
		snprintf(why, size, "%.200s: %s", path, r == -EBADMSG ? "damaged" : strerror(-r));
	} else {
		crypto_hash_sha256(hash, p->data, p->len);
		sodium_bin2hex(p->digest, sizeof p->digest, hash, sizeof hash);
		snprintf(p->name, sizeof p->name, "nuaged-%s-%s-%.*s", PACKAGE_VERSION, machine, DIGEST_IN_NAME, p->digest);
		if (strcmp(p->digest, expected) != 0)
			r = -EBADMSG;
		else if (!is_for(p, machine))
			r = -ENOEXEC;
		if (r < 0)
			snprintf(why, size, r == -ENOEXEC ? "%.200s is no program for a machine of the kind %.40s" :
			    "%.200s is not what its digest says; install nuage here anew", path, machine);
	}
	if (r < 0)
		ssh_parcel_done(p);
	return r;
}

void
ssh_parcel_done(struct ssh_parcel *p)
{
	free(p->data);
	p->data = NULL;
}
