/* bench_route.c -- what a decision costs, beside a bare look-up through liblmdb in the same run.
 * Rows on stdout: name, p50, p99, unit, ratio of p50s, against; of batches of 1,000 calls, each answer
 * checked. Rounds are interleaved (every row once per round), the first is dropped. */
#include <lmdb.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/pinroute.h"
#include "daemon/store.h"
#include "proto/boot.h"
#include "tests/unit/fake_daemon.h"

#define PINS    100000
#define ROUNDS  7
#define BATCHES 200 /* per row and round */
#define CALLS   1000
#define SAMPLES ((ROUNDS - 1) * BATCHES)
#define LONG_MS 1000000000ll

#define CHECK(what)                                                                                          \
        do {                                                                                                 \
                if (!(what)) {                                                                               \
                        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, store_error());        \
                        exit(1);                                                                             \
                }                                                                                            \
        } while (0)

static char dir[] = "/dev/shm/pinroute-bench-XXXXXX", raw_dir[64];
static struct store *store;
static struct pnr_header header = {.magic = PNR_MAGIC,
                                   .layout = PNR_LAYOUT,
                                   .oldest_reader = PNR_OLDEST_READER,
                                   .epoch = 1,
                                   .state = PNR_LIVE,
                                   .n_clusters = 1,
                                   .stale_after_ms = 60000,
                                   .stale_limit_ms = 60000};
static MDB_env *env;
static MDB_dbi dbi;
static MDB_txn *reader;
static struct pinroute *pr;
static unsigned cluster;
static struct pinroute_scope scope;

static uint64_t state = 88172645463325252ull;
static uint64_t chance(void) /* xorshift64, Marsaglia 2003 */
{
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
}

struct key {
        uint64_t w[4]; /* 32 bytes, like a session id */
};

static struct key key_number(uint64_t i)
{
        return (struct key){{i * 0x9e3779b97f4a7c15ull, ~i, i ^ 0x5555, i}};
}

/* ---- the two stores: the same keys pinned in ours and put into a plain LMDB environment ---- */

static void begin(void) { CHECK(store_begin(store) == STORE_OK); }

static void commit(void)
{
        header.heartbeat_ms = clock_ns() / CLOCK_NS_PER_MS;
        CHECK(store_put_header(store, &header) == STORE_OK && store_commit(store) == STORE_OK);
}

static void open_store(void)
{
        static struct pnr_cluster main_cluster = {
            .name = "main",
            .open_generation = 2,
            .trust_ms = 250,
            .n_nodes = 3,
            .n_schedule = 2,
            .scheduled = 6,
            .schedule = {1, 2},
            .node = {{.name = "default"}, {.name = "shadow-1"}, {.name = "shadow-2"}}};
        struct store_want want = {.dir = dir, .max_pins = 2 * PINS, .group = (gid_t)-1, .fresh = true};
        struct store_found found;
        CHECK(pnr_boot_id(want.boot_id));
        CHECK(store_open(&store, &want, &found) == STORE_OK);
        memcpy(header.boot_id, want.boot_id, sizeof header.boot_id);
        memcpy(header.seed, store_seed(store), sizeof header.seed);
        header.file_ino = store_ino(store);
        begin();
        CHECK(store_put_cluster(store, 0, &main_cluster) == STORE_OK);
        commit();
}

static void fill_store(void)
{
        for (uint64_t i = 0; i < PINS;) {
                begin();
                for (uint64_t end = i + 64; i < end; i++) {
                        struct key k = key_number(i);
                        struct pnr_slot slot = pnr_slot_of(pnr_key_of(&k, sizeof k), 0, header.seed);
                        struct pnr_pin pin = {slot.ident, 1, LONG_MS * 1000, 0, 0};
                        CHECK(store_merge_pin(store, slot, &pin, (struct mono){0}, NULL) == STORE_OK);
                }
                commit();
        }
}

static void fill_raw(void)
{
        MDB_txn *txn;
        snprintf(raw_dir, sizeof raw_dir, "%s/raw", dir);
        CHECK(!mkdir(raw_dir, 0700) && !mdb_env_create(&env) && !mdb_env_set_mapsize(env, 1u << 30));
        CHECK(!mdb_env_open(env, raw_dir, MDB_NOSYNC | MDB_NOTLS, 0600));
        CHECK(!mdb_txn_begin(env, NULL, 0, &txn) && !mdb_dbi_open(txn, NULL, 0, &dbi));
        for (uint64_t i = 0; i < PINS; i++) {
                struct key k = key_number(i);
                struct pnr_key id = pnr_key_of(&k, sizeof k);
                MDB_val mk = {sizeof id, &id}, mv = {sizeof k, &k};
                CHECK(!mdb_put(txn, dbi, &mk, &mv, 0));
        }
        CHECK(!mdb_txn_commit(txn) && !mdb_txn_begin(env, NULL, MDB_RDONLY, &reader));
        mdb_txn_reset(reader);
}

