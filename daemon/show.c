/* show.c -- the daemon's state, spelled out.
 * Reads core and connections; writes JSON only. */
#include "daemon/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/pinroute.h"
#include "daemon/log.h"
#include "daemon/measure.h"
#include "daemon/trouble.h"
#include "daemon/verdict.h"
#include "proto/counts.h"

static struct store_count count_of(const struct core *core)
{
        struct store_count count = {0};
        if (core->store)
                store_count(core->store, &count);
        return count;
}

static bool used(const struct cluster_node *n) { return n->conf.name[0] != '\0'; }

/* ---- nodes ---- */

static void show_position(const struct cluster *c, unsigned slot, struct json *j)
{
        char text[32];
        const struct node_facts *f = &c->node[slot].facts;
        struct lsn at = f->position;
        uint64_t bytes;
        snprintf(text, sizeof text, "%" PRIX64 "/%" PRIX64, at.bytes >> 32, at.bytes & UINT32_MAX);
        json_text(j, "position", f->known && at.bytes ? text : NULL);
        if (measure_behind(c, slot, &bytes))
                json_unsigned(j, "behind_bytes", bytes);
        else
                json_null(j, "behind_bytes");
}

static void show_node(const struct cluster *c, unsigned slot, const char *of_cluster, struct mono now,
                      struct json *j)
{
        const struct cluster_node *n = &c->node[slot];
        uint64_t lag_ms;
        json_open(j, NULL, '{');
        if (of_cluster)
                json_text(j, "cluster", of_cluster);
        json_text(j, "name", n->conf.name);
        json_text(j, "role", slot == c->primary ? "primary" : "replica");
        json_text(j, "state", node_state_name(n->state));
        json_text(j, "admin", node_admin_name(n->admin));
        json_text(j, "why", n->why);
        json_int(j, "since_ms", mono_since(now, n->since));
        if (measure_lag(c, slot, &lag_ms))
                json_unsigned(j, "lag_ms", lag_ms);
        else
                json_null(j, "lag_ms");
        show_position(c, slot, j);
        json_int(j, "timeline", n->facts.timeline);
        if (n->facts.known)
                json_bool(j, "in_recovery", n->facts.in_recovery);
        else
                json_null(j, "in_recovery");
        json_int(j, "weight", n->conf.weight);
        json_real(j, "share", c->n_schedule ? 100.0 * measure_places(c, slot) / c->n_schedule : 0.0);
        json_unsigned(j, "caught_up", n->caught_up);
        if (n->caught_up)
                json_int(j, "stamp_age_ms", mono_since(now, n->stamp));
        else
                json_null(j, "stamp_age_ms");
        json_real(j, "check_ms", n->took_us / 1000.0);
        json_unsigned(j, "checks", n->checks);
        json_unsigned(j, "fails", n->failures);
        json_close(j, '}');
}

void show_nodes(const struct core *core, struct mono now, struct json *j)
{
        json_open(j, "nodes", '[');
        for (unsigned i = 0; i < core->n_clusters; i++)
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                        if (used(&core->cluster[i]->node[slot]))
                                show_node(core->cluster[i], slot, core->cluster[i]->conf.name, now, j);
        json_close(j, ']');
}

/* ---- status ---- */

static const char *primary_of(const struct cluster *c)
{
        return c->primary == PNR_NO_NODE ? NULL : c->node[c->primary].conf.name;
}

static void say_trouble(void *arg, const char *sentence) { json_text(arg, NULL, sentence); }

/* In the words of the status page. */
static void show_meaning(const struct cluster *c, bool floored, struct mono now, struct json *j)
{
        char text[VERDICT_TEXT_MAX];
        verdict_of_no_replica(c, text);
        json_text(j, "without_replica", text);
        verdict_of_cost(c, now, text);
        json_text(j, "floor_cost", floored ? text : "");
}

