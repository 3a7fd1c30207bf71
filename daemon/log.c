/* log.c -- lines to stderr or syslog, and the count of those that were not taken.
 * The only file of the daemon that writes to stderr; never waits for it. */
#include "daemon/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "daemon/text.h"

#define LINE_MAX_BYTES 1000

enum sink_kind {
        SINK_OTHER,  /* <N> before each line: whoever reads may be journald */
        SINK_STREAM, /* a socket: journald's */
        SINK_SYSLOG, /* a datagram socket: a line is a message */
        SINK_TERMINAL,
        SINK_FILE,
};

static struct {
        char who[24];
        int level;
        int fd;
        enum sink_kind kind;
        struct sockaddr_un syslog; /* where it is looked for again */
        uint64_t dropped;
} sink = {.level = LOG_AT_INFO, .fd = STDERR_FILENO};

/* A pipe of our own open file description: O_NONBLOCK on the shared one would change it for our parent, too.
 */
static int own_pipe_end(void)
{
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        return fd >= 0 ? fd : STDERR_FILENO;
}

/* Where a syslog socket that was handed down leads to. */
static void find_syslog(void)
{
        socklen_t size = sizeof sink.syslog;
        sink.syslog = (struct sockaddr_un){.sun_family = AF_UNIX};
        if (getpeername(STDERR_FILENO, (struct sockaddr *)&sink.syslog, &size))
                strcpy(sink.syslog.sun_path, LOG_SYSLOG_PATH);
}

static enum sink_kind kind_of(mode_t mode)
{
        int type = 0;
        socklen_t size = sizeof type;
        if (S_ISREG(mode))
                return SINK_FILE;
        if (!S_ISSOCK(mode))
                return isatty(STDERR_FILENO) == 1 ? SINK_TERMINAL : SINK_OTHER;
        getsockopt(STDERR_FILENO, SOL_SOCKET, SO_TYPE, &type, &size);
        return type == SOCK_DGRAM ? SINK_SYSLOG : SINK_STREAM;
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
        sink.kind = known ? kind_of(st.st_mode) : SINK_OTHER;
        if (sink.kind == SINK_SYSLOG)
                find_syslog();
        if (known && S_ISFIFO(st.st_mode))
                sink.fd = own_pipe_end();
}

static bool connect_syslog(int fd)
{
        return connect(fd, (struct sockaddr *)&sink.syslog, sizeof sink.syslog) == 0;
}

void log_to_syslog(const char *path)
{
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        sink.syslog = (struct sockaddr_un){.sun_family = AF_UNIX};
        snprintf(sink.syslog.sun_path, sizeof sink.syslog.sun_path, "%s", path);
        if (fd < 0 || !connect_syslog(fd))
                log_warning("log_to = syslog: %s: %s; until it is there, lines are lost", path,
                            strerror(errno));
        if (fd < 0)
                return;
        if (sink.fd != STDERR_FILENO)
                close(sink.fd);
        dup2(fd, STDERR_FILENO);
        close(fd);
        sink.fd = STDERR_FILENO;
        sink.kind = SINK_SYSLOG;
}

void log_set_level(int level) { sink.level = level; }

uint64_t log_dropped(void) { return sink.dropped; }

static ssize_t tell_syslog(const char *line, size_t size)
{
        ssize_t n = send(sink.fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && connect_syslog(sink.fd)) /* another one is there by now */
                n = send(sink.fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n;
}

/* A line is shorter than PIPE_BUF: a pipe that polls writable takes it whole. */
static bool put(const char *line, size_t size)
{
        struct pollfd room = {.fd = sink.fd, .events = POLLOUT};
        ssize_t n;

        if (sink.kind == SINK_SYSLOG)
                n = tell_syslog(line, size);
        else if (sink.kind == SINK_STREAM)
                n = send(sink.fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) != 0)
                n = write(sink.fd, line, size);
        else
                n = -1;
        return n == (ssize_t)size;
}

/* "2026-11-28T07:04:22.123Z warning " */
static int begin_in_file(char *line, size_t room, int level)
{
        static const char *const names[] = {[LOG_AT_ERROR] = "error",
                                            [LOG_AT_WARNING] = "warning",
                                            [LOG_AT_INFO] = "info",
                                            [LOG_AT_DEBUG] = "debug"};
        struct timespec now;
        struct tm utc;
        char time[32];
        clock_gettime(CLOCK_REALTIME, &now);
        strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
        return snprintf(line, room, "%s.%03dZ %s ", time, (int)(now.tv_nsec / 1000000), names[level]);
}

/* "<28>Nov 28 07:04:22 pinrouted[123]: ", as syslog(3) writes it. */
static int begin_for_syslog(char *line, size_t room, int level)
{
        struct tm local;
        char stamp[32];
        time_t now = time(NULL);
        strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", localtime_r(&now, &local));
        return snprintf(line, room, "<%d>%s pinrouted[%d]: ", LOG_DAEMON | level, stamp, (int)getpid());
}

/* What stands before the words; the tag of a syslog message says who the daemon is. */
static int begin(char *line, size_t room, int level)
{
        int n = 0;
        switch (sink.kind) {
        case SINK_OTHER:
        case SINK_STREAM: n = snprintf(line, room, "<%d>", level); break;
        case SINK_FILE: n = begin_in_file(line, room, level); break;
        case SINK_SYSLOG:
                n = begin_for_syslog(line, room, level);
                if (!strcmp(sink.who, "pinrouted"))
                        return n;
                break;
        case SINK_TERMINAL: break;
        }
        return n + snprintf(line + n, room - (size_t)n, "%s: ", sink.who);
}

void log_line(int level, const char *format, ...)
{
        char raw[LINE_MAX_BYTES + 1], clean[LINE_MAX_BYTES + 1], line[LINE_MAX_BYTES + 128];
        int saved = errno;
        va_list args;

        if (level > sink.level)
                return;
        va_start(args, format);
        vsnprintf(raw, sizeof raw, format, args);
        va_end(args);
        text_clean(clean, sizeof clean, raw);

        size_t n = (size_t)begin(line, sizeof line, level);
        n += (size_t)snprintf(line + n, sizeof line - n, sink.kind == SINK_SYSLOG ? "%s" : "%s\n", clean);
        if (!put(line, n))
                sink.dropped++;
        errno = saved;
}
