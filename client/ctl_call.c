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

static void explain(const struct ctl *ctl, int error, int64_t most_ms, char why[CTL_CALL_WHY_MAX])
{
        char late[64];
        snprintf(late, sizeof late, "no answer within %d s", (int)(most_ms / 1000));
        const char *what = error == EAGAIN || error == ETIMEDOUT ? late : strerror(error);
        snprintf(why, CTL_CALL_WHY_MAX, "%s/ctl.sock: %s; %s", ctl->dir, what, mend(error));
}

/* Returns a connected socket, or -1 with errno. */
static int reach(const char *dir, int64_t most_ms)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        struct timeval most = {.tv_sec = most_ms / 1000, .tv_usec = most_ms % 1000 * 1000};
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

/* Returns the socket, with the question sent; or -1 with errno. */
static int ask(const struct ctl *ctl, const char *const words[], int64_t most_ms)
{
        char line[LINE_SIZE];
        size_t size = encode(words, line);
        if (size == 0) {
                errno = E2BIG;
                return -1;
        }
        int fd = reach(ctl->dir, most_ms);
        /* A daemon that refuses this peer answers and hangs up without reading: its answer counts, not our
         * error. */
        if (fd < 0 || send(fd, line, size, MSG_NOSIGNAL) == (ssize_t)size || errno == EPIPE ||
            errno == ECONNRESET)
                return fd;
        int error = errno;
        close(fd);
        errno = error;
        return -1;
}

int ctl_call_open(const struct ctl *ctl, const char *const words[], char why[CTL_CALL_WHY_MAX])
{
        int fd = ask(ctl, words, CTL_CALL_TIMEOUT_MS);
        if (fd < 0)
                explain(ctl, errno, CTL_CALL_TIMEOUT_MS, why);
        return fd;
}

/* False, with `why` set: a refusal, which stays in *r, or no answer. */
static bool understand(const struct ctl *ctl, struct ctl_reply *r, char why[CTL_CALL_WHY_MAX])
{
        json_error_t error;
        r->doc = json_loads(r->raw, 0, &error);
        if (json_is_true(json_object_get(r->doc, "ok")))
                return true;
        const char *sentence = json_string_value(json_object_get(r->doc, "error"));
        const char *code = json_string_value(json_object_get(r->doc, "code"));
        if (sentence) {
                snprintf(why, CTL_CALL_WHY_MAX, "%s (%s)", sentence, code ? code : "no code");
                return false;
        }
        snprintf(why, CTL_CALL_WHY_MAX,
                 "%s/ctl.sock: %s; is it a pinrouted of this version that listens there?", ctl->dir,
                 *r->raw ? "the answer is not what was expected" : "closed without an answer");
        json_decref(r->doc);
        r->doc = NULL;
        return false;
}

/* On false, *ret holds the document of a refusal, if it was one. */
static bool call(const struct ctl *ctl, const char *const words[], int64_t most_ms, struct ctl_reply *ret,
                 char why[CTL_CALL_WHY_MAX])
{
        int64_t deadline_ns = clock_ns() + most_ms * CLOCK_NS_PER_MS;
        *ret = (struct ctl_reply){0};
        int fd = ask(ctl, words, most_ms);
        bool answered = fd >= 0 && read_all(fd, deadline_ns, &ret->raw) >= 0;
        int error = errno;
        if (fd >= 0)
                close(fd);
        if (answered)
                return understand(ctl, ret, why);
        explain(ctl, error, most_ms, why);
        return false;
}

bool ctl_call_try(const struct ctl *ctl, const char *const words[], int64_t most_ms, struct ctl_reply *ret,
                  char why[CTL_CALL_WHY_MAX])
{
        if (call(ctl, words, most_ms, ret, why))
                return true;
        ctl_call_free(ret);
        return false;
}

static void tell_refusal(const struct ctl *ctl, const struct ctl_reply *r, const char *why)
{
        size_t i;
        const json_t *message;
        if (ctl->json)
                puts(r->raw);
        json_array_foreach(json_object_get(r->doc, "messages"), i, message)
            ctl_text_line(stderr, "%s", json_is_string(message) ? json_string_value(message) : "-");
        ctl_tell("%s", why);
}

bool ctl_call(const struct ctl *ctl, const char *const words[], struct ctl_reply *ret)
{
        char why[CTL_CALL_WHY_MAX];
        if (call(ctl, words, CTL_CALL_TIMEOUT_MS, ret, why))
                return true;
        if (ret->doc)
                tell_refusal(ctl, ret, why);
        else
                ctl_fail(CTL_ERROR, NULL, "%s", why);
        ctl_call_free(ret);
        return false;
}

void ctl_call_free(struct ctl_reply *reply)
{
        json_decref(reply->doc);
        free(reply->raw);
        *reply = (struct ctl_reply){0};
}
