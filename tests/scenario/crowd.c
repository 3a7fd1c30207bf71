/* crowd.c -- a parent and many workers, each with a connection of its own, as told on stdin.
 * crowd DIR CLUSTER WORKERS inherit|own
 *
 *   record     every living worker records a write: `ok=N failed=N us=WORST`
 *   read       every living worker decides for what it recorded: counts by reason
 *   kill N     SIGKILLs the first N that live: `killed=N`
 *   storm MS RATE  together they record RATE a second and read what others recorded, while one after the other is
 *              stopped, continued, killed and replaced: counts; wrong: a read that did not see an acknowledged
 *              pin; failed: records of those who were never stopped
 *   quit       ends the rest; each must exit with 0
 * Answers `ready=N` first, when every worker has its handle. */
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "tests/scenario/crew.h"

#define WORKERS_MAX 4096
#define SLOW_MS     10000 /* the connection may have to wait for a place; what is asked is whether it comes */

#define STORM_PIN_S   5
#define STORM_READS   4 /* after each record */
#define STORM_TICK_US 10000
#define STORM_CALM_MS 100 /* at the end nobody is killed any more */
#define STORM_STOP_MS 500

enum order { NOTHING, RECORD, READ, STORM, QUIT };

/* Who sits there changes in a storm; numbers go on. */
struct seat {
        _Atomic uint64_t next, acked; /* numbers of its keys */
        _Atomic int64_t until_ms;     /* the acknowledged one's pin lives at least until then; 0: none */
        _Atomic bool stopped;         /* who sits there was, at any time */
        int64_t resume_ms;            /* the parent's */
};

struct shared {
        _Atomic unsigned ready, done, ok, failed;
        _Atomic int64_t worst_us;
        _Atomic uint64_t reason[CREW_REASONS];
        _Atomic int64_t storm_until_ms, storm_pause_us;
        _Atomic unsigned hampered, wrong;
        struct seat seat[WORKERS_MAX];
};

static struct {
        const char *dir, *cluster;
        bool inherit;
        struct crew_at parent;
        struct shared *shared;
        int pipe[WORKERS_MAX]; /* our end */
        pid_t child[WORKERS_MAX];
        unsigned workers, gone;
        int child_end, our_end;
} run;

static int timed_record(const struct crew_at *at, const struct crew_key *k, unsigned seconds,
                        const struct seat *seat)
{
        struct shared *s = run.shared;
        int64_t began_us = crew_now_us();
        int status = crew_record(at, k, seconds);
        int64_t took_us = crew_now_us() - began_us, worst_us = atomic_load(&s->worst_us);
        while (!seat->stopped && worst_us < took_us &&
               !atomic_compare_exchange_weak(&s->worst_us, &worst_us, took_us))
                ;
        atomic_fetch_add(status == PINROUTE_OK ? &s->ok : seat->stopped ? &s->hampered : &s->failed, 1);
        return status;
}

static void record(const struct crew_at *at, unsigned self)
{
        struct crew_key k = crew_key("crowd", self);
        timed_record(at, &k, 60, &run.shared->seat[self]);
}

static void decide(const struct crew_at *at, unsigned self)
{
        struct crew_key k = crew_key("crowd", self);
        struct pinroute_decision d;
        crew_read(at, &k, &d);
        atomic_fetch_add(&run.shared->reason[d.reason], 1);
}

/* ---- a worker in a storm ---- */

static uint64_t chance(uint64_t *state, uint64_t below)
{
        *state = *state * 6364136223846793005ull + 1442695040888963407ull;
        return (*state >> 33) % below;
}

static struct crew_key storm_key(unsigned seat, uint64_t number)
{
        return crew_key("storm", (uint64_t)seat << 40 | number);
}

static void storm_record(const struct crew_at *at, unsigned self)
{
        struct seat *seat = &run.shared->seat[self];
        uint64_t number = atomic_fetch_add(&seat->next, 1);
        struct crew_key k = storm_key(self, number);
        int64_t sent_ms = crew_now_ms();
        if (timed_record(at, &k, STORM_PIN_S, seat) != PINROUTE_OK)
                return;
        seat->until_ms = 0;
        seat->acked = number;
        seat->until_ms = sent_ms + STORM_PIN_S * 1000;
}

static void storm_read(const struct crew_at *at, unsigned from)
{
        const struct seat *seat = &run.shared->seat[from];
        struct pinroute_decision d;
        int64_t until_ms = seat->until_ms;
        struct crew_key k = storm_key(from, seat->acked);
        if (!until_ms || seat->until_ms != until_ms)
                return;
        crew_read(at, &k, &d);
        if (crew_now_ms() >= until_ms)
                return;
        atomic_fetch_add(&run.shared->reason[d.reason], 1);
        atomic_fetch_add(&run.shared->wrong, d.reason != PINROUTE_PINNED && d.reason != PINROUTE_STORE_STALE);
}

static void storm(const struct crew_at *at, unsigned self)
{
        const struct shared *s = run.shared;
        uint64_t state = (uint64_t)crew_now_us() << 16 ^ (uint64_t)getpid();
        for (;;) {
                usleep((useconds_t)chance(&state, (uint64_t)s->storm_pause_us * 2));
                if (crew_now_ms() >= s->storm_until_ms)
                        return;
                storm_record(at, self);
                for (unsigned i = 0; i < STORM_READS; i++)
                        storm_read(at, (unsigned)chance(&state, run.workers));
        }
}

