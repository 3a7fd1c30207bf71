/* walk_storm.c -- many readers against a writer that halves, joins, expires and aborts flat out, and is
 * killed. Readers go through client/view.h as a decision does; the writer through daemon/store.h as the
 * daemon does.
 *
 *     walk_storm [--readers 8] [--lookups 1e6] [--storm] [--kills 0] [--seconds 600]
 *
 * Runs until both the look-ups and the kills (SIGKILL of the writer at any moment, and a new one) are done;
 * --storm also stops and continues readers all the time.  Every record that a transaction writes says which
 * transaction that was, so that a reader can tell whether what it put together belongs together. Last line
 * "walk_storm: ok" and exit 0, or "walk_storm: FAILED ..." and exit 1. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "client/view.h"
#include "tests/unit/live_store.h"

#define READERS_MAX 64
#define LASTING     2048 /* keys that are always pinned */
#define PASSING_MS                                                                                           \
        300 /* other pins expire after at most this, by the writer's own clock: a transaction is 1 ms */
#define WAVE     400 /* transactions that fill the table, and as many that let it empty */
#define MAX_PINS 30000
#define TRIES    8           /* as handle.c */
#define LONG_MS  (1ll << 31) /* lasting pins end so long after their generation, holds after half of that */
#define GIVE_UPS 1e-6        /* of all look-ups, at most */

/* What a reader has seen; each on cache lines of its own. */
struct tally {
        _Alignas(128) atomic_ulong lookups;
        atomic_ulong torn, give_ups;
        atomic_ulong lost, backwards, mixed, ghosts, damaged; /* wrong answers, all of them */
};

/* Shared by all processes. */
struct shared {
        _Alignas(128) atomic_ulong acked[LASTING]; /* generation that is committed */
        atomic_ulong commits, aborts, rises;       /* rises: writers that have committed for the first time */
        atomic_ulong pages_most, pages_fewest;
        atomic_long now_ms; /* the writer's clock, over its deaths */
        struct tally tally[READERS_MAX];
};

static struct shared *shared;
static struct live live;
static unsigned n_readers = 8;
static uint64_t random_state;

static uint64_t next_random(void)
{
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        return random_state ^= random_state << 17;
}

static void seed_random(uint64_t n) { random_state = n * 0x9e3779b97f4a7c15ull + 88172645463325252ull; }

static struct pnr_key key_number(uint64_t n) { return pnr_key_of(&n, sizeof n); }

/* A child that dies with its parent. */
static pid_t fork_child(void)
{
        fflush(stdout);
        pid_t parent = getpid(), pid = fork();
        LIVE_MUST(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(1);
                seed_random((uint64_t)getpid());
        }
        return pid;
}

/* ---- the writer ---- */

struct writer {
        struct store *store;
        uint64_t generation; /* of the transaction in hand */
        struct mono now;
        unsigned n_lasting;
        unsigned lasting[64]; /* written in it */
};

static void merge(struct writer *w, struct pnr_key key, int64_t until_ms)
{
        struct pin pin = {.generation = w->generation,
                          .until_ms = until_ms,
                          .hold_ms = LONG_MS / 2 + 2 * (int64_t)w->generation};
        LIVE_MUST(store_merge_pin(w->store, pnr_slot_of(key, 0, store_spread(w->store)), &pin, w->now,
                                  NULL) == STORE_OK);
}

static void merge_lasting(struct writer *w, unsigned number)
{
        merge(w, key_number(number), LONG_MS + (int64_t)w->generation);
        w->lasting[w->n_lasting++] = number;
}

static void fill(struct writer *w)
{
        bool filling = atomic_load(&shared->commits) / WAVE % 2 == 0;
        w->n_lasting = 0;
        for (unsigned i = 0; i < 6; i++)
                merge_lasting(w, (unsigned)(next_random() % LASTING));
        for (unsigned i = 0; i < (filling ? 60 : 1); i++)
                merge(w, key_number(LASTING + next_random()),
                      w->now.ms + 1 + (int64_t)(next_random() % PASSING_MS));
        for (unsigned i = 0; !filling && i < 20; i++) {
                bool changed;
                LIVE_MUST(store_sweep(w->store, w->now, 1, &changed) == STORE_OK);
        }
}

