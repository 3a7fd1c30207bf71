/* kept.c -- a store with many pins, kept by a process of its own: filled and kept alive when it is told to.
 * Goes through daemon/store.c, as the daemon does. */
#include "bench/kept.h"

#include <sys/stat.h>

#include "bench/bench.h"
#include "daemon/store.h"
#include "proto/boot.h"

#define BATCH      64
#define FOREVER_MS (30ll * 24 * 3600 * 1000) /* well within what a page of pins reaches to */

static struct pnr_header header = {.magic = PNR_MAGIC,
                                   .layout = PNR_LAYOUT,
                                   .oldest_reader = PNR_OLDEST_READER,
                                   .oldest_writer = PNR_OLDEST_WRITER,
                                   .epoch = 1,
                                   .state = PNR_LIVE,
                                   .n_clusters = 1,
                                   .stale_after_ms = 60000,
                                   .stale_limit_ms = 60000};
static const struct pnr_cluster main_cluster = {
    .name = "main",
    .open_generation = 2,
    .trust_ms = 250,
    .n_nodes = 3,
    .n_schedule = 2,
    .scheduled = 6,
    .schedule = {1, 2},
    .node = {{.name = "default"}, {.name = "shadow-1"}, {.name = "shadow-2"}}};

static struct store *store;

#define STORE_MUST(what)                                                                                     \
        do {                                                                                                 \
                if ((what) != STORE_OK) {                                                                    \
                        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, store_error());        \
                        _exit(1);                                                                            \
                }                                                                                            \
        } while (0)

uint64_t kept_bytes(uint64_t max_pins) { return store_map_size(max_pins); }

static void commit(void)
{
        header.heartbeat_ms = clock_ns() / CLOCK_NS_PER_MS;
        STORE_MUST(store_put_header(store, &header));
        STORE_MUST(store_commit(store));
}

static void open_store(const char *dir, uint64_t max_pins)
{
        struct store_want want = {.dir = dir, .max_pins = max_pins, .group = (gid_t)-1, .fresh = true};
        struct store_found found;
        BENCH_MUST(pnr_boot_id(want.boot_id));
        STORE_MUST(store_open(&store, &want, &found));
        memcpy(header.boot_id, want.boot_id, sizeof header.boot_id);
        memcpy(header.seed, store_seed(store), sizeof header.seed);
        header.file_ino = store_ino(store);
        STORE_MUST(store_begin(store));
        STORE_MUST(store_put_cluster(store, 0, &main_cluster));
        commit();
}

static void fill(uint64_t from, uint64_t to)
{
        const struct mono now = {clock_ns() / CLOCK_NS_PER_MS};
        for (uint64_t i = from; i < to;) {
                STORE_MUST(store_begin(store));
                for (uint64_t end = i + BATCH < to ? i + BATCH : to; i < end; i++) {
                        struct bench_key k = bench_key(i);
                        struct pnr_slot slot = pnr_slot_of(pnr_key_of(&k, sizeof k), 0, store_spread(store));
                        struct pin pin = {.generation = 1, .until_ms = now.ms + FOREVER_MS};
                        STORE_MUST(store_merge_pin(store, slot, &pin, now, NULL));
                }
                commit();
        }
}

/* Answers each question when it is done, until nobody can ask any more. */
static void serve(int fd, const char *dir, uint64_t max_pins)
{
        uint64_t have = 0, want;
        open_store(dir, max_pins);
        (void)!write(fd, &have, sizeof have);
        while (read(fd, &want, sizeof want) == sizeof want) {
                fill(have, want);
                have = want > have ? want : have;
                STORE_MUST(store_begin(store));
                commit();
                (void)!write(fd, &have, sizeof have);
        }
        _exit(0);
}

void kept_start(struct kept *k, const char *dir, const char *name, uint64_t max_pins)
{
        int end[2];
        snprintf(k->dir, sizeof k->dir, "%s/%s", dir, name);
        BENCH_MUST(mkdir(k->dir, 0700) == 0);
        BENCH_MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end) == 0);
        if (bench_fork() == 0) {
                close(end[0]);
                serve(end[1], k->dir, max_pins);
        }
        close(end[1]);
        k->ask = end[0];
        fake_start(&k->fake, k->dir);
        kept_wait(k);
}

void kept_ask(struct kept *k, uint64_t pins) { BENCH_MUST(write(k->ask, &pins, sizeof pins) == sizeof pins); }

void kept_wait(struct kept *k)
{
        uint64_t have;
        BENCH_MUST(read(k->ask, &have, sizeof have) == sizeof have);
}
