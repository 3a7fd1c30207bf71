/* metrics.c -- what metric_rows.h lists, as it is now: one function per row.
 * Reads core and connections, counts nothing itself. */
#include "daemon/metrics.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "client/pinroute.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/measure.h"
#include "daemon/prom.h"
#include "proto/counts.h"

#define QUOTE(x)   #x
#define AS_TEXT(x) QUOTE(x)

/* What a sample is about. */
struct about {
        const struct core *core;
        const struct conns *conns;
        struct mono now;
        struct store_count count;
        const struct cluster *c;
        const struct cluster_node *n;
        unsigned slot;
        struct prom_labels labels; /* cluster, and node */
};

/* A copy of the labels with one more. */
static struct prom_labels with(const struct about *a, const char *name, const char *value)
{
        struct prom_labels l = {.n = a->labels.n};
        memcpy(l.text, a->labels.text, l.n);
        prom_label(&l, name, value);
        return l;
}

static void count_with(struct prom *p, const struct about *a, const char *name, const char *label,
                       uint64_t value)
{
        struct prom_labels l = with(a, name, label);
        prom_count(p, &l, value);
}

#define PUT(name) static void put_##name(struct prom *p, const struct about *a)
#define PUT_COUNT(name, value)                                                                               \
        PUT(name) { prom_count(p, &a->labels, value); }
#define PUT_STAT(name, stat) PUT_COUNT(name, a->core->stats.stat)

/* ---- the daemon ---- */

PUT(build_info)
{
        struct prom_labels l = with(a, "version", PINROUTE_VERSION);
        prom_label(&l, "layout", AS_TEXT(PNR_LAYOUT));
        prom_count(p, &l, 1);
}

PUT(start_time_seconds) { prom_millis(p, NULL, (uint64_t)a->core->started_wall_ms); }

PUT(heartbeat_timestamp_seconds)
{
        int64_t age_ms = mono_since(a->now, a->core->beat);
        if (a->core->beat.ms)
                prom_millis(p, NULL, (uint64_t)(clock_ms(CLOCK_REALTIME) - age_ms));
}

PUT(records_total)
{
        const struct core_stats *s = &a->core->stats;
        uint64_t floored_records = s->floored_records - s->floored_holds - s->floored_tokens;
        count_with(p, a, "outcome", "pinned", s->records - floored_records);
        count_with(p, a, "outcome", "held", s->holds - s->floored_holds);
        count_with(p, a, "outcome", "token", s->tokens - s->floored_tokens);
        count_with(p, a, "outcome", "floored", s->floored_records);
        count_with(p, a, "outcome", "refused", s->refused);
}

struct place { /* whose decisions */
        const char *cluster, *node;
        unsigned number, slot;
};

static void put_decision(struct prom *p, const struct place *at, const char *reason, uint64_t n)
{
        struct prom_labels l = {.n = 0};
        prom_label(&l, "cluster", at->cluster);
        prom_label(&l, "node", at->node);
        prom_label(&l, "reason", reason);
        if (n)
                prom_count(p, &l, n);
}

/* Those that nobody has got are left out.  Reasons that nobody knows, which a process made up, are one: no sample may
 * come twice. */
static void put_decisions_of(struct prom *p, const struct counts *counts, const struct place *at)
{
        uint64_t made_up = 0;
        const char *unknown = pinroute_reason_name(-1);
        for (unsigned reason = 0; reason < PNR_COUNT_REASONS; reason++) {
                uint64_t n = counts_of(counts, at->number, at->slot, reason);
                const char *name = pinroute_reason_name((int)reason);
                if (!strcmp(name, unknown))
                        made_up += n;
                else
                        put_decision(p, at, name, n);
        }
        put_decision(p, at, unknown, made_up);
}

PUT(decisions_total)
{
        struct counts *counts = a->core->counts;
        if (!counts)
                return;
        counts_read(counts, a->core->n_clusters);
        put_decisions_of(p, counts, &(struct place){"", "", 0, PNR_NO_NODE});
        for (unsigned i = 0; i < a->core->n_clusters; i++)
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                        const struct cluster_conf *c = &a->core->cluster[i]->conf;
                        const char *node = a->core->cluster[i]->node[slot].conf.name;
                        if (node[0])
                                put_decisions_of(p, counts, &(struct place){c->name, node, i, slot});
                }
}

PUT(connections_closed_total)
{
        const struct core_stats *s = &a->core->stats;
        count_with(p, a, "why", "garbage", s->closed_garbage);
        count_with(p, a, "why", "slow", s->closed_slow);
        count_with(p, a, "why", "idle", s->closed_idle);
        count_with(p, a, "why", "turn", s->closed_in_turn);
}

PUT(reloads_total)
{
        count_with(p, a, "outcome", "ok", a->core->stats.reloads);
        count_with(p, a, "outcome", "refused", a->core->stats.reloads_failed);
}

PUT(loop_longest_turn_seconds) { prom_micros(p, NULL, a->core->stats.longest_turn_us); }

PUT_STAT(counting_refused_total, counts_refused)
PUT_COUNT(processes, a->core->counts ? counts_processes(a->core->counts) : 0)
PUT_COUNT(pins, a->count.pins)
PUT_COUNT(pins_max, (uint64_t)a->core->conf->max_pins)
PUT_COUNT(clients, a->conns->n)
PUT_COUNT(clients_max, (uint64_t)a->core->conf->max_clients)
PUT_COUNT(reader_slots, a->count.reader_slots)
PUT_COUNT(store_used_bytes, a->count.used_bytes)
PUT_COUNT(store_map_bytes, a->count.map_bytes)
PUT_COUNT(config_stale, a->core->reload_refused)
PUT_COUNT(log_lines_dropped_total, log_dropped())
PUT_STAT(connections_total, accepted)
PUT_STAT(accept_failures_total, accept_failures)
PUT_STAT(commits_total, commits)
PUT_STAT(stores_replaced_total, stores_replaced)
PUT_STAT(loop_stalls_total, stalls)
PUT_STAT(prober_starts_total, prober_starts)