static void put_state(struct writer *w)
{
        live.header.file_ino = store_ino(w->store);
        memcpy(live.header.seed, store_seed(w->store), sizeof live.header.seed);
        live.header.heartbeat_ms = (int64_t)w->generation;
        live.cluster[0].open_generation = w->generation;
        live.cluster[0].floor_until_ms = 3 * (int64_t)w->generation;
        LIVE_MUST(store_put_header(w->store, &live.header) == STORE_OK);
        LIVE_MUST(store_put_cluster(w->store, 0, &live.cluster[0]) == STORE_OK);
}

static void note_pages(struct store *s)
{
        struct store_count c;
        store_count(s, &c);
        if (c.pin_pages > atomic_load(&shared->pages_most))
                atomic_store(&shared->pages_most, c.pin_pages);
        if (c.pin_pages < atomic_load(&shared->pages_fewest))
                atomic_store(&shared->pages_fewest, c.pin_pages);
}

static void turn(struct writer *w, bool first)
{
        w->generation++;
        w->now.ms = atomic_fetch_add(&shared->now_ms, 1);
        LIVE_MUST(store_begin(w->store) == STORE_OK);
        put_state(w);
        fill(w);
        if (!first && next_random() % 16 == 0) {
                store_abort(w->store);
                atomic_fetch_add(&shared->aborts, 1);
                return;
        }
        LIVE_MUST(store_commit(w->store) == STORE_OK);
        for (unsigned i = 0; i < w->n_lasting; i++)
                atomic_store(&shared->acked[w->lasting[i]], w->generation);
        if (atomic_fetch_add(&shared->commits, 1) % 50 == 0)
                note_pages(w->store);
}

static void open_as_writer(struct writer *w, bool must_reuse)
{
        struct store_want want = {.dir = live.dir,
                                  .max_pins = MAX_PINS,
                                  .group = (gid_t)-1,
                                  .now = {1ll << 50}, /* later than any time in the play */
                                  .stale_after_ms = 1000,
                                  .stale_limit_ms = 60000};
        struct store_found found;
        LIVE_MUST(pnr_boot_id(want.boot_id));
        memset(w, 0, sizeof *w);
        LIVE_MUST(store_open(&w->store, &want, &found) == STORE_OK);
        if (must_reuse && !found.reused) {
                fprintf(stderr, "a killed writer left: %s\n", found.why_new);
                exit(1);
        }
        w->generation = found.max_generation;
        free(found.cluster);
}

static void first_store(void)
{
        struct writer w;
        live.header = (struct pnr_header){.magic = PNR_MAGIC,
                                          .layout = PNR_LAYOUT,
                                          .oldest_reader = PNR_OLDEST_READER,
                                          .oldest_writer = PNR_OLDEST_WRITER,
                                          .epoch = 1,
                                          .state = PNR_LIVE,
                                          .n_clusters = 1,
                                          .stale_after_ms = 1000,
                                          .stale_limit_ms = 60000};
        LIVE_MUST(pnr_boot_id(live.header.boot_id));
        live.cluster[0] = (struct pnr_cluster){.name = "main", .primary = PNR_NO_NODE};
        open_as_writer(&w, false);
        w.generation = 1;
        for (unsigned first = 0; first < LASTING; first += 64) {
                LIVE_MUST(store_begin(w.store) == STORE_OK);
                put_state(&w);
                for (unsigned i = w.n_lasting = 0; i < 64; i++)
                        merge_lasting(&w, first + i);
                LIVE_MUST(store_commit(w.store) == STORE_OK);
        }
        for (unsigned i = 0; i < LASTING; i++)
                atomic_store(&shared->acked[i], 1);
        store_close(&w.store);
}

static pid_t start_writer(void)
{
        pid_t pid = fork_child();
        if (pid != 0)
                return pid;
        struct writer w;
        open_as_writer(&w, true);
        turn(&w, true);
        atomic_fetch_add(&shared->rises, 1);
        for (;;)
                turn(&w, false);
}

/* ---- the readers ---- */

/* One look-up, and what it found, if it held within TRIES. */
struct look {
        struct need pin;
        uint64_t open_generation;
        int64_t floor_until_ms, heartbeat_ms;
};