/* ---- the rows: CALLS calls each, false if any answer is not the one expected ---- */

static bool raw_lmdb(void)
{
        bool right = true;
        for (unsigned i = 0; i < CALLS; i++) {
                uint64_t id[2] = {chance(), chance()};
                MDB_val mk = {sizeof id, id}, mv;
                right &= mdb_txn_renew(reader) == 0 && mdb_get(reader, dbi, &mk, &mv) == MDB_NOTFOUND;
                mdb_txn_reset(reader);
        }
        return right;
}

static bool route(uint64_t first, uint64_t range, unsigned reason)
{
        bool right = true;
        for (unsigned i = 0; i < CALLS; i++) {
                struct pinroute_decision d;
                struct key k = key_number(first + chance() % range);
                right &=
                    pinroute_route_read(pr, cluster, &k, sizeof k, &d) == PINROUTE_OK && d.reason == reason;
        }
        return right;
}

static bool route_unpinned(void) { return route(1ull << 40, 1ull << 40, PINROUTE_BALANCED); }
static bool route_pinned(void) { return route(0, PINS, PINROUTE_PINNED); }

static bool route_unkeyed(void)
{
        bool right = true;
        for (unsigned i = 0; i < CALLS; i++) {
                struct pinroute_decision d;
                right &= pinroute_route_read(pr, cluster, NULL, 0, &d) == PINROUTE_OK &&
                         d.reason == PINROUTE_BALANCED;
        }
        return right;
}

static bool scope_repeat(void)
{
        bool right = true;
        for (unsigned i = 0; i < CALLS; i++) {
                struct pinroute_decision d;
                right &= pinroute_scope_read(&scope, &d) == PINROUTE_OK && d.reason == PINROUTE_BALANCED;
        }
        return right;
}

static struct row {
        const char *name;
        bool (*run)(void);
        double ns[SAMPLES]; /* per call, of each batch */
} rows[] = {
    {"raw_lmdb_100k", raw_lmdb, {0}},
    {"route_unkeyed", route_unkeyed, {0}},
    {"route_unpinned_100k", route_unpinned, {0}},
    {"route_pinned_100k", route_pinned, {0}},
    {"scope_repeat", scope_repeat, {0}},
};
#define N_ROWS (sizeof rows / sizeof *rows)

static void run_round(int round)
{
        for (struct row *r = rows; r < rows + N_ROWS; r++) {
                begin(); /* a heartbeat, so that the store is live */
                commit();
                for (int i = 0; i < BATCHES; i++) {
                        int64_t from = clock_ns();
                        bool right = r->run();
                        int64_t took = clock_ns() - from;
                        CHECK(right);
                        if (round > 0)
                                r->ns[(round - 1) * BATCHES + i] = (double)took / CALLS;
                }
        }
}

static int ascending(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;
        return (x > y) - (x < y);
}

static void print_rows(void)
{
        for (struct row *r = rows; r < rows + N_ROWS; r++)
                qsort(r->ns, SAMPLES, sizeof *r->ns, ascending);
        for (struct row *r = rows; r < rows + N_ROWS; r++) {
                double p50 = r->ns[SAMPLES / 2], p99 = r->ns[SAMPLES * 99 / 100];
                if (r == rows)
                        printf("%s\t%.1f\t%.1f\tns\t-\t-\n", r->name, p50, p99);
                else
                        printf("%s\t%.1f\t%.1f\tns\t%.3f\t%s\n", r->name, p50, p99,
                               p50 / rows[0].ns[SAMPLES / 2], rows[0].name);
        }
}

static void clean_up(void)
{
        static const char *const names[] = {"raw/data.mdb", "raw/lock.mdb", "raw",
                                            "data.mdb",     "lock.mdb",     ""};
        pinroute_close(&pr);
        mdb_txn_abort(reader);
        mdb_env_close(env);
        store_close(&store);
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
                char path[128];
                snprintf(path, sizeof path, "%s/%s", dir, names[i]);
                CHECK(!remove(path));
        }
}

int main(void)
{
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &one);
        sched_setaffinity(0, sizeof one, &one);
        CHECK(mkdtemp(dir));
        struct fake fake = {0}; /* tells its clock */
        fake_start(&fake, dir);
        open_store();
        fill_store();
        fill_raw();
        struct key nobody = key_number(1ull << 50);
        CHECK(pinroute_open(&pr, dir) == PINROUTE_OK &&
              pinroute_cluster(pr, "main", &cluster) == PINROUTE_OK);
        pinroute_scope_begin(&scope, pr, cluster, &nobody, sizeof nobody);
        for (int round = 0; round < ROUNDS; round++) {
                fprintf(stderr, "round %d of %d\r", round + 1, ROUNDS);
                run_round(round);
        }
        fprintf(stderr, "                \r");
        print_rows();
        fake_fini(&fake);
        clean_up();
        return 0;
}
