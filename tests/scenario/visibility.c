/* visibility.c -- eight processes record and decide in turn: who is told of a write sees its pin at once.
 * visibility DIR CLUSTER PROCESSES ROUNDS SECONDS strict|released.  Prints one line of `name=count`.
 *
 * Each round belongs to one process, which records a key of its own and then says so in shared memory; all
 * others decide for what was said last, and for something older.  A miss is a decision, taken before the pin
 * can have ended, that does not know of it: BALANCED, NO_REPLICA or FLOOR; with `strict` (no early release)
 * CAUGHT_UP as well.  Each process also looks at the store itself: what is published never goes back. */
#include <stdatomic.h>

#include "client/view.h"
#include "tests/scenario/crew.h"

#define PROCESSES_MAX 64
#define HOT_KEYS      8
#define HOT_EVERY     10
#define PROBE_EVERY   16

struct counts {
        uint64_t rounds, failed, unpinned_balanced, decisions, over, misses, looks, backwards;
        uint64_t reason[CREW_REASONS];
};

/* Shared by all.  head[p]: rounds that p has said something about; sent_ms[i]: when round i's record went
 * out, 0 until it was acknowledged. */
static struct {
        unsigned processes, rounds, seconds;
        bool strict;
        const char *dir, *cluster;
        struct counts *counts;
        _Atomic uint64_t *head;
        _Atomic int64_t *sent_ms;
} run;

/* The newest that one process has seen in the store. */
struct seen {
        struct view *view;
        uint64_t epoch, transaction, open_generation, pin_generation[HOT_KEYS];
        int64_t heartbeat_ms, pin_until_ms[HOT_KEYS];
};

static void check(const struct crew_at *at, struct counts *n, unsigned round)
{
        struct crew_key k = crew_key("round", round);
        struct pinroute_decision d;
        int64_t sent_ms = atomic_load_explicit(&run.sent_ms[round], memory_order_acquire);
        if (!sent_ms)
                return;
        CREW_MUST(crew_read(at, &k, &d) == PINROUTE_OK);
        if (crew_now_ms() >= sent_ms + run.seconds * 1000) {
                n->over++;
                return;
        }
        bool miss = d.reason == PINROUTE_BALANCED || d.reason == PINROUTE_NO_REPLICA ||
                    d.reason == PINROUTE_FLOOR || (run.strict && d.role == PINROUTE_REPLICA);
        n->decisions++;
        n->reason[d.reason]++;
        if (miss && n->misses++ < 3)
                fprintf(stderr, "miss: round %u: %s, %u ms left, recorded %lld ms ago\n", round,
                        pinroute_reason_name(d.reason), d.pin_left_ms, (long long)(crew_now_ms() - sent_ms));
}

static void newest(uint64_t *seen, uint64_t now, struct counts *n, const char *what)
{
        if (now < *seen && n->backwards++ < 3)
                fprintf(stderr, "backwards: %s %llu after %llu\n", what, (unsigned long long)now,
                        (unsigned long long)*seen);
        *seen = now > *seen ? now : *seen;
}

/* One snapshot, compared with all that was seen before. */
static void look(struct seen *s, struct counts *n, unsigned hot)
{
        char name[PNR_NAME_SIZE] = "";
        struct crew_key k = crew_key("hot", hot);
        struct pnr_key key = pnr_key_of(k.text, k.len);
        struct view_at at = {0};
        struct facts f = {.now = {crew_now_ms()}};
        snprintf(name, sizeof name, "%s", run.cluster);
        if (view_facts(s->view, name, &key, &f, &at) != VIEW_OK)
                return;
        uint64_t open_generation = f.cluster->open_generation;
        if (!view_holds(s->view, &at))
                return;
        n->looks++;
        s->epoch = s->epoch ? s->epoch : at.epoch;
        n->backwards += at.epoch != s->epoch;
        newest(&s->transaction, at.snap.id, n, "transaction");
        newest((uint64_t *)&s->heartbeat_ms, (uint64_t)at.heartbeat_ms, n, "heartbeat");
        newest(&s->open_generation, open_generation, n, "open generation");
        newest(&s->pin_generation[hot], f.pin.generation, n, "a pin's generation");
        newest((uint64_t *)&s->pin_until_ms[hot], (uint64_t)f.pin.until_ms, n, "a pin's end");
}

