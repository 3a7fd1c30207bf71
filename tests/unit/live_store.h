/* live_store.h -- a throw-away directory with a live store in it, written by the daemon's own functions.
 * For the stub's tests; plain C, so that scenario programs can use it, too. */
#ifndef LIVE_STORE_H
#define LIVE_STORE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/clock.h"
#include "daemon/store.h"
#include "proto/boot.h"

#define LIVE_MUST(what)                                                                                      \
        do {                                                                                                 \
                if (!(what)) {                                                                               \
                        fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #what, store_error());       \
                        exit(1);                                                                             \
                }                                                                                            \
        } while (0)

/* Cluster 0 "main": primary "default", replicas "shadow-1" and "shadow-2" in turn; cluster 1 "other": no
 * replica. */
struct live {
        char dir[64];
        struct store *store;
        struct pnr_header header;
        struct pnr_cluster cluster[2];
};

static inline int64_t live_now(void) { return clock_ns() / CLOCK_NS_PER_MS; }

static inline void live_put(struct live *l)
{
        LIVE_MUST(store_put_header(l->store, &l->header) == STORE_OK);
        for (unsigned i = 0; i < 2; i++)
                LIVE_MUST(store_put_cluster(l->store, i, &l->cluster[i]) == STORE_OK);
}

/* Commits header and clusters as they stand in *l. */
static inline void live_commit(struct live *l)
{
        LIVE_MUST(store_begin(l->store) == STORE_OK);
        live_put(l);
        LIVE_MUST(store_commit(l->store) == STORE_OK);
}

/* The same with a heartbeat, and all caught-up generations stamped, at now + ahead_ms. */
static inline void live_beat(struct live *l, int64_t ahead_ms)
{
        l->header.heartbeat_ms = live_now() + ahead_ms;
        for (unsigned i = 0; i < 3; i++)
                l->cluster[0].node[i].stamp_ms = l->header.heartbeat_ms;
        live_commit(l);
}

/* A store in l->dir, in place of whatever is there. */
static inline void live_open(struct live *l)
{
        struct store_want want = {.dir = l->dir,
                                  .max_pins = 10000,
                                  .group = (gid_t)-1,
                                  .now = {live_now()},
                                  .stale_after_ms = 1000,
                                  .stale_limit_ms = 60000,
                                  .fresh = true};
        struct store_found found;
        LIVE_MUST(pnr_boot_id(want.boot_id));
        LIVE_MUST(store_open(&l->store, &want, &found) == STORE_OK);
        free(found.cluster);
        l->header.file_ino = store_ino(l->store);
        memcpy(l->header.seed, store_seed(l->store), sizeof l->header.seed);
}

static inline void live_init(struct live *l)
{
        *l = (struct live){.header = {.magic = PNR_MAGIC,
                                      .layout = PNR_LAYOUT,
                                      .oldest_reader = PNR_OLDEST_READER,
                                      .oldest_writer = PNR_OLDEST_WRITER,
                                      .epoch = 77,
                                      .state = PNR_LIVE,
                                      .n_clusters = 2,
                                      .stale_after_ms = 1000,
                                      .stale_limit_ms = 60000}};
        strcpy(l->dir, "/dev/shm/pnr-stub-XXXXXX");
        LIVE_MUST(mkdtemp(l->dir));
        LIVE_MUST(pnr_boot_id(l->header.boot_id));
        struct pnr_cluster *c = l->cluster;
        c[0] =
            (struct pnr_cluster){.name = "main",
                                 .open_generation = 9,
                                 .trust_ms = 250,
                                 .pin_ms = 15000,
                                 .max_pin_ms = 300000,
                                 .n_nodes = 3,
                                 .n_schedule = 2,
                                 .scheduled = 6,
                                 .schedule = {1, 2},
                                 .node = {{.name = "default"}, {.name = "shadow-1"}, {.name = "shadow-2"}}};
        c[1] = (struct pnr_cluster){.name = "other", .n_nodes = 1, .node = {{.name = "only"}}};
        live_open(l);
        live_beat(l, 0);
}

/* Merges a pin of the key in that cluster, for ms from now. */
static inline void live_pin_in(struct live *l, unsigned cluster, const void *key, size_t len, int64_t ms)
{
        struct mono now = {live_now()};
        struct pin pin = {.generation = 1, .until_ms = now.ms + ms, .cluster = cluster};
        struct pnr_slot slot = pnr_slot_of(pnr_key_of(key, len), cluster, store_spread(l->store));
        LIVE_MUST(store_begin(l->store) == STORE_OK);
        LIVE_MUST(store_merge_pin(l->store, slot, &pin, now, NULL) == STORE_OK);
        LIVE_MUST(store_commit(l->store) == STORE_OK);
}

/* Merges a pin of cluster 0 that carries `generation`, for ms from now, held for hold_ms, with a stamp. */
static inline void live_pin_stamped(struct live *l, const void *key, size_t len, uint64_t generation,
                                    int64_t ms, int64_t hold_ms, uint64_t stamp)
{
        int64_t now_ms = live_now();
        struct mono made = {ms > 0 ? now_ms : now_ms + ms - 1}; /* before it was over */
        struct pnr_slot slot = pnr_slot_of(pnr_key_of(key, len), 0, store_spread(l->store));
        struct pin pin = {.generation = generation,
                          .until_ms = now_ms + ms,
                          .hold_ms = hold_ms ? now_ms + hold_ms : 0,
                          .stamp = stamp};
        LIVE_MUST(store_begin(l->store) == STORE_OK);
        LIVE_MUST(store_merge_pin(l->store, slot, &pin, made, NULL) == STORE_OK);
        LIVE_MUST(store_commit(l->store) == STORE_OK);
}

static inline void live_pin(struct live *l, const void *key, size_t len, uint64_t generation, int64_t ms,
                            int64_t hold_ms)
{
        live_pin_stamped(l, key, len, generation, ms, hold_ms, 0);
}

#define LIVE_ISSUER 0xabcdef /* of the stamps of a daemon that never ran */

/* What tokens are signed with: n keys, made from the bytes first, first + 1, ... */
static inline struct pnr_token_keys live_keys(struct live *l, uint8_t first, uint32_t n)
{
        struct pnr_token_keys keys = {.n = n, .issuer = LIVE_ISSUER};
        for (uint32_t i = 0; i < n; i++)
                memset(keys.key[i], first + (int)i, sizeof keys.key[i]);
        LIVE_MUST(store_begin(l->store) == STORE_OK);
        LIVE_MUST(store_put_tokens(l->store, &keys) == STORE_OK);
        LIVE_MUST(store_commit(l->store) == STORE_OK);
        return keys;
}

static inline void live_fini(struct live *l)
{
        static const char *const names[] = {"new/data.mdb", "new/lock.mdb",   "new", "data.mdb",
                                            "lock.mdb",     "pinrouted.sock", ""};
        store_close(&l->store);
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
                char path[128];
                snprintf(path, sizeof path, "%s/%s", l->dir, names[i]);
                remove(path);
        }
}

#endif