static bool look_up(const struct view *v, struct pnr_key key, struct look *ret, struct tally *t)
{
        static const char name[PNR_NAME_SIZE] = "main";
        for (int tries = 0; tries < TRIES; tries++) {
                struct facts f = {.now = {0}};
                struct view_at at = {.number = 0};
                int st = view_facts(v, name, &key, &f, &at);
                if (st == VIEW_OK) {
                        const volatile struct pnr_cluster *c = f.cluster;
                        *ret = (struct look){f.pin, c->open_generation, c->floor_until_ms, at.heartbeat_ms};
                }
                if (st != VIEW_AGAIN && view_holds(v, &at)) {
                        if (st == VIEW_OK)
                                return true;
                        atomic_fetch_add(&t->damaged, 1);
                        return false;
                }
                atomic_fetch_add_explicit(&t->torn, 1, memory_order_relaxed);
        }
        atomic_fetch_add(&t->give_ups, 1);
        return false;
}

static void count_if(bool wrong, atomic_ulong *count)
{
        if (wrong)
                atomic_fetch_add(count, 1);
}

/* Header, cluster and pins of one transaction, and never of an older one than was seen before. */
static void check_state(const struct look *l, int64_t *heartbeat_ms, struct tally *t)
{
        count_if(l->heartbeat_ms < *heartbeat_ms, &t->backwards);
        count_if(l->open_generation != (uint64_t)l->heartbeat_ms ||
                     l->floor_until_ms != 3 * l->heartbeat_ms || l->pin.generation > l->open_generation,
                 &t->mixed);
        *heartbeat_ms = l->heartbeat_ms;
}

static void look_for_lasting(const struct view *v, uint64_t *seen, int64_t *heartbeat_ms, struct tally *t)
{
        struct look l;
        unsigned number = (unsigned)(next_random() % LASTING);
        uint64_t acked = atomic_load(&shared->acked[number]);
        if (!look_up(v, key_number(number), &l, t))
                return;
        check_state(&l, heartbeat_ms, t);
        count_if(l.pin.generation < acked, &t->lost);
        count_if(l.pin.generation < seen[number], &t->backwards);
        count_if(l.pin.generation && (l.pin.hold_ms != LONG_MS / 2 + 2 * (int64_t)l.pin.generation ||
                                      l.pin.until_ms != LONG_MS + (int64_t)l.pin.generation),
                 &t->mixed);
        seen[number] = l.pin.generation;
}

static void look_for_absent(const struct view *v, int64_t *heartbeat_ms, struct tally *t)
{
        struct look l;
        if (!look_up(v, (struct pnr_key){{next_random(), next_random()}}, &l, t))
                return;
        check_state(&l, heartbeat_ms, t);
        count_if(l.pin.generation || l.pin.until_ms || l.pin.hold_ms, &t->ghosts);
}

static pid_t start_reader(unsigned number)
{
        pid_t pid = fork_child();
        if (pid != 0)
                return pid;
        (void)!nice(10); /* so that the writer has a core to itself */
        struct tally *t = &shared->tally[number];
        static uint64_t seen[LASTING];
        int64_t heartbeat_ms = 0;
        struct view *v;
        LIVE_MUST(view_open(&v, live.dir) == PINROUTE_OK);
        for (;;) {
                look_for_lasting(v, seen, &heartbeat_ms, t);
                look_for_absent(v, &heartbeat_ms, t);
                atomic_fetch_add_explicit(&t->lookups, 2, memory_order_relaxed);
        }
}

/* Stops a reader anywhere in its walk for long enough that the writer laps it. */
static pid_t start_storm(const pid_t *reader)
{
        pid_t pid = fork_child();
        if (pid != 0)
                return pid;
        for (;;) {
                pid_t one = reader[next_random() % n_readers];
                kill(one, SIGSTOP);
                usleep((useconds_t)(500 + next_random() % 8000));
                kill(one, SIGCONT);
                usleep((useconds_t)(next_random() % 1000));
        }
}

/* ---- the play ---- */

static void end_child(pid_t pid)
{
        if (pid <= 0)
                return;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static struct tally *sum(void)
{
        static struct tally all;
        memset(&all, 0, sizeof all);
        for (unsigned i = 0; i < n_readers; i++) {
                const struct tally *t = &shared->tally[i];
                all.lookups += t->lookups;
                all.torn += t->torn;
                all.give_ups += t->give_ups;
                all.lost += t->lost;
                all.backwards += t->backwards;
                all.mixed += t->mixed;
                all.ghosts += t->ghosts;
                all.damaged += t->damaged;
        }
        return &all;
}

/* Has any of our children died by itself? */
static bool someone_died(void)
{
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0)
                return false;
        fprintf(stderr, "process %d: %s %d\n", info.si_pid, info.si_code == CLD_EXITED ? "exit" : "signal",
                info.si_status);
        return true;
}

