/*
 * kvcheck.h - verifies an LMDB file before LMDB sees it.
 *
 * LMDB trusts its file: a damaged page can crash it or make it answer
 * wrongly.  This reads the whole file with plain reads and verifies the
 * newer meta page, the structure of both trees (page numbers, flags, bounds,
 * node offsets, key order, counts), that no page is used twice or listed as
 * free while used, and the checksum of every value.  A file that passes is
 * one LMDB wrote.
 *
 * What this cannot promise: damage that arises after it was read, while the
 * file is mapped.  A value is then still caught by its checksum, a page
 * header is not, and a read error of the disk is a SIGBUS.
 */
#ifndef SERVER_KVCHECK_H
#define SERVER_KVCHECK_H

/* Is told of each damage, one line without a newline. */
typedef void store_report(void *arg, const char *line);

struct kvcheck_result {
	unsigned	structure;	/* damages with which the file must not be opened */
	unsigned	values;		/* records whose checksum is wrong */
};

/* May block; the report may be NULL.  0 with the result, or a negative errno if the file could not be read. */
int	kvcheck(const char *path, store_report *report, void *arg, struct kvcheck_result *ret_result);

#endif
