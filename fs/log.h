/*
 * log.h - one line for a person: to stderr, a file, or the system's log.
 *
 * Any thread; never called with one of our locks held.
 */
#ifndef FS_LOG_H
#define FS_LOG_H

enum log_level { LOG_AT_ERROR, LOG_AT_WARNING, LOG_AT_INFO, LOG_AT_DEBUG };

/* Where lines go from now on: NULL is stderr, "syslog", or a file's path (appended to). 0 or -errno. */
int	log_open(const char *target, const char *name);
void	log_set_level(enum log_level level);
__attribute__((format(printf, 2, 3)))
void	log_say(enum log_level level, const char *format, ...);

#define log_error(...)		log_say(LOG_AT_ERROR, __VA_ARGS__)
#define log_warning(...)	log_say(LOG_AT_WARNING, __VA_ARGS__)
#define log_info(...)		log_say(LOG_AT_INFO, __VA_ARGS__)
#define log_debug(...)		log_say(LOG_AT_DEBUG, __VA_ARGS__)

#endif
