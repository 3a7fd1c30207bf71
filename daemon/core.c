/* core.c -- clusters and store, and one turn of the loop over both.
 * With request.c the only caller of the store's writing functions. */
#include "daemon/core.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "client/pinroute.h"
#include "daemon/clock.h"
#include "daemon/floor.h"
#include "daemon/log.h"
#include "daemon/request.h"
#include "daemon/rhythm.h"
#include "proto/boot.h"
#include "proto/counts.h"

#define COMPLAIN_MS 10000 /* between complaints that there is still no store */
#define SWEEP_BEATS 16    /* heartbeats in which any table is looked through, if little has expired */
#define SWEEP_LEAST 256   /* steps per heartbeat: 1 to 3 us for each page that is written anew */
#define SWEEP_MOST  512

#define say_store(level, ...) news_say(level, &(struct news_about){.kind = NEWS_STORE}, __VA_ARGS__)

/* ---- setting up ---- */

static uint64_t random_epoch(void)
{
        uint64_t epoch = 0;
        while (!epoch)
                randombytes_buf(&epoch, sizeof epoch);
        return epoch;
}

struct cluster *core_find_cluster(const struct core *core, const char *name)
{
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!core->cluster[i]->removed && !strcmp(core->cluster[i]->conf.name, name))
                        return core->cluster[i];
        return NULL;
}

/* A cluster's place in the store: its own from before, a new one, or that of a removed one whose pins have
 * run out. */
static struct cluster *place_cluster(struct core *core, const char *name, struct mono now)
{
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!strcmp(core->cluster[i]->conf.name, name))
                        return core->cluster[i];
        if (core->n_clusters < PNR_CLUSTERS_MAX) {
                struct cluster *c = calloc(1, sizeof *c);
                if (!c)
                        return NULL;
                c->number = core->n_clusters;
                c->primary = PNR_NO_NODE;
                c->removed = true;
                return core->cluster[core->n_clusters++] = c;
        }
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (core->cluster[i]->removed && !cluster_waits(core->cluster[i], now))
                        return core->cluster[i];
        return NULL;
}

struct names {
        char cluster[PNR_NAME_SIZE], node[PNR_NODES_MAX][PNR_NAME_SIZE];
};

static struct names names_of(const struct cluster *c)
{
        struct names n;
        memcpy(n.cluster, c->conf.name, sizeof n.cluster);
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                memcpy(n.node[i], c->node[i].conf.name, sizeof n.node[i]);
        return n;
}

/* What was decided for the node that had a slot before says nothing of the one that has it now. */
static void forget_others(struct core *core, const struct cluster *c, const struct names *were)
{
        bool renamed = strcmp(c->conf.name, were->cluster) != 0;
        for (unsigned i = 0; core->counts && i < PNR_NODES_MAX; i++)
                if (renamed || strcmp(c->node[i].conf.name, were->node[i]) != 0)
                        counts_forget(core->counts, c->number, i);
}

static void configure_cluster(struct core *core, const struct cluster_conf *conf, struct mono now)
{
        struct cluster *c = place_cluster(core, conf->name, now);
        if (!c) {
                log_error("cluster %s: no memory or no place: %u clusters, removed ones with live pins "
                          "included; restart to go on",
                          conf->name, core->n_clusters);
                return;
        }
        struct names were = names_of(c);
        if (c->removed)
                cluster_return(c, conf, now);
        else
                cluster_configure(c, conf, now);
        forget_others(core, c, &were);
}

void core_configure(struct core *core, const struct conf *conf, struct mono now)
{
        core->conf = conf;
        if (core->counts)
                counts_read(core->counts, core->n_clusters); /* for whom has its slot until now */
        issuer_configure(&core->issuer, &conf->token_keys);
        for (unsigned i = 0; i < core->n_clusters; i++) {
                bool kept = false;
                for (unsigned j = 0; j < conf->n_clusters; j++)
                        kept = kept || !strcmp(core->cluster[i]->conf.name, conf->cluster[j].name);
                if (!kept && !core->cluster[i]->removed)
                        cluster_remove(core->cluster[i]);
        }
        for (unsigned j = 0; j < conf->n_clusters; j++)
                configure_cluster(core, &conf->cluster[j], now);
        core->header_dirty = core->endpoints_dirty = core->admin_dirty = true;
}

