/*
 * inspect.h - `nuaged check`: the store's bytes, then what they mean.
 */
#ifndef SERVER_INSPECT_H
#define SERVER_INSPECT_H

#include <stdbool.h>

struct settings;

/*
 * Prints each damage and a summary, or one JSON object, on stdout.  Returns
 * the exit status: 0 clean, 1 damage, 2 it could not look, said on stderr.
 */
int	inspect(const struct settings *config, bool json);

#endif
