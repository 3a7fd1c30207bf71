/* hostile_keep.h -- does a call keep errno, signals, umask and timers?
 * For hostile_host.c. */
#ifndef HOSTILE_KEEP_H
#define HOSTILE_KEEP_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>

static atomic_int caught;
static inline void on_signal(int number) { (void)number, atomic_fetch_add(&caught, 1); }

static const int watched[] = {SIGPIPE, SIGALRM, SIGSEGV, SIGBUS, SIGCHLD, SIGUSR1, SIGTERM};
#define WATCHED (sizeof watched / sizeof *watched)

struct host {
        sigset_t mask, pending;
        struct {
                void (*handler)(int);
                int flags;
                uint64_t mask;
        } act[WATCHED];
        int caught;
        mode_t umask;
        struct itimerval timer;
};

static inline struct host look_at_host(void)
{
        struct host h;
        memset(&h, 0, sizeof h);
        pthread_sigmask(SIG_SETMASK, NULL, &h.mask);
        sigpending(&h.pending);
        for (size_t i = 0; i < WATCHED; i++) {
                struct sigaction act; /* of its mask the kernel knows 64 bits */
                sigaction(watched[i], NULL, &act);
                h.act[i].handler = act.sa_handler;
                h.act[i].flags = act.sa_flags;
                memcpy(&h.act[i].mask, &act.sa_mask, sizeof h.act[i].mask);
        }
        h.caught = atomic_load(&caught);
        h.umask = umask(0);
        umask(h.umask);
        getitimer(ITIMER_REAL, &h.timer);
        return h;
}

static const char *which; /* the first call that changed something */

static inline void expect_same(const struct host *before, const char *call)
{
        int saved = errno;
        struct host after = look_at_host();
        if ((saved != 77 || memcmp(before, &after, sizeof after) != 0) && !which) {
                which = call;
                fprintf(stderr, "%s: errno %d, or signals, umask, timer\n", call, saved);
        }
}

#define KEEPS(call)                                                                                          \
        do {                                                                                                 \
                struct host before = look_at_host();                                                         \
                errno = 77;                                                                                  \
                (void)call;                                                                                  \
                expect_same(&before, #call);                                                                 \
        } while (0)

#endif