/* ---- a cluster ---- */

PUT(early_release_delay_seconds)
{
        prom_histogram(p, &a->labels, &a->c->release.delay, &histogram_of_releases);
}

PUT_COUNT(pins_created_total, a->c->release.created)
PUT_COUNT(pins_released_early_total, a->c->release.early)
PUT_COUNT(pins_expired_total, a->c->release.expired)
PUT_COUNT(early_release, a->c->conf.early_release != 0)
PUT_COUNT(floors_raised_total, a->c->floors)
PUT_COUNT(floor_active, !mono_reached(a->now, a->c->floor_until))
PUT_COUNT(fences_total, a->c->fences)
PUT_COUNT(split_brain, a->c->split_brain)
PUT_COUNT(primary_changes_total, a->c->primary_changes)

/* ---- a node ---- */

PUT(node_up)
{
        count_with(p, a, "role", a->slot == a->c->primary ? "primary" : "replica", a->n->state == NODE_UP);
}

PUT(node_state)
{
        static const enum node_state states[] = {NODE_UP, NODE_DOWN, NODE_UNKNOWN};
        static const enum node_admin words[] = {NODE_DRAIN, NODE_MAINT};
        bool ready = a->n->admin == NODE_READY;
        for (unsigned i = 0; i < sizeof states / sizeof *states; i++)
                count_with(p, a, "state", node_state_name(states[i]), ready && a->n->state == states[i]);
        for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
                count_with(p, a, "state", node_admin_name(words[i]), a->n->admin == words[i]);
}

PUT(node_in_recovery)
{
        if (a->n->answers && a->n->facts.known)
                prom_count(p, &a->labels, a->n->facts.in_recovery);
}

PUT(node_lag_seconds)
{
        uint64_t ms;
        if (measure_lag(a->c, a->slot, &ms))
                prom_millis(p, &a->labels, ms);
}

PUT(node_lag_bytes)
{
        uint64_t bytes;
        if (measure_behind(a->c, a->slot, &bytes))
                prom_count(p, &a->labels, bytes);
}

PUT(node_schedule_share) { prom_ratio(p, &a->labels, measure_places(a->c, a->slot), a->c->n_schedule); }

PUT(node_checks_total)
{
        count_with(p, a, "outcome", "good", a->n->checks - a->n->failures);
        count_with(p, a, "outcome", "bad", a->n->failures);
}

PUT(node_check_duration_seconds) { prom_histogram(p, &a->labels, &a->n->took, &histogram_of_checks); }

PUT_COUNT(node_weight, a->n->conf.weight)
PUT_COUNT(node_state_changes_total, a->n->state_changes)

/* ---- all of them ---- */

static void free_text(const void *text, size_t n, void *arg)
{
        (void)n, (void)arg;
        free((void *)(uintptr_t)text);
}

typedef void put_fn(struct prom *p, const struct about *a);

static void put_of_nodes(struct prom *p, struct about *a, put_fn *put)
{
        size_t n = a->labels.n; /* of the cluster's */
        for (a->slot = 0; a->slot < PNR_NODES_MAX; a->slot++) {
                a->n = &a->c->node[a->slot];
                if (!a->n->conf.name[0])
                        continue;
                a->labels.n = n;
                prom_label(&a->labels, "node", a->n->conf.name);
                put(p, a);
        }
}

static void put_of_clusters(struct prom *p, struct about *a, put_fn *put, bool of_nodes)
{
        for (unsigned i = 0; i < a->core->n_clusters; i++) {
                a->c = a->core->cluster[i];
                if (a->c->removed)
                        continue;
                a->labels.n = 0;
                prom_label(&a->labels, "cluster", a->c->conf.name);
                if (of_nodes)
                        put_of_nodes(p, a, put);
                else
                        put(p, a);
        }
        a->labels.n = 0;
}

enum scope { SCOPE_DAEMON, SCOPE_CLUSTER, SCOPE_NODE };

#define GAUGE                                   "gauge"
#define COUNTER                                 "counter"
#define HISTOGRAM                               "histogram"
#define METRIC(name, type, scope, labels, text) {"pinrouted_" #name, type, text, SCOPE_##scope, put_##name},

static const struct {
        const char *name, *type, *help;
        enum scope scope;
        put_fn *put;
} rows[] = {
#include "daemon/metric_rows.h"
};

bool metrics_fill(const struct core *core, const struct conns *conns, struct mono now, struct evbuffer *out)
{
        struct prom p = {0};
        struct about a = {.core = core, .conns = conns, .now = now};
        size_t n;
        if (core->store)
                store_count(core->store, &a.count);
        for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
                prom_family(&p, rows[i].name, rows[i].type, rows[i].help);
                if (rows[i].scope == SCOPE_DAEMON)
                        rows[i].put(&p, &a);
                else
                        put_of_clusters(&p, &a, rows[i].put, rows[i].scope == SCOPE_NODE);
        }
        char *text = prom_end(&p, &n);
        if (text && !evbuffer_add_reference(out, text, n, free_text, NULL))
                return true;
        free(text);
        return false;
}