/* Clusters of an earlier daemon's store keep their numbers there: its pins carry them. */
/* False: out of memory. */
static bool take_over(struct core *core, const struct conf *conf, const struct store_found *found,
                      struct mono now)
{
        for (unsigned i = 0; i < found->n_clusters && i < PNR_CLUSTERS_MAX; i++) {
                struct cluster *c = place_cluster(core, found->cluster[i].name, now);
                if (!c)
                        return false;
                memcpy(c->conf.name, found->cluster[i].name, sizeof c->conf.name);
                fence_init(&c->fence, found->max_generation);
                c->live_until = found->live_until[i];
                c->hold_until = found->hold_until[i];
        }
        core_configure(core, conf, now);
        bool just_now = mono_since(now, found->heartbeat) < conf->stale_limit_ms;
        for (unsigned i = 0; i < found->n_clusters && i < PNR_CLUSTERS_MAX; i++)
                if (!core->cluster[i]->removed) {
                        cluster_remember(core->cluster[i], &found->cluster[i], found->admin[i],
                                         found->live_until[i], found->hold_until[i], now);
                        if (just_now)
                                cluster_resume(core->cluster[i], &found->cluster[i], found->endpoint[i], now);
                } else { /* a reload may bring it back: it then owes what it owes now */
                        core->cluster[i]->floor_until.ms = found->cluster[i].floor_until_ms;
                        core->cluster[i]->floor_hold.ms = found->cluster[i].floor_hold_ms;
                        core->cluster[i]->conf.max_pin_seconds_ms = found->cluster[i].max_pin_ms;
                }
        for (unsigned i = 0; i < core->n_clusters; i++)
                fence_remember(&core->cluster[i]->fence, found->max_generation);
        bool full = core->n_clusters == PNR_CLUSTERS_MAX, all = true;
        for (unsigned j = 0; j < conf->n_clusters; j++)
                all = all && (full || core_find_cluster(core, conf->cluster[j].name));
        return all;
}

/* Somewhere a stub may still trust a file that lacks the pins which are recorded from here on. */
static void be_silent(struct core *core)
{
        int64_t ms = core->conf->stale_after_ms + CORE_HEARTBEAT_MS;
        core->silent_until = mono_later(core->silent_until, mono_plus(clock_mono(), ms));
        say_store(LOG_AT_INFO,
                  "a process may still trust an earlier store: no write is acknowledged for %" PRId64 " ms",
                  ms);
}

/* trusted: what lies in the store's place may be trusted by some stub, until it is retired. */
static int open_store(struct core *core, bool fresh, bool trusted, struct store_found *found, struct mono now)
{
        struct store_want want = {
            .dir = core->conf->dir,
            .max_pins = (uint64_t)core->conf->max_pins,
            .group = core->group,
            .now = now,
            .stale_after_ms = (uint32_t)core->conf->stale_after_ms,
            .stale_limit_ms = (uint32_t)core->conf->stale_limit_ms,
            .fresh = fresh,
        };
        memcpy(want.boot_id, core->boot_id, sizeof want.boot_id);
        memset(found, 0, sizeof *found);
        int rc = store_open(&core->store, &want, found);
        if (trusted && rc == STORE_OK && !found->old_retired)
                be_silent(core);
        return rc;
}

static void all_stood_still(struct core *core, const char *why, struct mono now)
{
        core->header_dirty = true; /* in one commit with what they owe now */
        for (unsigned i = 0; i < core->n_clusters; i++)
                cluster_stood_still(core->cluster[i], now, why);
}

/* Holds went with the pins that are lost: each cluster's latest takes the place of all. */
static void hold_floors(struct core *core, struct mono now)
{
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!mono_reached(now, core->cluster[i]->hold_until))
                        floor_hold_until(core->cluster[i], core->cluster[i]->hold_until);
}

/* None lasts longer than this. */
static void hold_all(struct core *core, struct mono now)
{
        for (unsigned i = 0; i < core->n_clusters; i++)
                cluster_hold(core->cluster[i], mono_plus(now, core->cluster[i]->conf.max_pin_seconds_ms));
        log_warning("nobody knows what was held in the earlier store: reads with a key go to the primary for "
                    "the max_pin_seconds of their cluster");
}

static const char *start_of(const struct store_found *found)
{
        if (found->holds_unknown)
                return "daemon started, and the earlier store could not be read";
        return found->reused ? "daemon started" : "daemon started with an empty store";
}

