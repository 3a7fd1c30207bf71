/* child.c -- starting, feeding and burying the prober process.
 * The only file that starts processes. */
#include "daemon/child.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/news.h"
#include "daemon/turn.h"

#define PAUSE_MIN_MS 50
#define PAUSE_MAX_MS 1000
#define HANGS_MS     2000 /* beyond the longest timeout it was given */
#define FAREWELL_MS  100  /* at the end; then it is init's */

extern char **environ;

/* A killed process may stay: in the kernel, or in a tracer's hands.  The loop does not wait for it. */
static void reap(struct child *c)
{
        unsigned n = 0;
        for (unsigned i = 0; i < c->n_dying; i++) {
                pid_t ended = waitpid(c->dying[i], NULL, WNOHANG);
                if (ended == 0 || (ended < 0 && errno != ECHILD))
                        c->dying[n++] = c->dying[i];
        }
        c->n_dying = n;
}

static void bury(struct child *c)
{
        if (!c->pid)
                return;
        kill(c->pid, SIGKILL);
        c->dying[c->n_dying++] = c->pid; /* child_turn() saw to the room */
        c->pid = 0;
        if (c->readable)
                event_free(c->readable);
        c->readable = NULL;
        close(c->fd);
        c->fd = -1;
        c->waiting = false;
        memset(c->told, 0, sizeof c->told);
}

static void lose(struct child *c, struct mono now, const char *why)
{
        news_say(LOG_AT_WARNING, &(struct news_about){.kind = NEWS_PROBER},
                 "prober: %s; starting another in %d ms", why, (int)c->restart_pause_ms);
        bury(c);
        c->start_due = mono_plus(now, c->restart_pause_ms);
        c->restart_pause_ms = c->restart_pause_ms * 2 < PAUSE_MAX_MS ? c->restart_pause_ms * 2 : PAUSE_MAX_MS;
        c->hooks.lost(c->hooks.arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
        (void)what;
        struct child *c = arg;
        turn_woke();
        for (unsigned i = 0; i < 64; i++) {
                struct prober_result r;
                ssize_t n = recv(fd, &r, sizeof r, MSG_DONTWAIT | MSG_TRUNC);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n != (ssize_t)sizeof r || r.node >= PROBER_NODES_MAX) {
                        lose(c, clock_mono(), n <= 0 ? "it ended" : "it sent a frame of the wrong shape");
                        return;
                }
                r.text[sizeof r.text - 1] = '\0';
                c->waiting = false;
                c->restart_pause_ms = PAUSE_MIN_MS;
                c->hooks.result(c->hooks.arg, &r);
                if (!c->pid)
                        return;
        }
}

static int spawn(pid_t *pid, int its_end)
{
        char *const argv[] = {"pinrouted: prober", NULL};
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attr;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_adddup2(&files, its_end, PROBER_FD);
        posix_spawn_file_actions_addclosefrom_np(&files, PROBER_FD + 1);
        posix_spawnattr_init(&attr);
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setsigdefault(&attr, &all);
        int rc = posix_spawn(pid, "/proc/self/exe", &files, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&files);
        return rc;
}

static bool start(struct child *c)
{
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
                log_error("prober: socketpair: %s", strerror(errno));
                return false;
        }
        int rc = spawn(&c->pid, pair[1]);
        close(pair[1]);
        if (rc) {
                log_error("prober: starting it: %s", strerror(rc));
                close(pair[0]);
                c->pid = 0;
                return false;
        }
        c->fd = pair[0];
        c->readable = event_new(c->base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
        if (!c->readable || event_add(c->readable, NULL)) {
                log_error("prober: nobody would hear it: out of memory");
                bury(c);
                return false;
        }
        c->starts++;
        log_debug("prober: pid %d", (int)c->pid);
        return true;
}

void child_init(struct child *c, struct event_base *base, const struct child_hooks *hooks)
{
        *c = (struct child){.hooks = *hooks, .base = base, .fd = -1, .restart_pause_ms = PAUSE_MIN_MS};
}

void child_turn(struct child *c, struct mono now)
{
        reap(c);
        if (!c->pid && c->n_dying < CHILD_DYING_MAX && mono_reached(now, c->start_due) && !start(c))
                c->start_due = mono_plus(now, PAUSE_MAX_MS);
        if (c->waiting && mono_since(now, c->waiting_since) > (int64_t)c->longest_wait_ms + HANGS_MS)
                lose(c, now, "it hangs");
}

static bool order(struct child *c, const struct prober_order *o)
{
        return c->pid && send(c->fd, o, sizeof *o, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof *o;
}

static bool tell(struct child *c, unsigned node)
{
        const char *conninfo = c->hooks.conninfo(c->hooks.arg, node);
        struct prober_order o = {.kind = PROBER_NODE_SET, .node = node};
        if (!conninfo)
                return false;
        strncpy(o.conninfo, conninfo, sizeof o.conninfo - 1);
        o.cleartext = c->hooks.cleartext(c->hooks.arg, node);
        c->told[node] = order(c, &o);
        explicit_bzero(&o, sizeof o);
        return c->told[node];
}

/* An order that the prober does not take is a check without an answer: the cluster's own deadline ends it. */
void child_check(struct child *c, unsigned node, uint64_t number, uint32_t timeout_ms, struct mono now)
{
        struct prober_order o = {
            .kind = PROBER_CHECK, .node = node, .number = number, .timeout_ms = timeout_ms};
        if (!c->pid)
                return;
        if (!c->waiting) {
                c->waiting = true;
                c->waiting_since = now;
                c->longest_wait_ms = 0;
        }
        if (timeout_ms > c->longest_wait_ms)
                c->longest_wait_ms = timeout_ms;
        if (c->told[node] || tell(c, node))
                order(c, &o);
}

void child_retell(struct child *c, unsigned node)
{
        struct prober_order o = {.kind = PROBER_NODE_DROP, .node = node};
        if (c->told[node] && !c->hooks.conninfo(c->hooks.arg, node))
                order(c, &o);
        c->told[node] = false; /* set again before its next check: the same conninfo keeps its connection */
}

void child_fini(struct child *c)
{
        bury(c);
        reap(c);
        for (int ms = 0; c->n_dying > 0 && ms < FAREWELL_MS; ms++) {
                poll(NULL, 0, 1);
                reap(c);
        }
}
