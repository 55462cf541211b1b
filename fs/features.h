/*
 * features.h - may this program use the volume, and does it still?
 *
 * A volume's META record names the features that its format needs, by the
 * rules of ext4: an unknown incompat flag forbids to mount it, an unknown
 * ro_compat flag to write to it.  A mount keeps META leased, so whoever
 * changes it recalls it first; then it is read again.
 */
#ifndef FS_FEATURES_H
#define FS_FEATURES_H

#include <stdbool.h>
#include <stddef.h>

struct errand;
struct shell;

/*
 * 0, or a negative errno and a sentence: -EPROTONOSUPPORT, the volume is newer
 * than this program; -ENOENT, it is not finished; -ETIMEDOUT; -EIO.  When it
 * takes long because another client does not let go, waiting() hears so.
 * Reads the root directory too.
 */
int	features_check(struct shell *shell, bool read_only, void (*waiting)(void *context, const char *what),
	    void *context, char *why, size_t size);
/*
 * The same for a live mount whose lease of META has gone, without waiting: *errand
 * (at first NULL) is on its way between two calls, and may be left in
 * the shell at its end.  0: nothing is known to be wrong.
 */
int	features_watch(struct shell *shell, struct errand **errand, bool read_only, char *why, size_t size);

#endif