/* Would anybody send this key's reads to a replica before it is recorded?  Else a miss could not show. */
static void probe(const struct crew_at *at, struct counts *n, const struct crew_key *k)
{
        struct pinroute_decision d;
        crew_read(at, k, &d);
        n->unpinned_balanced += d.reason == PINROUTE_BALANCED;
}

static void record(const struct crew_at *at, struct counts *n, unsigned round, unsigned self)
{
        struct crew_key k = crew_key("round", round), hot = crew_key("hot", round % HOT_KEYS);
        if (round / run.processes % PROBE_EVERY == 0)
                probe(at, n, &k);
        int64_t sent_ms = crew_now_ms();
        if (crew_record(at, &k, run.seconds) != PINROUTE_OK) {
                n->failed++;
                return;
        }
        n->rounds++;
        atomic_store_explicit(&run.sent_ms[round], sent_ms, memory_order_release);
        atomic_store_explicit(&run.head[self], round + 1, memory_order_release);
        if (round / run.processes % HOT_EVERY == 0)
                n->failed += crew_record(at, &hot, 3600) != PINROUTE_OK;
}

static void play(void *arg, unsigned self)
{
        (void)arg;
        struct crew_at at = crew_attach(run.dir, run.cluster);
        struct counts *n = &run.counts[self];
        struct seen seen = {0};
        CREW_MUST(pinroute_set_timeout(at.pr, 5000) == PINROUTE_OK);
        CREW_MUST(view_open(&seen.view, run.dir) == PINROUTE_OK);
        for (unsigned round = self; round < run.rounds; round += run.processes) {
                record(&at, n, round, self);
                for (unsigned other = 0; other < run.processes; other++) {
                        uint64_t head = atomic_load_explicit(&run.head[other], memory_order_acquire);
                        if (head)
                                check(&at, n, (unsigned)head - 1);
                }
                check(&at, n, round / 2);
                for (unsigned i = 0; i < 4; i++)
                        look(&seen, n, (round + i) % HOT_KEYS);
        }
        view_close(&seen.view);
        pinroute_close(&at.pr);
}

static void print_sum(void)
{
        struct counts all = {0};
        for (unsigned p = 0; p < run.processes; p++) {
                const uint64_t *from = (const uint64_t *)&run.counts[p];
                for (size_t i = 0; i < sizeof all / sizeof *from; i++)
                        ((uint64_t *)&all)[i] += from[i];
        }
        printf(
            "rounds=%llu failed=%llu unpinned_balanced=%llu decisions=%llu over=%llu misses=%llu looks=%llu "
            "backwards=%llu",
            (unsigned long long)all.rounds, (unsigned long long)all.failed,
            (unsigned long long)all.unpinned_balanced, (unsigned long long)all.decisions,
            (unsigned long long)all.over, (unsigned long long)all.misses, (unsigned long long)all.looks,
            (unsigned long long)all.backwards);
        crew_print_reasons(all.reason);
        putchar('\n');
}

int main(int argc, char **argv)
{
        pid_t child[PROCESSES_MAX];
        CREW_MUST(argc == 7);
        run.dir = argv[1];
        run.cluster = argv[2];
        run.processes = (unsigned)atoi(argv[3]);
        run.rounds = (unsigned)atoi(argv[4]);
        run.seconds = (unsigned)atoi(argv[5]);
        run.strict = strcmp(argv[6], "strict") == 0;
        CREW_MUST(run.processes >= 1 && run.processes <= PROCESSES_MAX);
        run.counts = crew_share(run.processes * sizeof *run.counts);
        run.head = crew_share(run.processes * sizeof *run.head);
        run.sent_ms = crew_share(run.rounds * sizeof *run.sent_ms);
        for (unsigned p = 0; p < run.processes; p++)
                child[p] = crew_fork(play, NULL, p);
        crew_join(child, run.processes);
        print_sum();
        return 0;
}