static void show_cluster(const struct cluster *c, struct mono now, struct json *j)
{
        int64_t floor_left = mono_since(c->floor_until, now);
        json_open(j, NULL, '{');
        json_text(j, "name", c->conf.name);
        json_text(j, "primary", primary_of(c));
        json_unsigned(j, "primary_changes", c->primary_changes);
        json_unsigned(j, "split_brain", c->split_brain);
        json_unsigned(j, "open_generation", c->fence.open);
        json_unsigned(j, "fenced_generation", c->fence.fenced);
        json_int(j, "floor_left_ms", floor_left > 0 ? floor_left : 0);
        json_unsigned(j, "floor_generation", c->floor_generation);
        json_text(j, "floor_why", floor_left > 0 ? c->floor_why : "");
        json_unsigned(j, "floors", c->floors);
        show_meaning(c, floor_left > 0, now, j);
        json_open(j, "schedule", '[');
        for (unsigned i = 0; i < c->n_schedule; i++)
                json_text(j, NULL, c->node[c->schedule[i]].conf.name);
        json_close(j, ']');
        json_open(j, "nodes", '[');
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                if (used(&c->node[slot]))
                        show_node(c, slot, NULL, now, j);
        json_close(j, ']');
        json_close(j, '}');
}

void show_status(const struct core *core, unsigned clients, struct mono now, struct json *j)
{
        char epoch[20];
        snprintf(epoch, sizeof epoch, "%016" PRIx64, core->epoch);
        json_text(j, "version", PINROUTE_VERSION);
        json_int(j, "pid", getpid());
        json_int(j, "uptime_ms", mono_since(now, core->started));
        json_text(j, "epoch", epoch);
        json_open(j, "why", '[');
        unsigned troubles = trouble_tell(core, now, say_trouble, j);
        json_close(j, ']');
        json_bool(j, "degraded", troubles > 0);
        json_unsigned(j, "pins", count_of(core).pins);
        json_int(j, "max_pins", core->conf->max_pins);
        json_int(j, "clients", clients);
        json_open(j, "clusters", '[');
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!core->cluster[i]->removed)
                        show_cluster(core->cluster[i], now, j);
        json_close(j, ']');
}

/* ---- pins ---- */

static void show_released(const struct cluster *c, const struct pin *pin, struct mono now, struct json *j)
{
        json_open(j, "released", '[');
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                const struct cluster_node *n = &c->node[slot];
                if (used(n) && n->caught_up && n->caught_up >= pin->generation && pin->hold_ms <= now.ms &&
                    mono_since(now, n->stamp) < c->conf.caught_up_trust_ms)
                        json_text(j, NULL, n->conf.name);
        }
        json_close(j, ']');
}

void show_pin(const struct core *core, const char *name, const struct pin *pin, struct mono now,
              struct json *j)
{
        char key[32];
        const struct cluster *c = pin->cluster < core->n_clusters ? core->cluster[pin->cluster] : NULL;
        snprintf(key, sizeof key, "%012" PRIx64 "%08" PRIx32, pnr_slot_shown(pin->place), pin->tag);
        json_open(j, name, '{');
        json_text(j, "cluster", c ? c->conf.name : NULL);
        json_text(j, "key", key);
        json_int(j, "left_ms", pin->until_ms > now.ms ? pin->until_ms - now.ms : 0);
        json_int(j, "hold_left_ms", pin->hold_ms > now.ms ? pin->hold_ms - now.ms : 0);
        json_int(j, "until_ms", pin->until_ms);
        json_unsigned(j, "generation", pin->generation);
        if (c)
                show_released(c, pin, now, j);
        json_close(j, '}');
}

void show_pins(const struct core *core, struct mono now, struct json *j)
{
        static struct pin pin[SHOW_PINS_MAX];
        unsigned n = 0;
        uint64_t next = 0;
        if (store_list_pins(core->store, 0, now, pin, SHOW_PINS_MAX, &n, &next) != STORE_OK)
                n = 0;
        json_open(j, "pins", '[');
        for (unsigned i = 0; i < n; i++)
                show_pin(core, NULL, &pin[i], now, j);
        json_close(j, ']');
        json_unsigned(j, "total", count_of(core).pins);
        json_bool(j, "truncated", next != 0);
}

/* ---- the rest ---- */

void show_clients(const struct conns *conns, struct mono now, struct json *j)
{
        const struct conn *c;
        json_open(j, "clients", '[');
        TAILQ_FOREACH (c, &conns->by_use, by_use) {
                json_open(j, NULL, '{');
                json_int(j, "pid", c->pid);
                json_int(j, "uid", (int64_t)c->uid);
                json_int(j, "since_ms", mono_since(now, c->since));
                json_int(j, "last_ms", mono_since(now, c->last));
                json_unsigned(j, "requests", c->requests);
                json_close(j, '}');
        }
        json_close(j, ']');
}

static const char *level_name(enum log_level level)
{
        return level == LOG_AT_ERROR ? "error" : level == LOG_AT_WARNING ? "warning" : "info";
}

