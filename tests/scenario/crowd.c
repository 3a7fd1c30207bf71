/* crowd.c -- a parent and many workers, each with a connection of its own, as told on stdin.
 * crowd DIR CLUSTER WORKERS inherit|own
 *
 *   record     every living worker records a write: `ok=N failed=N us=WORST`
 *   read       every living worker decides for what it recorded: counts by reason
 *   kill N     SIGKILLs the first N that live: `killed=N`
 *   quit       ends the rest; each must exit with 0
 * Answers `ready=N` first, when every worker has its handle. */
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/scenario/crew.h"

#define WORKERS_MAX 4096
#define SLOW_MS     10000 /* the connection may have to wait for a place; what is asked is whether it comes */

enum order { NOTHING, RECORD, READ, QUIT };

struct shared {
        _Atomic unsigned ready, done, ok, failed;
        _Atomic int64_t worst_us;
        _Atomic uint64_t reason[CREW_REASONS];
};

static struct {
        const char *dir, *cluster;
        bool inherit;
        struct crew_at parent;
        struct shared *shared;
        int pipe[WORKERS_MAX]; /* our end */
        pid_t child[WORKERS_MAX];
        unsigned workers, gone;
        int child_end;
} run;

static void record(const struct crew_at *at, unsigned self)
{
        struct shared *s = run.shared;
        struct crew_key k = crew_key("crowd", self);
        int64_t began_us = crew_now_us();
        int status = crew_record(at, &k, 60);
        int64_t took_us = crew_now_us() - began_us, worst_us = atomic_load(&s->worst_us);
        while (worst_us < took_us && !atomic_compare_exchange_weak(&s->worst_us, &worst_us, took_us))
                ;
        atomic_fetch_add(status == PINROUTE_OK ? &s->ok : &s->failed, 1);
}

static void decide(const struct crew_at *at, unsigned self)
{
        struct crew_key k = crew_key("crowd", self);
        struct pinroute_decision d;
        crew_read(at, &k, &d);
        atomic_fetch_add(&run.shared->reason[d.reason], 1);
}

static void work(void *arg, unsigned self)
{
        (void)arg;
        for (unsigned i = 0; i < self; i++)
                close(run.pipe[i]);
        struct crew_at at = run.inherit ? run.parent : crew_attach(run.dir, run.cluster);
        CREW_MUST(pinroute_set_timeout(at.pr, SLOW_MS) == PINROUTE_OK);
        atomic_fetch_add(&run.shared->ready, 1);
        for (char order; read(run.child_end, &order, 1) == 1 && order != QUIT;) {
                if (order == RECORD)
                        record(&at, self);
                else
                        decide(&at, self);
                atomic_fetch_add(&run.shared->done, 1);
        }
        pinroute_close(&at.pr);
}

static void wait_until(_Atomic unsigned *at, unsigned n)
{
        while (atomic_load(at) < n)
                usleep(1000);
}

static void tell_all(char order)
{
        for (unsigned i = run.gone; i < run.workers; i++)
                CREW_MUST(write(run.pipe[i], &order, 1) == 1);
}

static void obey(enum order order)
{
        struct shared *s = run.shared;
        s->done = s->ok = s->failed = 0;
        s->worst_us = 0;
        memset(s->reason, 0, sizeof s->reason);
        tell_all((char)order);
        wait_until(&s->done, run.workers - run.gone);
}

static void kill_some(unsigned n)
{
        for (unsigned i = run.gone; i < run.gone + n; i++)
                CREW_MUST(kill(run.child[i], SIGKILL) == 0);
        for (unsigned i = run.gone; i < run.gone + n; i++) {
                int status;
                CREW_MUST(waitpid(run.child[i], &status, 0) == run.child[i] && WIFSIGNALED(status));
                close(run.pipe[i]);
        }
        run.gone += n;
        printf("killed=%u\n", n);
}

static void start_one(unsigned i)
{
        int ends[2];
        CREW_MUST(pipe(ends) == 0);
        run.child_end = ends[0];
        run.pipe[i] = ends[1];
        run.child[i] = crew_fork(work, NULL, i);
        close(ends[0]);
}

int main(int argc, char **argv)
{
        char line[64];
        CREW_MUST(argc == 5);
        setvbuf(stdout, NULL, _IOLBF, 0);
        run.dir = argv[1];
        run.cluster = argv[2];
        run.workers = (unsigned)atoi(argv[3]);
        run.inherit = strcmp(argv[4], "inherit") == 0;
        CREW_MUST(run.workers <= WORKERS_MAX);
        run.shared = crew_share(sizeof *run.shared);
        run.parent = crew_attach(run.dir, run.cluster);
        for (unsigned i = 0; i < run.workers; i++)
                start_one(i);
        wait_until(&run.shared->ready, run.workers);
        printf("ready=%u\n", run.workers);
        while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
                if (strcmp(line, "record\n") == 0) {
                        obey(RECORD);
                        printf("ok=%u failed=%u us=%lld\n", run.shared->ok, run.shared->failed,
                               (long long)run.shared->worst_us);
                } else if (strcmp(line, "read\n") == 0) {
                        obey(READ);
                        printf("done=%u", run.shared->done);
                        crew_print_reasons((const uint64_t *)run.shared->reason);
                        putchar('\n');
                } else {
                        kill_some((unsigned)atoi(line + strlen("kill ")));
                }
        }
        tell_all(QUIT);
        crew_join(run.child + run.gone, run.workers - run.gone);
        pinroute_close(&run.parent.pr);
        printf("left=%u\n", run.workers - run.gone);
        return 0;
}