/* Lets the writer commit for a random while, kills it wherever it is, and starts another. */
static bool kill_writer(pid_t *writer, unsigned long rises, int64_t deadline_ns)
{
        while (atomic_load(&shared->rises) < rises)
                if (someone_died() || clock_ns() > deadline_ns)
                        return false;
        usleep((useconds_t)(next_random() % 20000));
        end_child(*writer);
        *writer = start_writer();
        return true;
}

static const char *play(double lookups, unsigned long kills, bool storm, int64_t deadline_ns)
{
        const char *what = NULL;
        pid_t reader[READERS_MAX], writer = start_writer();
        for (unsigned i = 0; i < n_readers; i++)
                reader[i] = start_reader(i);
        pid_t stopper = storm ? start_storm(reader) : 0;
        for (unsigned long killed = 0; !what && (killed < kills || (double)sum()->lookups < lookups);) {
                if (killed < kills && kill_writer(&writer, killed + 1, deadline_ns))
                        killed++;
                else
                        usleep(2000);
                if (someone_died())
                        what = "a process died";
                else if (clock_ns() > deadline_ns)
                        what = "not done in time";
        }
        end_child(stopper);
        end_child(writer);
        for (unsigned i = 0; i < n_readers; i++)
                end_child(reader[i]);
        return what;
}

static const char *verdict(const struct tally *t)
{
        if (t->lost || t->backwards || t->mixed || t->ghosts || t->damaged)
                return "wrong answers";
        if ((double)t->give_ups > GIVE_UPS * (double)t->lookups)
                return "too many give-ups";
        if (shared->pages_most < 2 * shared->pages_fewest)
                return "the table did not grow and shrink: no storm";
        return NULL;
}

static void remove_store(void)
{
        static const char *const names[] = {"data.mdb", "lock.mdb"};
        char path[128];
        for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
                snprintf(path, sizeof path, "%s/%s", live.dir, names[i]);
                unlink(path);
        }
        rmdir(live.dir);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {{"readers", 1, 0, 'r'}, {"lookups", 1, 0, 'l'},
                                                {"storm", 0, 0, 's'},   {"kills", 1, 0, 'k'},
                                                {"seconds", 1, 0, 't'}, {0}};
        double lookups = 1e6, seconds = 600;
        unsigned long kills = 0;
        bool storm = false;
        for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (o) {
                case 'r': n_readers = (unsigned)strtoul(optarg, NULL, 10); break;
                case 'l': lookups = strtod(optarg, NULL); break;
                case 's': storm = true; break;
                case 'k': kills = strtoul(optarg, NULL, 10); break;
                case 't': seconds = strtod(optarg, NULL); break;
                default: return 2;
                }
        if (n_readers < 1 || n_readers > READERS_MAX)
                return 2;
        seed_random((uint64_t)clock_ns());
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        LIVE_MUST(shared != MAP_FAILED);
        atomic_store(&shared->pages_fewest, ULONG_MAX);
        snprintf(live.dir, sizeof live.dir, "/dev/shm/pnr-storm-XXXXXX");
        LIVE_MUST(mkdtemp(live.dir));
        first_store();

        int64_t began = clock_ns();
        const char *what = play(lookups, kills, storm, began + (int64_t)(seconds * 1e9));
        const struct tally *t = sum();
        if (!what)
                what = verdict(t);
        printf("readers=%u storm=%d seconds=%.1f lookups=%lu torn=%lu give_ups=%lu lost=%lu backwards=%lu "
               "mixed=%lu "
               "ghosts=%lu damaged=%lu commits=%lu aborts=%lu writers=%lu pages=%lu..%lu\n",
               n_readers, storm, (double)(clock_ns() - began) / 1e9, t->lookups, t->torn, t->give_ups,
               t->lost, t->backwards, t->mixed, t->ghosts, t->damaged, shared->commits, shared->aborts,
               shared->rises, shared->pages_fewest, shared->pages_most);
        remove_store();
        if (what)
                printf("walk_storm: FAILED %s\n", what);
        else
                printf("walk_storm: ok\n");
        return what ? 1 : 0;
}
