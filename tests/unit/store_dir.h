/* store_dir.h -- a throw-away directory with a store in it, for the tests of image, survey, store and table.
 */
#ifndef STORE_DIR_H
#define STORE_DIR_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/store.h"

#define MUST_OK(call) cr_assert_eq((call), STORE_OK, #call ": %s", store_error())

static char store_dir[64];
static const struct mono T0 = {1000000};

static inline const char *in_dir(const char *name)
{
        static char path[4][128];
        static unsigned turn;
        char *p = path[turn++ % 4];
        snprintf(p, sizeof path[0], "%s/%s", store_dir, name);
        return p;
}

static inline void make_dir(void)
{
        snprintf(store_dir, sizeof store_dir, "/dev/shm/pnr-store-XXXXXX");
        cr_assert_not_null(mkdtemp(store_dir));
}

static inline void remove_dir(void)
{
        static const char *const names[] = {"new/data.mdb", "new/lock.mdb", "data.mdb",
                                            "lock.mdb",     "copy",         "aside"};
        for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
                unlink(in_dir(names[i]));
        rmdir(in_dir("new"));
        rmdir(store_dir);
}

static inline struct store_want want_of(uint64_t max_pins)
{
        struct store_want want = {.dir = store_dir,
                                  .max_pins = max_pins,
                                  .group = (gid_t)-1,
                                  .now = T0,
                                  .stale_after_ms = 1000,
                                  .stale_limit_ms = 60000};
        memset(want.boot_id, 0xb0, sizeof want.boot_id);
        return want;
}

static inline struct store *open_store(const struct store_want *want, struct store_found *found)
{
        struct store *s;
        struct store_found own;
        int rc = store_open(&s, want, found ? found : &own);
        cr_assert_eq(rc, STORE_OK, "store_open: %s", store_error());
        if (!found)
                free(own.cluster);
        return s;
}

static inline struct pnr_header header_of(const struct store *s, unsigned n_clusters)
{
        struct pnr_header h = {.magic = PNR_MAGIC,
                               .layout = PNR_LAYOUT,
                               .oldest_reader = PNR_OLDEST_READER,
                               .oldest_writer = PNR_OLDEST_WRITER,
                               .epoch = 77,
                               .file_ino = store_ino(s),
                               .heartbeat_ms = T0.ms,
                               .state = PNR_LIVE,
                               .n_clusters = n_clusters,
                               .stale_after_ms = 1000,
                               .stale_limit_ms = 60000,
                               .cursor = 42};
        memset(h.boot_id, 0xb0, sizeof h.boot_id);
        memcpy(h.seed, store_seed(s), sizeof h.seed);
        return h;
}

static inline struct pnr_cluster cluster_of(const char *name)
{
        struct pnr_cluster c = {
            .open_generation = 9, .n_nodes = 2, .n_schedule = 1, .scheduled = 2, .schedule = {1}};
        snprintf(c.name, sizeof c.name, "%s", name);
        snprintf(c.node[0].name, sizeof c.node[0].name, "default");
        snprintf(c.node[1].name, sizeof c.node[1].name, "shadow-1");
        return c;
}

static inline struct pnr_token_keys keys_of(uint8_t byte)
{
        struct pnr_token_keys keys = {.n = 1};
        memset(keys.key[0], byte, sizeof keys.key[0]);
        return keys;
}

/* A header and two clusters, as the daemon's first commit writes them. */
static inline void put_state(struct store *s)
{
        struct pnr_header h = header_of(s, 2);
        struct pnr_cluster a = cluster_of("main"), b = cluster_of("other");
        struct pnr_endpoint e = {"host=10.0.0.1 dbname=app"};
        b.floor_generation = 12;
        MUST_OK(store_begin(s));
        MUST_OK(store_put_header(s, &h));
        MUST_OK(store_put_cluster(s, 0, &a));
        MUST_OK(store_put_cluster(s, 1, &b));
        MUST_OK(store_put_endpoint(s, 0, 1, &e));
        MUST_OK(store_put_admin(s, 1, 31, 3));
        MUST_OK(store_commit(s));
}

static inline struct pnr_slot slot_of(const struct store *s, uint64_t number, unsigned cluster)
{
        return pnr_slot_of(pnr_key_of(&number, sizeof number), cluster, store_spread(s));
}

/* Records pins first..first+n-1 of cluster 0, `batch` in a transaction. */
static inline void put_pins(struct store *s, uint64_t first, uint64_t n, unsigned batch, struct mono now,
                            int64_t ms)
{
        for (uint64_t i = 0; i < n;) {
                MUST_OK(store_begin(s));
                for (unsigned j = 0; j < batch && i < n; j++, i++) {
                        struct pin pin = {.generation = first + i + 1, .until_ms = now.ms + ms};
                        int rc = store_merge_pin(s, slot_of(s, first + i, 0), &pin, now, NULL);
                        cr_assert_eq(rc, STORE_OK, "pin %lu: %s", (unsigned long)(first + i), store_error());
                }
                MUST_OK(store_commit(s));
        }
}

static inline struct store_count count_of(struct store *s)
{
        struct store_count c;
        store_count(s, &c);
        return c;
}

static inline void scribble(const char *path, off_t at, const void *bytes, size_t n)
{
        int fd = open(path, O_WRONLY);
        cr_assert(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
        close(fd);
}

static inline void copy_file(const char *from, const char *to, size_t n)
{
        int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0640);
        static char buf[1 << 16];
        for (ssize_t got; n > 0 && (got = read(in, buf, n < sizeof buf ? n : sizeof buf)) > 0;
             n -= (size_t)got)
                cr_assert_eq(write(out, buf, (size_t)got), got);
        close(in);
        close(out);
}

#endif
