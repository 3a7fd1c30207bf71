/* load.c -- processes that record without a pause, and others that decide for what was acknowledged.
 * load DIR CLUSTER RECORDERS DECIDERS NEWCOMERS SECONDS
 *
 *   counts   `acked=N failed=N slowest=N decisions=N misses=N attached=N unpinned=N unpinned_balanced=N ...`,
 *            since the beginning; slowest: acknowledged to the recorder that has the fewest
 *   check    looks into the store for every acknowledged pin that lives: `pins=N missing=N`
 *   down US  the daemon is dead, waits count from that time on: `down=1`
 *   back     recorders that were acknowledged since, what they waited in sum, and at most
 *   quit     ends all; `lost=N`: processes that had ended before
 *
 * A recorder's keys are its own and each is recorded once, for SECONDS.  Deciders keep their handle,
 * newcomers open one for a few decisions.  A miss is BALANCED, or NO_REPLICA, for a key whose pin must live.
 */
#include <stdatomic.h>
#include <stdbool.h>

#include "client/view.h"
#include "tests/scenario/crew.h"

#define PROCESSES_MAX 64
#define RING          (1u << 15) /* per recorder: more than it records in SECONDS */
#define BREATH_US     500        /* between two records of a process: a store of some ten thousand pins */
#define LOOK_US       100
#define SHOWN_MAX     5

struct said {
        _Atomic uint64_t number;
        _Atomic int64_t end_ms; /* the pin lives at least until then */
};

struct recorder {
        _Atomic uint64_t acked; /* in ring[0 .. acked-1], modulo RING */
        _Atomic uint64_t failed;
        _Atomic int64_t back_us; /* first acknowledged what it began after the daemon's death; 0: not yet */
        struct said ring[RING];
};

struct sums {
        _Atomic uint64_t decisions, misses, attached, unpinned, unpinned_balanced;
        _Atomic uint64_t reason[CREW_REASONS];
};

struct death {
        _Atomic int64_t since_us; /* waits count from then */
        _Atomic int64_t dead_us;  /* and nothing that began later was acknowledged by who died */
};

static struct {
        const char *dir, *cluster;
        unsigned recorders, seconds;
        struct recorder *recorder;
        struct sums *sums;
        struct death *death;
} run;

static struct crew_key key_of(unsigned recorder, uint64_t number)
{
        return crew_key("load", (uint64_t)recorder << 40 | number);
}

static void keep_recording(void *arg, unsigned self)
{
        (void)arg;
        struct crew_at at = crew_attach(run.dir, run.cluster);
        struct recorder *r = &run.recorder[self];
        for (uint64_t number = 0;; number++) {
                struct crew_key k = key_of(self, number);
                int64_t sent_us = crew_now_us(), sent_ms = sent_us / 1000;
                if (crew_record(&at, &k, run.seconds) == PINROUTE_OK) {
                        struct said *s = &r->ring[r->acked % RING];
                        atomic_store(&s->end_ms, 0);
                        atomic_store(&s->number, number);
                        atomic_store(&s->end_ms, sent_ms + run.seconds * 1000);
                        atomic_fetch_add(&r->acked, 1);
                        if (!r->back_us && sent_us >= run.death->dead_us)
                                atomic_store(&r->back_us, crew_now_us());
                } else {
                        atomic_fetch_add(&r->failed, 1);
                }
                usleep(BREATH_US);
        }
}

/* What recorder `from` said `ago` acknowledgements ago; false: nothing, or it is over. */
static bool get(unsigned from, uint64_t ago, uint64_t *number, int64_t *end_ms)
{
        struct recorder *r = &run.recorder[from];
        uint64_t acked = atomic_load(&r->acked);
        if (ago >= acked || ago >= RING - 1)
                return false;
        const struct said *s = &r->ring[(acked - 1 - ago) % RING];
        *end_ms = atomic_load(&s->end_ms);
        *number = atomic_load(&s->number);
        return *end_ms && atomic_load(&s->end_ms) == *end_ms && crew_now_ms() < *end_ms;
}

