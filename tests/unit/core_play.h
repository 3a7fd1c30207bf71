/* core_play.h -- a core with a real store in a throw-away directory, looked at as a stub does.
 * Time begins now and is then turned by hand. */
#ifndef CORE_PLAY_H
#define CORE_PLAY_H

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/choose.h"
#include "client/view.h"
#include "daemon/clock.h"
#include "daemon/core.h"
#include "tests/unit/cluster_play.h"

static char core_dir[64];
static struct conf core_conf;
static struct cluster_conf core_cluster_conf[3];
static struct core core;
static struct mono core_now;

static inline const char *in_core_dir(const char *name)
{
        static char path[4][128];
        static unsigned turn;
        char *p = path[turn++ % 4];
        snprintf(p, sizeof path[0], "%s/%s", core_dir, name);
        return p;
}

/* Without the wait for stubs of an earlier store: there was none. */
static inline void core_start(void)
{
        cr_assert(core_init(&core, &core_conf, (gid_t)-1, core_now), "%s", store_error());
        if (!core_is_silent(&core, core_now))
                return;
        core.silent_until = (struct mono){0};
        core.heartbeat_due = core_now;
        core_turn(&core, NULL, 0, NULL, NULL, core_now);
}

static inline void core_open(void)
{
        log_init("test");
        log_set_level(0);
        strcpy(core_dir, "/dev/shm/pnr-core-XXXXXX");
        cr_assert_not_null(mkdtemp(core_dir));
        core_now = clock_mono();
        core_cluster_conf[0] = play_conf("main", 2);
        core_cluster_conf[1] = play_conf("other", 1);
        core_cluster_conf[2] = play_conf("third", 1);
        core_conf = (struct conf){.max_pins = 1000,
                                  .max_clients = 64,
                                  .stale_after_ms = 1000,
                                  .stale_limit_ms = 60000,
                                  .n_clusters = 2,
                                  .cluster = core_cluster_conf};
        snprintf(core_conf.dir, sizeof core_conf.dir, "%s", core_dir);
        core_start();
}

static inline void core_close(void)
{
        static const char *const names[] = {"new/data.mdb", "new/lock.mdb", "new",
                                            "data.mdb",     "lock.mdb",     "aside",
                                            "aside.lock",   "ctl.sock",     "pinrouted.sock"};
        if (core.n_clusters)
                core_fini(&core);
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
                remove(in_core_dir(names[i]));
        rmdir(core_dir);
}

static inline void core_unlink(void) { cr_assert_eq(unlink(in_core_dir("data.mdb")), 0); }

static inline void core_restart(void)
{
        core_fini(&core);
        core_now.ms += 10;
        core_start();
}

/* ---- requests ---- */

static inline struct core_item core_item(enum pnr_op op, const char *cluster, uint64_t key, uint32_t ms)
{
        struct core_item it = {.request = {.magic = PNR_WIRE_MAGIC,
                                           .version = PNR_WIRE_VERSION,
                                           .op = (uint16_t)op,
                                           .number = key + 100,
                                           .key = {key, ~key},
                                           .ms = ms}};
        snprintf(it.request.cluster, sizeof it.request.cluster, "%s", cluster);
        return it;
}

/* Keys `first` and on; as core_pin() looks for them. */
static inline struct core_item core_item_many(const char *cluster, uint64_t first, unsigned n, uint32_t ms)
{
        static uint64_t keys[8][PNR_RECORDS_MAX][2]; /* the last few's */
        static unsigned turn;
        uint64_t(*k)[2] = keys[turn++ % 8];
        struct core_item it = core_item(PNR_OP_RECORDS, cluster, first, ms);
        it.request.key[0] = it.request.key[1] = 0;
        it.request.n = n;
        for (unsigned i = 0; i < n; i++) {
                k[i][0] = first + i;
                k[i][1] = ~k[i][0];
        }
        it.keys = (const uint64_t(*)[2])k;
        return it;
}

/* One turn with these requests, `ms` later. */
static inline void core_step(struct core_item *items, unsigned n, int64_t ms)
{
        core_now.ms += ms;
        core_turn(&core, items, n, NULL, NULL, core_now);
}

static inline struct pnr_reply core_ask(enum pnr_op op, const char *cluster, uint64_t key, uint32_t ms)
{
        struct core_item it = core_item(op, cluster, key, ms);
        core_step(&it, 1, 1);
        cr_assert(it.answered);
        cr_assert_eq(it.reply.magic, PNR_WIRE_MAGIC);
        cr_assert_eq(it.reply.op, op);
        cr_assert_eq(it.reply.number, key + 100);
        return it.reply;
}