bool core_init(struct core *core, const struct conf *conf, gid_t group, struct mono now)
{
        memset(core, 0, sizeof *core);
        core->conf = conf;
        core->news = news_ours();
        core->group = group;
        core->epoch = random_epoch();
        core->started = core->last_turn = core->heartbeat_due = now;
        core->started_wall_ms = clock_ms(CLOCK_REALTIME);
        core->suspended_ms = clock_suspended_ms();
        if (!pnr_boot_id(core->boot_id)) {
                log_error("no boot id in /proc/sys/kernel/random: mount /proc");
                return false;
        }
        struct store_found found;
        if (open_store(core, false, true, &found, now) != STORE_OK) {
                log_error("store in %s: %s", conf->dir, store_error());
                return false;
        }
        if (!found.reused)
                say_store(LOG_AT_INFO, "new store in %s: %s", conf->dir, found.why_new);
        else if (found.layout == PNR_LAYOUT)
                say_store(LOG_AT_INFO, "going on with the store in %s", conf->dir);
        else
                say_store(LOG_AT_INFO, "going on with the store in %s, layout %u, this daemon writes %u",
                          conf->dir, found.layout, PNR_LAYOUT);
        core->cursor = found.cursor;
        issuer_init(&core->issuer, &found.tokens);
        if (!take_over(core, conf, &found, now)) {
                log_error("out of memory");
                free(found.cluster);
                return false;
        }
        if (found.holds_unknown)
                hold_all(core, now);
        if (!found.reused || found.holds_unknown)
                hold_floors(core, now);
        all_stood_still(core, start_of(&found), now);
        free(found.cluster);
        core_turn(core, NULL, 0, NULL, NULL, now);
        return core->store != NULL;
}

void core_fini(struct core *core)
{
        for (unsigned i = 0; i < core->n_clusters; i++)
                free(core->cluster[i]);
        if (core->store)
                store_close(&core->store);
        history_fini(&core->history);
        memset(core, 0, sizeof *core);
}

/* ---- the commit ---- */

static void put_header(struct core *core, struct mono now, int *rc)
{
        struct pnr_header h = {
            .magic = PNR_MAGIC,
            .layout = PNR_LAYOUT,
            .oldest_reader = PNR_OLDEST_READER,
            .oldest_writer = PNR_OLDEST_WRITER,
            .epoch = core->epoch,
            .file_ino = store_ino(core->store),
            .heartbeat_ms = core_is_silent(core, now) ? 0 : now.ms, /* so that the next daemon waits, too */
            .state = PNR_LIVE,
            .n_clusters = core->n_clusters,
            .stale_after_ms = (uint32_t)core->conf->stale_after_ms,
            .stale_limit_ms = (uint32_t)core->conf->stale_limit_ms,
            .cursor = core->cursor,
        };
        memcpy(h.boot_id, core->boot_id, sizeof h.boot_id);
        memcpy(h.seed, store_seed(core->store), sizeof h.seed);
        if (*rc == STORE_OK)
                *rc = store_put_header(core->store, &h);
}

static void put_endpoints(struct core *core, const struct cluster *c, int *rc)
{
        for (unsigned i = 0; i < PNR_NODES_MAX && *rc == STORE_OK; i++) {
                struct pnr_endpoint e = {{0}};
                if (!c->node[i].conf.name[0])
                        continue;
                memcpy(e.conninfo, c->node[i].conf.endpoint, sizeof e.conninfo);
                *rc = store_put_endpoint(core->store, c->number, i, &e);
        }
}

static void put_admin(struct core *core, const struct cluster *c, int *rc)
{
        for (unsigned i = 0; i < PNR_NODES_MAX && *rc == STORE_OK; i++)
                *rc = store_put_admin(core->store, c->number, i, (uint8_t)c->node[i].admin);
}

static void put_clusters(struct core *core, int *rc)
{
        for (unsigned i = 0; i < core->n_clusters; i++) {
                struct cluster *c = core->cluster[i];
                if (core->endpoints_dirty)
                        put_endpoints(core, c, rc);
                if (core->admin_dirty)
                        put_admin(core, c, rc);
                if (!(c->dirty || (core->header_dirty && c->older)) || *rc != STORE_OK)
                        continue;
                struct pnr_cluster record;
                cluster_publish(c, &record);
                *rc = store_put_cluster(core->store, c->number, &record);
        }
}

/* A turn stays short, however large the table. */
static unsigned sweep_pages(const struct core *core)
{
        struct store_count count;
        store_count(core->store, &count);
        uint64_t pages = count.pin_pages / SWEEP_BEATS;
        return pages < SWEEP_LEAST ? SWEEP_LEAST : pages > SWEEP_MOST ? SWEEP_MOST : (unsigned)pages;
}

