/* settings.c - see settings.h. */
#include "server/settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum field { FIELD_TEXT, FIELD_LISTEN, FIELD_ADMIT, FIELD_U32, FIELD_U64, FIELD_LEVEL };

static const struct key {
	const char	*name;
	enum field	 field;
	size_t		 offset;
	uint64_t	 least, most;
} keys[] = {
	{ "data", FIELD_TEXT, offsetof(struct settings, data), 0, 0 },
	{ "listen", FIELD_LISTEN, 0, 0, 0 },
	{ "address", FIELD_TEXT, offsetof(struct settings, address), 0, 0 },
	{ "door", FIELD_TEXT, offsetof(struct settings, door), 0, 0 },
	{ "admit", FIELD_ADMIT, 0, 0, 0 },
	{ "term_ms", FIELD_U32, offsetof(struct settings, term_ms), 1000, 3600 * 1000 },
	{ "skew_ms", FIELD_U32, offsetof(struct settings, skew_ms), 1, 3600 * 1000 },
	{ "block_delay_ms", FIELD_U32, offsetof(struct settings, block_delay_ms), 1, 24 * 3600 * 1000 },
	{ "sessions_max", FIELD_U32, offsetof(struct settings, sessions_max), 1, 1000 * 1000 },
	{ "connections_max", FIELD_U32, offsetof(struct settings, connections_max), 1, 100 * 1000 },
	{ "reserve_bytes", FIELD_U64, offsetof(struct settings, reserve_bytes), 0, INT64_MAX },
	{ "capacity_bytes", FIELD_U64, offsetof(struct settings, capacity_bytes), 0, INT64_MAX },
	{ "segment_bytes", FIELD_U32, offsetof(struct settings, segment_bytes), 32 << 20, 1 << 30 },
	{ "idle_s", FIELD_U32, offsetof(struct settings, idle_s), 0, 365 * 24 * 3600 },
	{ "log_level", FIELD_LEVEL, offsetof(struct settings, log_level), 0, 0 },
};

void
settings_init(struct settings *c)
{
	*c = (struct settings){ .connections_max = 1024, .log_level = EVENT_INFO };
}

void
settings_done(struct settings *c)
{
	free(c->data);
	free(c->address);
	free(c->door);
	for (unsigned i = 0; i < c->listen_count; i++)
		free(c->listen[i]);
	for (unsigned i = 0; i < c->admit_count; i++)
		free(c->admit[i]);
	settings_init(c);
}

static bool
set_text(char **to, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return false;
	free(*to);
	*to = copy;
	return true;
}

/* One more of what may be there several times. */
static bool
add_text(char **list, unsigned *count, unsigned max, const char *value, const char *what, char *why, unsigned size)
{
	if (*count == max)
		snprintf(why, size, "more than %u %s", max, what);
	else if (set_text(&list[*count], value))
		(*count)++;
	else
		snprintf(why, size, "out of memory");
	return why[0] == '\0';
}

/* A number with an optional K, M, G or T of 1024. */
static bool
parse_number(const char *text, uint64_t *ret_number)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0 || end == text || !isdigit((unsigned char)*text))
		return false;
	if (*end != '\0') {
		unsigned shift;

		unit = strchr(units, *end);
		if (unit == NULL || end[1] != '\0')
			return false;
		shift = 10 * (unit - units + 1);
		if (n > UINT64_MAX >> shift)
			return false;
		n <<= shift;
	}
	*ret_number = n;
	return true;
}

static bool
set_number(struct settings *c, const struct key *key, const char *value, char *why, unsigned size)
{
	uint64_t n;

	if (!parse_number(value, &n) || n < key->least || n > key->most) {
		snprintf(why, size, "%s must be a number from %" PRIu64 " to %" PRIu64 ", not '%s'", key->name,
		    key->least, key->most, value);
		return false;
	}
	if (key->field == FIELD_U32)
		*(uint32_t *)(void *)((char *)c + key->offset) = n;
	else
		*(uint64_t *)(void *)((char *)c + key->offset) = n;
	return true;
}

bool
settings_set(struct settings *c, const char *name, const char *value, char *why, unsigned size)
{
	const struct key *key = keys;

	while (key < keys + sizeof keys / sizeof *keys && strcmp(key->name, name) != 0)
		key++;
	if (key == keys + sizeof keys / sizeof *keys) {
		snprintf(why, size, "unknown key '%s'", name);
		return false;
	}
	why[0] = '\0';
	if (*value == '\0') {
		snprintf(why, size, "%s needs a value", name);
		return false;
	}
	switch (key->field) {
	case FIELD_TEXT:
		if (set_text((char **)(void *)((char *)c + key->offset), value))
			return true;
		break;
	case FIELD_LISTEN:
		return add_text(c->listen, &c->listen_count, SETTINGS_LISTEN_MAX, value, "listen addresses", why, size);
	case FIELD_ADMIT:
		return add_text(c->admit, &c->admit_count, SETTINGS_ADMIT_MAX, value, "names to admit", why, size);
	case FIELD_U32:
	case FIELD_U64:
		return set_number(c, key, value, why, size);
	case FIELD_LEVEL:
		if (event_level_parse(value, &c->log_level) == 0)
			return true;
		snprintf(why, size, "log_level is error, warning, info or debug, not '%s'", value);
		return false;
	}
	snprintf(why, size, "out of memory");
	return false;
}

static char *
trim(char *text)
{
	char *end = text + strlen(text);

	while (isspace((unsigned char)*text))
		text++;
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return text;
}

static bool
load_line(struct settings *c, char *line, char *why, unsigned size)
{
	char *key = trim(line), *value;

	if (*key == '\0' || *key == '#')
		return true;
	value = strchr(key, '=');
	if (value == NULL) {
		snprintf(why, size, "expected 'key = value'");
		return false;
	}
	*value++ = '\0';
	return settings_set(c, trim(key), trim(value), why, size);
}

bool
settings_load(struct settings *c, const char *path)
{
	char *line = NULL, why[160];
	size_t size = 0;
	unsigned number = 0;
	bool fine = true;
	FILE *f = fopen(path, "re");

	if (f == NULL) {
		fprintf(stderr, "nuaged: %s: %s\n", path, strerror(errno));
		return false;
	}
	while (fine && getline(&line, &size, f) >= 0) {
		number++;
		fine = load_line(c, line, why, sizeof why);
		if (!fine)
			fprintf(stderr, "nuaged: %s:%u: %s\n", path, number, why);
	}
	if (fine && ferror(f)) {
		fprintf(stderr, "nuaged: %s: %s\n", path, strerror(errno));
		fine = false;
	}
	free(line);
	fclose(f);
	return fine;
}
