/* core.h -- the daemon without its sockets: clusters, store, and what one turn of the loop does to them.
 * Owns every write to the store.  Clock, requests and the way to ask the prober are passed in. */
#ifndef PINROUTED_CORE_H
#define PINROUTED_CORE_H

#include "daemon/cluster.h"
#include "daemon/conf.h"
#include "daemon/counts.h"
#include "daemon/history.h"
#include "daemon/issuer.h"
#include "daemon/news.h"
#include "daemon/store.h"
#include "proto/wire.h"

#define CORE_HEARTBEAT_MS 100
#define CORE_STALL_MS     50 /* a stub's default timeout: requests may have been given up on meanwhile */

/* One table makes counter, name and `show stats`. */
#define CORE_STATS(X)                                                                                        \
        X(hellos, "processes that attached")                                                                 \
        X(records, "writes recorded")                                                                        \
        X(holds, "holds recorded")                                                                           \
        X(tokens, "tokens that pinned a key")                                                                \
        X(floored_records, "records kept as a floor, not as a pin of their own")                             \
        X(floored_holds, "holds among them")                                                                 \
        X(floored_tokens, "tokens among them")                                                               \
        X(refused, "requests answered with a status other than OK")                                          \
        X(commits, "LMDB transactions committed")                                                            \
        X(stalls, "times that the loop stood still")                                                         \
        X(longest_turn_us, "longest turn of the loop since the start, in microseconds")                      \
        X(stores_replaced, "new stores put in the place of one that was lost or unusable")                   \
        X(reloads, "configs taken into force")                                                               \
        X(reloads_failed, "configs refused at reload")                                                       \
        X(accepted, "connections accepted")                                                                  \
        X(closed_garbage, "connections closed for a malformed frame")                                        \
        X(closed_slow, "connections closed because the client did not read its answer")                      \
        X(closed_idle, "idle connections closed to make room for new ones")                                  \
        X(closed_in_turn, "busy connections closed to give others their turn")                               \
        X(accept_failures, "times that no connection could be accepted")                                     \
        X(counts_refused, "processes that got no memory to count their decisions in")                        \
        X(prober_starts, "times that the prober was started")

struct core_stats {
#define CORE_STAT_FIELD(name, text) uint64_t name;
        CORE_STATS(CORE_STAT_FIELD)
#undef CORE_STAT_FIELD
};

/* A worker's request of this turn and its answer. */
struct core_item {
        struct pnr_request request;
        const uint64_t (*keys)[2]; /* RECORDS: request.n of them, whoever's they are */
        struct pnr_reply reply;
        bool answered; /* committed: the reply may be sent.  If not, the connection is to be closed */
        struct cluster *cluster; /* whose pins were merged; NULL: no pins were */
        struct mono until;       /* their deadline */
        bool covered;            /* a token's write was pinned already: nothing was merged */
};

struct core {
        const struct conf *conf;
        struct store *store;
        struct counts *counts;                     /* main.c's; NULL: no process is handed memory */
        struct cluster *cluster[PNR_CLUSTERS_MAX]; /* by the store's number */
        unsigned n_clusters;
        uint64_t epoch, cursor;
        struct issuer issuer;
        uint64_t stamp; /* of the writes of this turn */
        uint8_t boot_id[16];
        gid_t group;
        struct mono started, last_turn, heartbeat_due, complain_due;
        struct mono beat;         /* the newest heartbeat that stubs can see; 0: none */
        int64_t started_wall_ms;  /* since 1970, when `started` was */
        struct mono silent_until; /* an old store could not be retired: acknowledge nothing before this */
        int64_t suspended_ms;
        bool header_dirty, endpoints_dirty, admin_dirty;
        bool table_full;     /* a batch met a full table, and it still is */
        bool reload_refused; /* the last one, so that an older config is in force */
        struct core_stats stats;
        struct news *news;
        struct history history;
};

/* Opens the store and commits the first state.  Returns false after logging why. */
bool core_init(struct core *core, const struct conf *conf, gid_t group, struct mono now);
void core_fini(struct core *core);

/* Takes a new config into force: clusters and nodes are matched by name. */
void core_configure(struct core *core, const struct conf *conf, struct mono now);

/* One turn: what `n` requests want, what time brings about, one commit. */
void core_turn(struct core *core, struct core_item *items, unsigned n, cluster_ask_fn *ask, void *arg,
               struct mono now);

/* When the next turn is due if nothing else happens. */
struct mono core_next_due(const struct core *core, struct mono now);

static inline bool core_is_silent(const struct core *core, struct mono now)
{
        return !mono_reached(now, core->silent_until);
}

/* Does it acknowledge writes now? */
static inline bool core_serves(const struct core *core, struct mono now)
{
        return core->store && !core_is_silent(core, now);
}

struct cluster *core_find_cluster(const struct core *core, const char *name); /* NULL: none, or removed */

/* Applies requests at once, outside a turn: for the operator. */
void core_apply(struct core *core, struct core_item *items, unsigned n, struct mono now);

#endif