static void decide(const struct crew_at *at, unsigned from, uint64_t ago, const char *who)
{
        uint64_t number;
        int64_t end_ms;
        struct pinroute_decision d;
        if (!get(from, ago, &number, &end_ms))
                return;
        struct crew_key k = key_of(from, number);
        crew_read(at, &k, &d);
        if (crew_now_ms() >= end_ms)
                return;
        atomic_fetch_add(&run.sums->decisions, 1);
        atomic_fetch_add(&run.sums->reason[d.reason], 1);
        if (d.reason != PINROUTE_BALANCED && d.reason != PINROUTE_NO_REPLICA)
                return;
        if (atomic_fetch_add(&run.sums->misses, 1) < SHOWN_MAX)
                fprintf(
                    stderr,
                    "miss: %s: %s for key %u/%llu, whose pin lives %lld ms more; %llu acks ago, epoch %llx\n",
                    who, pinroute_reason_name(d.reason), from, (unsigned long long)number,
                    (long long)(end_ms - crew_now_ms()), (unsigned long long)ago,
                    (unsigned long long)d.epoch);
}

/* The newest of each, and one from further back. */
static void decide_some(const struct crew_at *at, const char *who, uint64_t *chance)
{
        for (unsigned from = 0; from < run.recorders; from++) {
                *chance = *chance * 6364136223846793005ull + 1442695040888963407ull;
                decide(at, from, 0, who);
                decide(at, from, (*chance >> 33) % 2000, who);
        }
}

static void keep_deciding(void *arg, unsigned self)
{
        (void)arg;
        struct crew_at at = crew_attach(run.dir, run.cluster);
        struct crew_key nobody = crew_key("nobody", 0);
        for (uint64_t chance = self;; usleep(LOOK_US)) {
                struct pinroute_decision d;
                decide_some(&at, "attached", &chance);
                crew_read(&at, &nobody, &d);
                atomic_fetch_add(&run.sums->unpinned, 1);
                atomic_fetch_add(&run.sums->unpinned_balanced, d.reason == PINROUTE_BALANCED);
        }
}

static void keep_coming(void *arg, unsigned self)
{
        (void)arg;
        for (uint64_t chance = self;; usleep(LOOK_US * 10)) {
                struct crew_at at = crew_attach(run.dir, run.cluster);
                decide_some(&at, "newcomer", &chance);
                atomic_fetch_add(&run.sums->attached, 1);
                pinroute_close(&at.pr);
        }
}

/* Is the pin in the store, and does it last as promised? */
static bool is_there(const struct view *v, unsigned from, uint64_t number, int64_t end_ms)
{
        struct crew_key k = key_of(from, number);
        struct pnr_key key = pnr_key_of(k.text, k.len);
        char name[PNR_NAME_SIZE] = "";
        snprintf(name, sizeof name, "%s", run.cluster);
        for (;;) {
                struct view_at at = {0};
                struct facts f = {.now = {crew_now_ms()}};
                int status = view_facts(v, name, &key, &f, &at);
                if (status == VIEW_AGAIN || !view_holds(v, &at))
                        continue;
                return crew_now_ms() >= end_ms || (status == VIEW_OK && f.pin.until_ms >= end_ms);
        }
}

static void check(void)
{
        struct view *v = NULL;
        uint64_t pins = 0, missing = 0, number;
        int64_t end_ms;
        CREW_MUST(view_open(&v, run.dir) == PINROUTE_OK);
        for (unsigned from = 0; from < run.recorders; from++)
                for (uint64_t ago = 0; get(from, ago, &number, &end_ms); ago++) {
                        bool there = is_there(v, from, number, end_ms);
                        pins++;
                        if (!there && missing++ < SHOWN_MAX)
                                fprintf(stderr, "missing: key %u/%llu, %llu acks ago\n", from,
                                        (unsigned long long)number, (unsigned long long)ago);
                }
        view_close(&v);
        printf("pins=%llu missing=%llu\n", (unsigned long long)pins, (unsigned long long)missing);
}

