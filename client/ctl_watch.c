/* ctl_watch.c -- the daemon's stream of events to stdout, each line at once, over the daemon's restarts.
 * Owns: the stream and the handling of SIGINT and SIGTERM meanwhile. */
#include "client/ctl_watch.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/ctl_call.h"
#include "client/ctl_event.h"

#define PAUSE_MS 200 /* before each try to reach a daemon that has gone */

struct stream {
        const struct ctl *ctl;
        int fd; /* -1: none */
        size_t n;
        bool greeted; /* the first line has come */
        bool greeted_ever;
        char epoch[32]; /* of the daemon that was heard last, and its last news */
        json_int_t number;
        char text[8192]; /* what has come of a line; the daemon's are shorter */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
        (void)number;
        interrupted = 1;
}

/* From here on they come only while we wait. */
static void catch_interrupts(sigset_t *before)
{
        struct sigaction act = {.sa_handler = on_interrupt};
        sigset_t both;
        sigemptyset(&both);
        sigaddset(&both, SIGINT);
        sigaddset(&both, SIGTERM);
        sigprocmask(SIG_BLOCK, &both, before);
        sigdelset(before, SIGINT);
        sigdelset(before, SIGTERM);
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
}

/* Of ourselves: the daemon is gone, or back. */
static void say(const struct ctl *ctl, const char *event, const char *sentence)
{
        ctl_tell("%s", sentence);
        if (!ctl->json)
                return;
        printf("{\"event\":\"%s\",\"wall_ms\":%" PRId64 "}\n", event, clock_wall_coarse_ms());
        fflush(stdout);
}

/* Was it told before the daemon's connection was lost?  A daemon tells its last few again. */
static bool is_old(struct stream *s, const json_t *event)
{
        json_int_t number = json_integer_value(json_object_get(event, "number"));
        if (number && number <= s->number)
                return true;
        s->number = number ? number : s->number;
        return false;
}

static void greet(struct stream *s, const json_t *hello)
{
        const char *epoch = json_string_value(json_object_get(hello, "epoch"));
        if (s->greeted_ever)
                say(s->ctl, "back", "the daemon is back");
        if (!epoch || strcmp(epoch, s->epoch) != 0)
                s->number = 0;
        snprintf(s->epoch, sizeof s->epoch, "%s", epoch ? epoch : "");
        s->greeted = s->greeted_ever = true;
}

/* False: a refusal, or no daemon of ours; it has been told. */
static bool take_first(struct stream *s, const json_t *doc)
{
        const char *error = json_string_value(json_object_get(doc, "error"));
        const char *code = json_string_value(json_object_get(doc, "code"));
        if (json_is_true(json_object_get(doc, "ok"))) {
                greet(s, doc);
                return true;
        }
        if (error)
                ctl_fail(CTL_ERROR, code, "%s", error);
        else
                ctl_fail(
                    CTL_ERROR, NULL,
                    "%s/ctl.sock: the answer is not what was expected; is it a pinrouted of this version "
                    "that listens there?",
                    s->ctl->dir);
        return false;
}

static bool take_line(struct stream *s, const char *line)
{
        json_t *doc = json_loads(line, 0, NULL);
        bool good = true;
        if (!s->greeted)
                good = take_first(s, doc);
        else if (doc && !is_old(s, doc)) {
                if (s->ctl->json)
                        puts(line);
                else
                        ctl_event_show(doc, stdout);
        }
        json_decref(doc);
        return good;
}

/* Every whole line of what has come.  False: end, it has been told why. */
static bool take_lines(struct stream *s, bool ended)
{
        char *at = s->text, *end;
        while ((end = memchr(at, '\n', s->n - (size_t)(at - s->text))) != NULL) {
                *end = '\0';
                if (!take_line(s, at))
                        return false;
                at = end + 1;
        }
        s->n -= (size_t)(at - s->text);
        memmove(s->text, at, s->n);
        s->text[s->n] = '\0';
        fflush(stdout);
        if (!ended || s->greeted || (s->greeted_ever && s->n == 0))
                return true;
        return take_line(s, s->text); /* a refusal has no line's end */
}

static void hang_up(struct stream *s)
{
        if (s->fd >= 0)
                close(s->fd);
        s->fd = -1;
        s->n = 0;
        s->greeted = false;
}

/* Reads once.  False: end. */
static bool hear(struct stream *s)
{
        ssize_t got = recv(s->fd, s->text + s->n, sizeof s->text - 1 - s->n, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        s->n += got > 0 ? (size_t)got : 0;
        s->text[s->n] = '\0';
        bool full = s->n == sizeof s->text - 1, ended = got <= 0 || full;
        bool go_on = take_lines(s, ended);
        full = s->n == sizeof s->text - 1; /* a line that long is none of pinrouted's */
        if (go_on && (got <= 0 || full)) {
                if (s->greeted)
                        say(s->ctl, "lost", "the daemon has gone; waiting for it to come back");
                hang_up(s);
        }
        return go_on;
}

/* False: it was never there. */
static bool reach(struct stream *s, const char *cluster)
{
        char why[CTL_CALL_WHY_MAX];
        const char *words[] = {"watch", cluster ? cluster : "*", s->ctl->changes ? "news" : "pins", NULL};
        s->fd = ctl_call_open(s->ctl, words, why);
        if (s->fd >= 0 || s->greeted_ever)
                return true;
        ctl_fail(CTL_ERROR, NULL, "%s", why);
        return false;
}

enum ctl_exit ctl_watch(const struct ctl *ctl, const char *cluster)
{
        static struct stream s;
        sigset_t waiting;
        s = (struct stream){.ctl = ctl, .fd = -1};
        catch_interrupts(&waiting);
        while (!interrupted) {
                struct pollfd p = {.fd = s.fd, .events = POLLIN};
                struct timespec pause = {.tv_nsec = s.greeted_ever ? PAUSE_MS * CLOCK_NS_PER_MS : 0};
                int n = ppoll(&p, 1, s.fd < 0 ? &pause : NULL, &waiting);
                if (n > 0 ? !hear(&s) : n == 0 && !reach(&s, cluster))
                        return CTL_ERROR;
        }
        hang_up(&s);
        return CTL_OK;
}