void show_news_item(const struct news_item *item, struct json *j)
{
        json_text(j, "event", "news");
        json_unsigned(j, "number", item->number);
        json_int(j, "wall_ms", item->wall_ms);
        json_text(j, "level", level_name(item->level));
        json_text(j, "kind", news_kind_name(item->kind));
        json_text(j, "cluster", item->cluster);
        json_text(j, "node", item->node);
        json_text(j, "from", item->from);
        json_text(j, "to", item->to);
        json_text(j, "text", item->text);
}

void show_news(const struct core *core, struct json *j)
{
        uint64_t last = news_last(core->news);
        json_open(j, "news", '[');
        for (uint64_t i = last > NEWS_KEPT ? last - NEWS_KEPT + 1 : 1; i <= last; i++) {
                json_open(j, NULL, '{');
                show_news_item(news_at(core->news, i), j);
                json_close(j, '}');
        }
        json_close(j, ']');
}

static void config_row(void *arg, const char *section, const char *key, const char *value, bool is_default,
                       bool at_start)
{
        struct json *j = arg;
        json_open(j, NULL, '{');
        json_text(j, "section", section);
        json_text(j, "key", key);
        json_text(j, "value", value);
        json_bool(j, "default", is_default);
        json_bool(j, "restart", at_start);
        json_close(j, '}');
}

void show_config(const struct core *core, struct json *j)
{
        json_open(j, "options", '[');
        conf_show(core->conf, config_row, j);
        json_close(j, ']');
        json_open(j, "token_keys", '['); /* the first signs */
        for (unsigned i = 0; i < core->issuer.keys.n; i++) {
                char fingerprint[ISSUER_FINGERPRINT_SIZE];
                issuer_fingerprint(&core->issuer, i, fingerprint);
                json_text(j, NULL, fingerprint);
        }
        json_close(j, ']');
}

static void show_decision(const struct counts *counts, const char *cluster, unsigned number, const char *node,
                          unsigned slot, struct json *j)
{
        for (unsigned reason = 0; reason < PNR_COUNT_REASONS; reason++) {
                uint64_t n = counts_of(counts, number, slot, reason);
                if (!n)
                        continue;
                json_open(j, NULL, '{');
                json_text(j, "cluster", cluster);
                json_text(j, "node", node);
                json_text(j, "reason", pinroute_reason_name((int)reason));
                json_unsigned(j, "count", n);
                json_close(j, '}');
        }
}

/* What processes have decided since this daemon started: rows that are not 0. */
static void show_decisions(const struct core *core, struct json *j)
{
        json_open(j, "decisions", '[');
        if (core->counts) {
                counts_read(core->counts, core->n_clusters);
                show_decision(core->counts, "", 0, "", PNR_NO_NODE, j);
                for (unsigned i = 0; i < core->n_clusters; i++)
                        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                                if (used(&core->cluster[i]->node[slot]))
                                        show_decision(core->counts, core->cluster[i]->conf.name, i,
                                                      core->cluster[i]->node[slot].conf.name, slot, j);
        }
        json_close(j, ']');
}

void show_stats(const struct core *core, struct json *j)
{
        uint64_t floors = 0, fences = 0, split_brains = 0, changes = 0;
        for (unsigned i = 0; i < core->n_clusters; i++) {
                floors += core->cluster[i]->floors;
                fences += core->cluster[i]->fences;
                split_brains += core->cluster[i]->split_brain;
                changes += core->cluster[i]->primary_changes;
        }
        json_open(j, "stats", '{');
#define CORE_STAT_ROW(name, text) json_unsigned(j, #name, core->stats.name);
        CORE_STATS(CORE_STAT_ROW)
#undef CORE_STAT_ROW
        json_unsigned(j, "floors", floors);
        json_unsigned(j, "fences", fences);
        json_unsigned(j, "split_brains", split_brains); /* now */
        json_unsigned(j, "primary_changes", changes);
        json_unsigned(j, "log_lines_dropped", log_dropped());
        struct store_count count = count_of(core);
        json_unsigned(j, "pins", count.pins);
        json_unsigned(j, "pin_pages", count.pin_pages);
        json_unsigned(j, "store_used_bytes", count.used_bytes);
        json_unsigned(j, "store_map_bytes", count.map_bytes);
        json_unsigned(j, "transactions", count.transactions);
        json_unsigned(j, "processes", core->counts ? counts_processes(core->counts) : 0);
        json_close(j, '}');
        show_decisions(core, j);
}