static void work(void *arg, unsigned self)
{
        (void)arg;
        for (unsigned i = 0; i < run.workers; i++)
                if (run.pipe[i])
                        close(run.pipe[i]);
        close(run.our_end);
        struct crew_at at = run.inherit ? run.parent : crew_attach(run.dir, run.cluster);
        CREW_MUST(pinroute_set_timeout(at.pr, SLOW_MS) == PINROUTE_OK);
        atomic_fetch_add(&run.shared->ready, 1);
        for (char order; read(run.child_end, &order, 1) == 1 && order != QUIT;) {
                if (order == RECORD)
                        record(&at, self);
                else if (order == STORM)
                        storm(&at, self);
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

static void tell(unsigned i, char order) { CREW_MUST(write(run.pipe[i], &order, 1) == 1); }

static void tell_all(char order)
{
        for (unsigned i = run.gone; i < run.workers; i++)
                tell(i, order);
}

static void begin(enum order order)
{
        struct shared *s = run.shared;
        s->done = s->ok = s->failed = s->hampered = s->wrong = 0;
        s->worst_us = 0;
        memset(s->reason, 0, sizeof s->reason);
        tell_all((char)order);
}

static void obey(enum order order)
{
        begin(order);
        wait_until(&run.shared->done, run.workers - run.gone);
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
        run.pipe[i] = 0;
        run.our_end = ends[1];
        run.shared->seat[i].stopped = false;
        run.child[i] = crew_fork(work, NULL, i);
        run.pipe[i] = ends[1];
        close(ends[0]);
}

/* ---- the storm ---- */

static void replace(unsigned i)
{
        int status;
        CREW_MUST(kill(run.child[i], SIGKILL) == 0);
        CREW_MUST(waitpid(run.child[i], &status, 0) == run.child[i] && WIFSIGNALED(status));
        close(run.pipe[i]);
        start_one(i);
        tell(i, STORM);
}

static void stop(struct seat *seat, unsigned i, int64_t now_ms, int64_t for_ms)
{
        seat->stopped = true;
        seat->resume_ms = now_ms + for_ms;
        CREW_MUST(kill(run.child[i], SIGSTOP) == 0);
}

static void go_on(int64_t now_ms)
{
        for (unsigned i = run.gone; i < run.workers; i++) {
                struct seat *seat = &run.shared->seat[i];
                if (!seat->resume_ms || now_ms < seat->resume_ms)
                        continue;
                CREW_MUST(kill(run.child[i], SIGCONT) == 0);
                seat->resume_ms = 0;
        }
}

static void storm_over_all(int64_t ms, unsigned rate)
{
        struct shared *s = run.shared;
        unsigned killed = 0, stopped = 0, living = run.workers - run.gone;
        int64_t began_ms = crew_now_ms();
        uint64_t state = (uint64_t)began_ms;
        s->storm_until_ms = began_ms + ms;
        s->storm_pause_us = (int64_t)living * 1000000 / rate;
        begin(STORM);
        for (int64_t now_ms; (now_ms = crew_now_ms()) < began_ms + ms - STORM_CALM_MS;
             usleep(STORM_TICK_US)) {
                unsigned i = run.gone + (unsigned)chance(&state, living);
                struct seat *seat = &s->seat[i];
                go_on(now_ms);
                if (chance(&state, 2)) {
                        replace(i);
                        seat->resume_ms = 0;
                        killed++;
                } else if (!seat->resume_ms) {
                        stop(seat, i, now_ms, (int64_t)chance(&state, STORM_STOP_MS) + 1);
                        stopped++;
                }
        }
        go_on(INT64_MAX);
        wait_until(&s->done, living);
        printf("ok=%u failed=%u hampered=%u wrong=%u killed=%u stopped=%u us=%lld ms=%lld", s->ok, s->failed,
               s->hampered, s->wrong, killed, stopped, (long long)s->worst_us,
               (long long)(crew_now_ms() - began_ms));
        crew_print_reasons((const uint64_t *)s->reason);
        putchar('\n');
}

static void allow_descriptors(void)
{
        struct rlimit l;
        CREW_MUST(getrlimit(RLIMIT_NOFILE, &l) == 0);
        l.rlim_cur = l.rlim_max;
        CREW_MUST(setrlimit(RLIMIT_NOFILE, &l) == 0);
}

int main(int argc, char **argv)
{
        char line[64];
        long long ms;
        unsigned rate;
        CREW_MUST(argc == 5);
        setvbuf(stdout, NULL, _IOLBF, 0);
        run.dir = argv[1];
        run.cluster = argv[2];
        run.workers = (unsigned)atoi(argv[3]);
        run.inherit = strcmp(argv[4], "inherit") == 0;
        CREW_MUST(run.workers <= WORKERS_MAX);
        run.shared = crew_share(sizeof *run.shared);
        allow_descriptors();
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
                } else if (sscanf(line, "storm %lld %u", &ms, &rate) == 2) {
                        storm_over_all(ms, rate);
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
