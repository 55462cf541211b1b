/* features.c - see features.h. */
#include "fs/features.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/link.h"
#include "fs/shell.h"
#include "proto/value.h"

/* A client that died holds its leases for a term, and the server waits SKEW_MS longer. */
enum { HELD_MS = TERM_MS + SKEW_MS + LINK_ANSWER_MS, SOON_MS = 3000 };

static int
judge(const struct op *op, int error, bool read_only, char *why, size_t size)
{
	uint32_t incompat = op->features.incompat & ~(uint32_t)META_INCOMPAT;
	uint32_t ro_compat = op->features.ro_compat & ~(uint32_t)META_RO_COMPAT;

	if (error == -ENOTSUP)
		snprintf(why, size, "the volume's format is newer than this nuage: update it on this machine");
	else if (error < 0)
		return error;
	else if (incompat != 0)
		snprintf(why, size, "the volume uses features that this nuage does not know (incompat 0x%" PRIx32
		    "): update it on this machine", incompat);
	else if (ro_compat != 0 && !read_only)
		snprintf(why, size, "the volume uses features that this nuage does not know (ro_compat 0x%" PRIx32
		    "): update it on this machine, or mount with -o ro", ro_compat);
	else
		return 0;
	return -EPROTONOSUPPORT;
}

int
features_check(struct shell *shell, bool read_only, void (*waiting)(void *context, const char *what), void *context,
    char *why, size_t size)
{
	struct op op = { .type = OP_META };
	struct errand *errand = shell_begin(shell, &op);
	struct engine_status status;
	char trouble[256];
	int r;

	if (errand == NULL)
		return -ENOMEM;
	if (!shell_wait(errand, SOON_MS)) {
		shell_status(shell, &status, trouble, sizeof trouble);
		if (status.busy)
			waiting(context, "the server is too busy to show the volume; waiting a minute for it");
		else if (status.attached)
			waiting(context, "another client holds the volume and does not answer; waiting a minute for it");
		shell_wait(errand, status.attached ? HELD_MS : LINK_ANSWER_MS);
	}
	shell_status(shell, &status, trouble, sizeof trouble);
	r = shell_end(shell, errand, &op);
	r = judge(&op, r, read_only, why, size);
	if (r == -ENOENT)
		snprintf(why, size, "the volume has no root directory yet: nuage create with its name finishes it");
	else if (r == -ETIMEDOUT && status.busy)
		snprintf(why, size, "the server is too busy to show the volume: try again later");
	else if (r == -ETIMEDOUT && status.attached)
		snprintf(why, size, "another client holds the volume and does not let go: try again later");
	else if (r == -ETIMEDOUT)
		snprintf(why, size, "the server does not answer");
	else if (r == -EBADMSG || r == -EIO)
		snprintf(why, size, "the volume's root directory cannot be read: its seal does not open; "
		    "is this the right volume key?");
	else if (r < 0 && r != -EPROTONOSUPPORT)
		snprintf(why, size, "the volume's root directory cannot be read: %s", strerror(-r));
	return r == -EBADMSG ? -EIO : r;
}

int
features_watch(struct shell *shell, struct errand **errand, bool read_only, char *why, size_t size)
{
	struct op op = { .type = OP_META };
	int r;

	if (*errand == NULL)
		*errand = shell_begin(shell, &op);
	if (*errand == NULL || !shell_wait(*errand, 0))
		return 0;
	r = shell_end(shell, *errand, &op);
	*errand = NULL;
	return judge(&op, r, read_only, why, size) == -EPROTONOSUPPORT ? -EPROTONOSUPPORT : 0;
}
