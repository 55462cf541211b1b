/*
 * serve_status.h - what a mount says of itself: `nuage status`, and what is
 * not on the server.  All calls from any thread, while the shell lives.
 */
#ifndef FS_SERVE_STATUS_H
#define FS_SERVE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

struct serve_cache;
struct serve_options;
struct shell;
struct suspend;

enum { SERVE_NAMED_MAX = 200 };		/* files named */

struct serve_unsaved {
	char	*path[SERVE_NAMED_MAX];		/* the caller's, to be freed */
	size_t	 count, more;			/* more: so many others */
};

/* What is not on the server. */
void	serve_unsaved(struct shell *shell, struct serve_unsaved *to);
/* Lines "unsaved PATH". */
void	serve_unsaved_say(struct shell *shell, int fd);
/* Lines "WORD VALUE", and "ok". */
void	serve_status_say(int fd, const struct serve_options *options, struct shell *shell, const struct suspend *suspend,
	    struct serve_cache *cache, bool journal);

#endif