static inline struct pnr_reply core_record(uint64_t key, uint32_t ms)
{
        return core_ask(PNR_OP_RECORD, "main", key, ms);
}

/* The pin as the store holds it; absent: until_ms is 0. */
static inline struct pin core_pin(const char *cluster, uint64_t key)
{
        struct pin pin = {0};
        const struct cluster *c = core_find_cluster(&core, cluster);
        cr_assert_not_null(c);
        struct pnr_slot slot =
            pnr_slot_of((struct pnr_key){{key, ~key}}, c->number, store_spread(core.store));
        if (store_get_pin(core.store, slot, &pin) != STORE_OK)
                pin = (struct pin){0};
        return pin;
}

/* Fills the table: max_pins is 1000. */
static inline unsigned core_fill(uint32_t ms)
{
        unsigned n = 0;
        while (!core.table_full) {
                cr_assert_lt(n, 2000);
                cr_assert_eq(core_record(1000 + n++, ms).status, PINROUTE_OK);
        }
        return n;
}

/* ---- a stub ---- */

struct core_look {
        enum view_status status; /* VIEW_UNUSABLE also when nothing can be opened */
        enum pinroute_reason reason;
        int64_t heartbeat_ms;
        uint64_t epoch;
        struct pnr_cluster cluster;
};

static inline struct core_look core_look_at(struct view *v, const char *cluster, uint64_t key)
{
        struct core_look look = {.status = VIEW_UNUSABLE};
        struct pnr_key hashed = {{key, ~key}};
        char name[PNR_NAME_SIZE] = "";
        snprintf(name, sizeof name, "%s", cluster);
        struct facts f = {.now = core_now};
        struct view_at at = {.number = 0};
        look.status = (enum view_status)view_facts(v, name, key ? &hashed : NULL, &f, &at);
        if (look.status == VIEW_OK) {
                look.reason = choose(&f).reason;
                memcpy(&look.cluster, f.cluster, sizeof look.cluster);
                look.heartbeat_ms = at.heartbeat_ms;
                look.epoch = at.epoch;
                cr_assert(view_holds(v, &at));
        }
        return look;
}

/* key 0: a read without a key */
static inline struct core_look core_look(const char *cluster, uint64_t key)
{
        struct view *v = NULL;
        struct core_look look = {.status = VIEW_UNUSABLE};
        if (view_open(&v, core_dir) == PINROUTE_OK) {
                look = core_look_at(v, cluster, key);
                view_close(&v);
        }
        return look;
}

/* ---- servers ---- */

static struct {
        uint64_t number[PNR_CLUSTERS_MAX][PNR_NODES_MAX];
        uint64_t position[PNR_NODES_MAX];
} core_servers;

static inline void core_on_ask(void *arg, unsigned cluster, unsigned slot, uint64_t number,
                               uint32_t timeout_ms)
{
        (void)arg, (void)timeout_ms;
        core_servers.number[cluster][slot] = number;
}

static inline void core_answer(void)
{
        for (unsigned c = 0; c < core.n_clusters; c++)
                for (unsigned i = 0; i < PNR_NODES_MAX; i++) {
                        struct prober_result r = {.kind = PROBER_ANSWER,
                                                  .number = core_servers.number[c][i],
                                                  .system_identifier = PLAY_SYSTEM,
                                                  .timeline = 1,
                                                  .in_recovery = i > 0,
                                                  .position = {1000 + core_servers.position[i]}};
                        core_servers.number[c][i] = 0;
                        if (r.number)
                                cluster_result(core.cluster[c], i, &r, core_now);
                }
}

/* Turns of 10 ms with servers that answer at once. */
static inline void core_play(int64_t ms)
{
        for (; ms > 0; ms -= STEP_MS) {
                core_now.ms += STEP_MS;
                core_turn(&core, NULL, 0, core_on_ask, NULL, core_now);
                core_answer();
        }
}

/* After core_open(): all nodes up, the floor of the start over on every replica, and published. */
static inline void core_up(void)
{
        core_play(1000);
        cr_assert_eq(core_look("main", 0).reason, PINROUTE_BALANCED);
        cr_assert_eq(core_look("main", 1).reason, PINROUTE_CAUGHT_UP);
}

#endif
