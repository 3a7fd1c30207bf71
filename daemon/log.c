/* log.c -- lines to stderr, and the count of those that stderr did not take.
 * The only file of the daemon that writes to stderr; never waits for it. */
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/text.h"

#define LINE_MAX_BYTES 1000

static struct {
        char who[24];
        int level;
        int fd;
        bool is_socket;   /* journald's stream */
        bool is_terminal; /* a person reads: no <N> prefix */
        uint64_t dropped;
} sink = {.level = LOG_AT_INFO, .fd = STDERR_FILENO};

/* A pipe of our own open file description: O_NONBLOCK on the shared one would change it for our parent, too.
 */
static int own_pipe_end(void)
{
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        return fd >= 0 ? fd : STDERR_FILENO;
}

void log_init(const char *who)
{
        struct stat st;

        snprintf(sink.who, sizeof sink.who, "%s", who);
        sink.level = LOG_AT_INFO;
        if (sink.fd != STDERR_FILENO)
                close(sink.fd);
        sink.fd = STDERR_FILENO;
        bool known = fstat(STDERR_FILENO, &st) == 0;
        sink.is_socket = known && S_ISSOCK(st.st_mode);
        sink.is_terminal = isatty(STDERR_FILENO) == 1;
        if (known && S_ISFIFO(st.st_mode))
                sink.fd = own_pipe_end();
}

void log_set_level(int level) { sink.level = level; }

uint64_t log_dropped(void) { return sink.dropped; }

/* A line is shorter than PIPE_BUF: a pipe that polls writable takes it whole. */
static bool put(const char *line, size_t size)
{
        struct pollfd room = {.fd = sink.fd, .events = POLLOUT};
        ssize_t n;

        if (sink.is_socket)
                n = send(sink.fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0)
                n = write(sink.fd, line, size);
        else
                n = -1;
        return n == (ssize_t)size;
}

void log_line(int level, const char *format, ...)
{
        char raw[LINE_MAX_BYTES + 1], clean[LINE_MAX_BYTES + 1], line[LINE_MAX_BYTES + 64];
        int saved = errno;
        va_list args;

        if (level > sink.level)
                return;
        va_start(args, format);
        vsnprintf(raw, sizeof raw, format, args);
        va_end(args);
        text_clean(clean, sizeof clean, raw);

        int n = sink.is_terminal ? snprintf(line, sizeof line, "%s: %s\n", sink.who, clean)
                                 : snprintf(line, sizeof line, "<%d>%s: %s\n", level, sink.who, clean);
        if (n < 0 || !put(line, (size_t)n))
                sink.dropped++;
        errno = saved;
}