/* Everything of this turn in one transaction.  On failure nothing of it has happened. */
static int commit(struct core *core, struct core_item *items, unsigned n, bool as_floor, bool sweep,
                  struct mono now)
{
        bool swept;
        int rc = store_begin(core->store);
        if (rc != STORE_OK)
                return rc;
        for (unsigned i = 0; i < n && rc == STORE_OK; i++)
                rc = request_apply(core, &items[i], as_floor, now);
        if (rc == STORE_OK && sweep)
                rc = store_sweep(core->store, now, sweep_pages(core), &swept);
        if (rc == STORE_OK && core->issuer.dirty)
                rc = store_put_tokens(core->store, &core->issuer.keys);
        put_clusters(core, &rc);
        if (core->header_dirty)
                put_header(core, now, &rc);
        if (rc == STORE_OK)
                rc = store_commit(core->store);
        else
                store_abort(core->store);
        if (rc != STORE_OK)
                for (unsigned i = 0; i < core->n_clusters; i++)
                        core->cluster[i]->dirty = true;
        return rc;
}

/* The store is lost or unusable: a new file, and a floor for every pin that was in the old one. */
static bool replace_store(struct core *core, const char *why, struct mono now)
{
        bool say = core->store || mono_reached(now, core->complain_due); /* not at each heartbeat */
        if (say)
                say_store(LOG_AT_ERROR, "store: %s: making a new one", why);
        bool retired = core->store && store_retire(core->store) == STORE_OK;
        if (core->store && !retired && !store_is_linked(core->store))
                be_silent(core); /* nobody can reach that file any more */
        if (core->store)
                store_close(&core->store);
        struct store_found found;
        int rc = open_store(core, true, !retired, &found, now);
        free(found.cluster);
        if (rc != STORE_OK) {
                if (say) {
                        log_error("no new store in %s: %s; trying again at each heartbeat", core->conf->dir,
                                  store_error());
                        core->complain_due = mono_plus(now, COMPLAIN_MS);
                }
                return false;
        }
        core->stats.stores_replaced++;
        core->header_dirty = core->endpoints_dirty = core->admin_dirty = core->issuer.dirty = true;
        hold_floors(core, now);
        all_stood_still(core, "store lost", now);
        return true;
}

static void say_table(struct core *core, bool full)
{
        if (full && !core->table_full)
                say_store(LOG_AT_WARNING,
                          "the pin table is full: writes are kept as a floor; raise max_pins (%" PRId64 ")",
                          core->conf->max_pins);
        else if (core->table_full && !full)
                say_store(LOG_AT_INFO, "the pin table has room again");
        core->table_full = full;
}

/* The batch as pins, again where one call or allocation failed; where the table takes no more, as a floor; where the
 * store fails, as a floor in a new one. */
static int commit_somehow(struct core *core, struct core_item *items, unsigned n, bool sweep, struct mono now)
{
        int rc = commit(core, items, n, false, sweep, now);
        if (rc == STORE_SYSTEM)
                rc = commit(core, items, n, false, sweep, now);
        if (rc == STORE_FULL) {
                say_table(core, true);
                rc = commit(core, items, n, true, false, now);
        }
        if (rc != STORE_OK && replace_store(core, store_error(), now))
                rc = commit(core, items, n, true, false, now);
        return rc;
}

static uint64_t *counter_of(struct core_stats *stats, unsigned op)
{
        return op == PNR_OP_HOLD ? &stats->holds : op == PNR_OP_TOKEN ? &stats->tokens : &stats->records;
}

static void count_floored(struct core_stats *stats, unsigned op, unsigned keys)
{
        stats->floored_records += keys;
        stats->floored_holds += op == PNR_OP_HOLD ? keys : 0;
        stats->floored_tokens += op == PNR_OP_TOKEN ? keys : 0;
}

static void count_item(struct core *core, const struct core_item *it, struct mono now)
{
        unsigned keys = it->request.op == PNR_OP_RECORDS ? it->request.n : 1;
        if (it->reply.status != PINROUTE_OK)
                core->stats.refused++;
        else if (it->request.op == PNR_OP_HELLO)
                core->stats.hellos++;
        else if (!it->covered && it->request.op != PNR_OP_COUNTS) {
                *counter_of(&core->stats, it->request.op) += keys;
                if (it->cluster)
                        release_record(&it->cluster->release, it->reply.generation, keys,
                                       it->request.op == PNR_OP_HOLD, it->until, now);
                else
                        count_floored(&core->stats, it->request.op, keys);
        }
}

