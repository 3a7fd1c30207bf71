/* ctl_call.c -- one request to the daemon's operator socket, one JSON document back.
 * The only file of the tool that talks to the daemon.  One total deadline per call. */
#include "client/ctl_call.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/ctl_text.h"

#define LINE_SIZE  2000 /* the daemon takes a little more */
#define REPLY_MOST (16u << 20)

/* Appends the words, encoded, and the line's end.  0: they do not fit. */
static size_t encode(const char *const words[], char line[LINE_SIZE])
{
        size_t n = 0;
        for (; *words; words++) {
                if (n)
                        line[n - 1] = ' ';
                for (const char *p = *words; *p && n + 5 < LINE_SIZE; p++) {
                        bool as_is =
                            isascii((unsigned char)*p) && (isalnum((unsigned char)*p) || strchr("_.-", *p));
                        n += (size_t)snprintf(line + n, 4, as_is ? "%c" : "%%%02X", (unsigned char)*p);
                }
                line[n++] = '\n';
                if (n + 5 >= LINE_SIZE)
                        return 0;
        }
        return n;
}

static const char *mend(int error)
{
        switch (error) {
        case ENOENT: return "start pinrouted, or name its directory with -d";
        case ECONNREFUSED: return "pinrouted is not running: start it, or name its directory with -d";
        case EACCES:
        case EPERM: return "ask as root, as the daemon's user, or as a member of its operator_group";
        case ENAMETOOLONG: return "name a shorter directory with -d";
        case E2BIG: return "shorten the arguments";
        case EAGAIN:
        case ETIMEDOUT: return "pinrouted is stopped or hangs: look at its log";
        default: return "look at the daemon's log";
        }
}

static bool failed(const struct ctl *ctl, int error)
{
        const char *what = error == EAGAIN || error == ETIMEDOUT ? "no answer within 5 s" : strerror(error);
        ctl_fail(CTL_ERROR, NULL, "%s/ctl.sock: %s; %s", ctl->dir, what, mend(error));
        return false;
}

/* Returns a connected socket, or -1 with errno. */
static int reach(const char *dir)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        struct timeval most = {.tv_sec = CTL_CALL_TIMEOUT_MS / 1000};
        int n = snprintf(at.sun_path, sizeof at.sun_path, "%s/ctl.sock", dir);
        if (n < 0 || (size_t)n >= sizeof at.sun_path) {
                errno = ENAMETOOLONG;
                return -1;
        }
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) &&
            !connect(fd, (struct sockaddr *)&at, sizeof at))
                return fd;
        int error = errno;
        if (fd >= 0)
                close(fd);
        errno = error;
        return -1;
}

/* Reads to the end of the stream into *text, NUL-terminated; returns its length, or -1 with errno. */
static ssize_t read_all(int fd, int64_t deadline_ns, char **text)
{
        size_t n = 0, room = 0;
        for (;;) {
                if (n + 1 >= room) {
                        room = room ? 2 * room : 16384;
                        char *more = room > REPLY_MOST ? NULL : realloc(*text, room);
                        if (!more) {
                                errno = ENOMEM;
                                return -1;
                        }
                        *text = more;
                }
                struct pollfd p = {.fd = fd, .events = POLLIN};
                int64_t left_ms = (deadline_ns - clock_ns()) / CLOCK_NS_PER_MS;
                int ready = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
                if (ready == 0)
                        errno = ETIMEDOUT;
                ssize_t got = ready > 0 ? recv(fd, *text + n, room - 1 - n, MSG_DONTWAIT) : -1;
                /* Who hangs up with our line unread resets the stream, behind what it sent. */
                if (got == 0 || (got < 0 && ready > 0 && errno == ECONNRESET && n > 0)) {
                        (*text)[n] = '\0';
                        return (ssize_t)n;
                }
                if (got < 0 && errno != EINTR && (ready <= 0 || errno != EAGAIN))
                        return -1;
                n += got > 0 ? (size_t)got : 0;
        }
}

/* The text of the answer, to be freed; NULL with errno. */
static char *ask(const char *dir, const char *line, size_t size)
{
        int64_t deadline_ns = clock_ns() + CTL_CALL_TIMEOUT_MS * CLOCK_NS_PER_MS;
        char *text = NULL;
        int fd = reach(dir);
        if (fd < 0)
                return NULL;
        /* A daemon that refuses this peer answers and hangs up without reading: its answer counts, not our
         * error. */
        bool sent =
            send(fd, line, size, MSG_NOSIGNAL) == (ssize_t)size || errno == EPIPE || errno == ECONNRESET;
        bool good = sent && read_all(fd, deadline_ns, &text) >= 0;
        int error = errno;
        close(fd);
        errno = error;
        if (good)
                return text;
        free(text);
        return NULL;
}

static bool understand(const struct ctl *ctl, struct ctl_reply *r)
{
        json_error_t error;
        r->doc = json_loads(r->raw, 0, &error);
        if (json_is_true(json_object_get(r->doc, "ok")))
                return true;
        const char *sentence = json_string_value(json_object_get(r->doc, "error"));
        const char *code = json_string_value(json_object_get(r->doc, "code"));
        size_t i;
        const json_t *message;
        if (!sentence) {
                ctl_fail(CTL_ERROR, NULL,
                         "%s/ctl.sock: %s; is it a pinrouted of this version that listens there?", ctl->dir,
                         *r->raw ? "the answer is not what was expected" : "closed without an answer");
                return false;
        }
        if (ctl->json)
                puts(r->raw);
        json_array_foreach(json_object_get(r->doc, "messages"), i, message)
            ctl_text_line(stderr, "%s", json_is_string(message) ? json_string_value(message) : "-");
        ctl_tell("%s (%s)", sentence, code ? code : "no code");
        return false;
}

bool ctl_call(const struct ctl *ctl, const char *const words[], struct ctl_reply *ret)
{
        char line[LINE_SIZE];
        size_t n = encode(words, line);
        *ret = (struct ctl_reply){0};
        if (n == 0)
                return failed(ctl, E2BIG);
        ret->raw = ask(ctl->dir, line, n);
        if (!ret->raw)
                return failed(ctl, errno);
        if (understand(ctl, ret))
                return true;
        ctl_call_free(ret);
        return false;
}

void ctl_call_free(struct ctl_reply *reply)
{
        json_decref(reply->doc);
        free(reply->raw);
        *reply = (struct ctl_reply){0};
}
