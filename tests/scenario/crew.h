/* crew.h -- what scenario programs of many processes share: checks, clocks, keys, shared memory, children.
 * Knows pinroute.h only.  Static inline throughout: each program stays one file. */
#ifndef SCENARIO_CREW_H
#define SCENARIO_CREW_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/pinroute.h"

#define CREW_MUST(what)                                                                                      \
        do {                                                                                                 \
                if (!(what)) {                                                                               \
                        fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #what, strerror(errno));     \
                        _exit(2);                                                                            \
                }                                                                                            \
        } while (0)

#define CREW_REASONS (PINROUTE_OVER_BUDGET + 1)

static inline int64_t crew_now_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

static inline int64_t crew_now_ms(void) { return crew_now_us() / 1000; }

/* Memory that all children share; zeros. */
static inline void *crew_share(size_t size)
{
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CREW_MUST(p != MAP_FAILED);
        return p;
}

struct crew_key {
        char text[48];
        size_t len;
};

static inline struct crew_key crew_key(const char *kind, uint64_t number)
{
        struct crew_key k;
        k.len = (size_t)snprintf(k.text, sizeof k.text, "%s-%llu", kind, (unsigned long long)number);
        return k;
}

/* A handle and one cluster's number in it. */
struct crew_at {
        struct pinroute *pr;
        unsigned cluster;
};

static inline struct crew_at crew_attach(const char *dir, const char *cluster)
{
        struct crew_at at = {0};
        CREW_MUST(pinroute_open(&at.pr, dir) == PINROUTE_OK);
        int status = pinroute_cluster(at.pr, cluster, &at.cluster);
        CREW_MUST(status == PINROUTE_OK || status == PINROUTE_E_CLUSTER);
        return at;
}

static inline int crew_read(const struct crew_at *at, const struct crew_key *k, struct pinroute_decision *d)
{
        return pinroute_route_read(at->pr, at->cluster, k ? k->text : NULL, k ? k->len : 0, d);
}

static inline int crew_record(const struct crew_at *at, const struct crew_key *k, unsigned seconds)
{
        return pinroute_record_write(at->pr, at->cluster, k->text, k->len, seconds);
}

/* A child that does not outlive its parent: runs `what`, exits 0. */
static inline pid_t crew_fork(void (*what)(void *arg, unsigned number), void *arg, unsigned number)
{
        fflush(NULL);
        pid_t parent = getpid(), child = fork();
        CREW_MUST(child >= 0);
        if (child > 0)
                return child;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        CREW_MUST(getppid() == parent);
        what(arg, number);
        fflush(NULL);
        _exit(0);
}

/* Waits for all of them: every child must have exited with 0. */
static inline void crew_join(const pid_t *child, unsigned n)
{
        unsigned bad = 0;
        for (unsigned i = 0; i < n; i++) {
                int status = 0;
                CREW_MUST(waitpid(child[i], &status, 0) == child[i]);
                bad += status != 0;
        }
        CREW_MUST(bad == 0);
}

/* ` BALANCED=3 PINNED=9`: the reasons that were met. */
static inline void crew_print_reasons(const uint64_t times[CREW_REASONS])
{
        for (int i = 1; i < CREW_REASONS; i++)
                if (times[i])
                        printf(" %s=%llu", pinroute_reason_name(i), (unsigned long long)times[i]);
}

#endif
