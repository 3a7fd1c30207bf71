/* log.h -- lines to stderr, or to the host's syslog.  To a terminal as they are, to a file with time and level, to
 * anything else with journald's <N> prefix.  Never blocks: a line that is not taken at once is dropped and counted. */
#ifndef PINROUTED_LOG_H
#define PINROUTED_LOG_H

#include <stdint.h>
#include <stdlib.h>

#define LOG_SYSLOG_PATH "/dev/log"

enum log_level { LOG_AT_ERROR = 3, LOG_AT_WARNING = 4, LOG_AT_INFO = 6, LOG_AT_DEBUG = 7 };

void log_init(const char *who); /* "pinrouted", "prober": begins every line; level INFO */

/* From here on stderr is a socket to the syslog daemon at `path`: RFC 3164's form, facility daemon, tag pinrouted.
 * Children log there, too, by log_init().  A syslog daemon that is not there, or is full, loses lines: they are
 * counted, and it is looked for at each line. */
void log_to_syslog(const char *path);

void log_set_level(int level); /* enum log_level */
uint64_t log_dropped(void);

#define log_error(...)   log_line(LOG_AT_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_AT_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_AT_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_AT_DEBUG, __VA_ARGS__)

/* One line, control characters replaced, cut at 1,000 bytes. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Our own invariant: broken means a bug of ours, and going on would break the promise. */
#define MUST(what)                                                                                           \
        do {                                                                                                 \
                if (!(what)) {                                                                               \
                        log_error("bug: %s:%d: %s does not hold", __FILE__, __LINE__, #what);                \
                        abort();                                                                             \
                }                                                                                            \
        } while (0)

#endif