static void down(int64_t since_us)
{
        run.death->since_us = since_us;
        run.death->dead_us = crew_now_us();
        for (unsigned i = 0; i < run.recorders; i++)
                run.recorder[i].back_us = 0;
        puts("down=1");
}

static void back(void)
{
        unsigned n = 0;
        int64_t sum_us = 0, worst_us = 0;
        for (unsigned i = 0; i < run.recorders; i++) {
                int64_t back_us = run.recorder[i].back_us, took_us = back_us - run.death->since_us;
                if (!back_us)
                        continue;
                worst_us = took_us > worst_us ? took_us : worst_us;
                sum_us += took_us;
                n++;
        }
        printf("back=%u sum_us=%lld worst_us=%lld\n", n, (long long)sum_us, (long long)worst_us);
}

static void counts(void)
{
        uint64_t acked = 0, failed = 0, slowest = UINT64_MAX;
        for (unsigned i = 0; i < run.recorders; i++) {
                uint64_t n = atomic_load(&run.recorder[i].acked);
                acked += n;
                failed += atomic_load(&run.recorder[i].failed);
                slowest = n < slowest ? n : slowest;
        }
        const struct sums *s = run.sums;
        printf("acked=%llu failed=%llu slowest=%llu decisions=%llu misses=%llu attached=%llu unpinned=%llu "
               "unpinned_balanced=%llu",
               (unsigned long long)acked, (unsigned long long)failed, (unsigned long long)slowest,
               (unsigned long long)s->decisions, (unsigned long long)s->misses,
               (unsigned long long)s->attached, (unsigned long long)s->unpinned,
               (unsigned long long)s->unpinned_balanced);
        crew_print_reasons((const uint64_t *)s->reason);
        putchar('\n');
}

int main(int argc, char **argv)
{
        pid_t child[PROCESSES_MAX];
        char line[64];
        long long since_us;
        unsigned n = 0;
        CREW_MUST(argc == 7);
        setvbuf(stdout, NULL, _IOLBF, 0);
        run.dir = argv[1];
        run.cluster = argv[2];
        run.recorders = (unsigned)atoi(argv[3]);
        unsigned deciders = (unsigned)atoi(argv[4]), newcomers = (unsigned)atoi(argv[5]);
        run.seconds = (unsigned)atoi(argv[6]);
        CREW_MUST(run.recorders + deciders + newcomers <= PROCESSES_MAX);
        run.recorder = crew_share(run.recorders * sizeof *run.recorder);
        run.sums = crew_share(sizeof *run.sums);
        run.death = crew_share(sizeof *run.death);
        for (unsigned i = 0; i < run.recorders; i++)
                child[n++] = crew_fork(keep_recording, NULL, i);
        for (unsigned i = 0; i < deciders; i++)
                child[n++] = crew_fork(keep_deciding, NULL, i);
        for (unsigned i = 0; i < newcomers; i++)
                child[n++] = crew_fork(keep_coming, NULL, i);
        while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
                if (strcmp(line, "check\n") == 0)
                        check();
                else if (strcmp(line, "back\n") == 0)
                        back();
                else if (sscanf(line, "down %lld", &since_us) == 1)
                        down(since_us);
                else
                        counts();
        }
        unsigned lost = 0;
        for (unsigned i = 0; i < n; i++) {
                int status;
                kill(child[i], SIGTERM);
                CREW_MUST(waitpid(child[i], &status, 0) == child[i]);
                lost += !WIFSIGNALED(status) || WTERMSIG(status) != SIGTERM;
        }
        printf("lost=%u\n", lost);
        return lost != 0;
}