/* Items that could not be committed stay unanswered, and those that may not be acknowledged yet. */
static void commit_batch(struct core *core, struct core_item *items, unsigned n, bool sweep, struct mono now)
{
        if (!core->store)
                return;
        if (n)
                core->stamp = issuer_next(&core->issuer);
        if (commit_somehow(core, items, n, sweep, now) != STORE_OK) {
                log_error("store: %s", store_error());
                return;
        }
        if (core->header_dirty && !core_is_silent(core, now))
                core->beat = now;
        core->header_dirty = core->endpoints_dirty = core->admin_dirty = core->issuer.dirty = false;
        core->stats.commits++;
        for (unsigned i = 0; i < n && !core_is_silent(core, now); i++) {
                items[i].answered = true;
                count_item(core, &items[i], now);
        }
}

/* ---- a turn ---- */

static void notice_stall(struct core *core, struct mono now)
{
        int64_t stood = mono_since(now, core->last_turn), slept = clock_suspended_ms() - core->suspended_ms;
        core->last_turn = now;
        core->suspended_ms += slept;
        if (stood <= CORE_STALL_MS && slept <= CORE_STALL_MS)
                return;
        core->stats.stalls++;
        log_debug("the loop stood still for %" PRId64 " ms", stood + slept);
        for (unsigned i = 0; slept > CORE_STALL_MS && i < core->n_clusters; i++)
                cluster_slept(core->cluster[i]);
        all_stood_still(core, "the daemon stood still", now);
}

static bool anything_dirty(const struct core *core)
{
        bool dirty = core->header_dirty || core->endpoints_dirty || core->admin_dirty || core->issuer.dirty;
        for (unsigned i = 0; i < core->n_clusters; i++)
                dirty = dirty || core->cluster[i]->dirty;
        return dirty;
}

void core_apply(struct core *core, struct core_item *items, unsigned n, struct mono now)
{
        notice_stall(core, now);
        commit_batch(core, items, n, false, now);
}

static bool is_full(const struct core *core)
{
        struct store_count count = {0};
        if (core->store)
                store_count(core->store, &count);
        return count.pins >= (uint64_t)core->conf->max_pins;
}

/* Is our file still the one that new stubs will open?  Without a store, is there room for one now? */
static void heartbeat(struct core *core, struct mono now)
{
        if (!core->store || !store_is_linked(core->store))
                replace_store(core, core->store ? "data.mdb is no longer in its place" : "none open", now);
        core->header_dirty = true;
        say_table(core, core->table_full && is_full(core));
        core->heartbeat_due = mono_plus(now, CORE_HEARTBEAT_MS);
        if (core_is_silent(core, now)) /* with the first acknowledgement the store is alive */
                core->heartbeat_due = mono_sooner(core->heartbeat_due, core->silent_until);
}

static void count_decisions(const struct core *core, unsigned cluster, uint64_t ret[PNR_NODES_MAX])
{
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                ret[slot] = 0;
                for (unsigned reason = 0; core->counts && reason < PNR_COUNT_REASONS; reason++)
                        ret[slot] += counts_of(core->counts, cluster, slot, reason);
        }
}

/* Once a second, where there is a status page. */
static void remember(struct core *core, struct mono now)
{
        struct store_count count = {0};
        uint64_t decided[PNR_NODES_MAX];
        if (!core->conf->http_listen[0] || !history_is_due(&core->history, now))
                return;
        if (core->store)
                store_count(core->store, &count);
        if (core->counts)
                counts_read(core->counts, core->n_clusters);
        history_begin(&core->history, now, count.pins);
        for (unsigned i = 0; i < core->n_clusters; i++) {
                count_decisions(core, i, decided);
                history_take(&core->history, core->cluster[i], decided);
        }
}

void core_turn(struct core *core, struct core_item *items, unsigned n, cluster_ask_fn *ask, void *arg,
               struct mono now)
{
        notice_stall(core, now);
        bool beat = mono_reached(now, core->heartbeat_due);
        if (beat)
                heartbeat(core, now);
        if (n || beat || anything_dirty(core))
                commit_batch(core, items, n, beat, now);
        for (unsigned i = 0; ask && i < core->n_clusters; i++)
                if (!core->cluster[i]->removed)
                        cluster_turn(core->cluster[i], now, ask, arg);
        if (beat)
                remember(core, now);
}

struct mono core_next_due(const struct core *core, struct mono now)
{
        struct mono due = core->heartbeat_due;
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!core->cluster[i]->removed)
                        due = mono_sooner(due, rhythm_next_due(core->cluster[i], now));
        return due;
}
