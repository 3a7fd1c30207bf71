/* ctl_why.c -- what a worker would be told about a key now, and the facts behind it.
 * Decides with choose() alone, on facts that view_facts() read: what it explains is what a worker does. */
#include "client/ctl_why.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/ctl_text.h"

#define TRIES 8

static const char *sentence_of(enum pinroute_reason reason)
{
        switch (reason) {
        case PINROUTE_BALANCED: return "nothing keeps this key from the replicas";
        case PINROUTE_PINNED: return "this key wrote, and no replica is known to have the write yet";
        case PINROUTE_CAUGHT_UP: return "these replicas have every write that this key needs";
        case PINROUTE_FORCED: return "the scope is forced to the primary";
        case PINROUTE_NO_REPLICA:
                return "no replica may be read from: all are down, lagging, drained or without weight";
        case PINROUTE_FLOOR: return "pins of this cluster may be missing, so all its keys count as pinned";
        case PINROUTE_STORE_STALE: return "the daemon has been silent too long: nobody can record writes";
        case PINROUTE_STORE_UNAVAILABLE: return "there is no usable store";
        case PINROUTE_WRITE: break;
        }
        return "writes go to the primary";
}

/* view_open() says only that it will not do; what a person can see from outside is said here. */
static const char *trouble_with(const char *dir)
{
        char path[sizeof((struct ctl_why *)0)->dir + 16];
        snprintf(path, sizeof path, "%s/data.mdb", dir);
        if (access(path, R_OK) == 0)
                return "it is no live store of this boot and this version: retired, damaged, a copy, or "
                       "writable by others";
        return errno == EACCES   ? "it may not be read: join the group that the daemon gives it to"
               : errno == ENOENT ? "it is not there: start pinrouted, or name its directory with -d"
                                 : strerror(errno);
}

/* False: torn, once more. */
static bool look(struct ctl_why *w, const struct view *view)
{
        struct view_at at = {0};
        w->facts = (struct facts){.now = clock_coarse()};
        w->status = view_facts(view, w->name, &w->key, &w->facts, &at);
        if (w->status == VIEW_AGAIN)
                return false;
        if (w->status == VIEW_OK)
                memcpy(&w->cluster, w->facts.cluster, /* NOLINT(*NonNullParamChecker): set with VIEW_OK */
                       sizeof w->cluster);
        if (!view_holds(view, &at))
                return false;
        w->facts.cluster = &w->cluster;
        if (w->status == VIEW_OK) {
                w->choice = choose(&w->facts);
                snprintf(w->hash, sizeof w->hash, "%012" PRIx64 "%08" PRIx32, pnr_slot_shown(at.slot.place),
                         at.slot.tag);
        }
        return true;
}

void ctl_why_ask(struct ctl_why *w, const char *dir, const char name[PNR_NAME_SIZE], const void *key,
                 size_t len)
{
        struct view *view;
        *w = (struct ctl_why){.status = VIEW_UNUSABLE, .choice = {.reason = PINROUTE_STORE_UNAVAILABLE}};
        snprintf(w->dir, sizeof w->dir, "%s", dir);
        memcpy(w->name, name, sizeof w->name);
        w->key = pnr_key_of(key, len);
        if (view_open(&view, dir) == PINROUTE_OK) {
                bool seen = false;
                for (int tries = 0; tries < TRIES && !seen; tries++)
                        seen = look(w, view);
                view_close(&view);
                if (!seen)
                        w->status = VIEW_UNUSABLE;
        }
        if (w->status == VIEW_UNUSABLE)
                w->trouble = trouble_with(dir);
}

static const struct need *pin_of(const struct ctl_why *w)
{
        bool live = w->facts.now.ms < w->facts.pin.until_ms || w->facts.now.ms < w->facts.pin.hold_ms;
        return live ? &w->facts.pin : NULL;
}

static bool floor_of(const struct ctl_why *w, struct need *ret)
{
        *ret = (struct need){.generation = w->cluster.floor_generation,
                             .until_ms = w->cluster.floor_until_ms,
                             .hold_ms = w->cluster.floor_hold_ms};
        return w->facts.now.ms < ret->until_ms || w->facts.now.ms < ret->hold_ms;
}

/* The generation that a replica must have reached; 0: any will do. */
static uint64_t generation_needed(const struct ctl_why *w)
{
        const struct need *pin = pin_of(w);
        struct need floor;
        uint64_t generation = pin ? pin->generation : 0;
        return floor_of(w, &floor) && floor.generation > generation ? floor.generation : generation;
}

static bool is_scheduled(const struct ctl_why *w, unsigned node)
{
        return w->cluster.n_schedule && w->cluster.scheduled >> node & 1;
}

/* Of an answer of this node; our clock is coarse, so it may seem to lie a tick ahead. */
static int64_t stamp_age(const struct ctl_why *w, unsigned node)
{
        int64_t age_ms = w->facts.now.ms - w->cluster.node[node].stamp_ms;
        return age_ms < 0 && age_ms > -100 ? 0 : age_ms;
}

/* Why this node is, or is not, one that the read may go to. */
static void verdict(const struct ctl_why *w, unsigned node, char *buf, size_t size)
{
        const struct pnr_node *n = &w->cluster.node[node];
        uint64_t need = generation_needed(w);
        int64_t age_ms = stamp_age(w, node);
        if (!is_scheduled(w, node))
                snprintf(buf, size, "no: not in the schedule");
        else if (w->choice.pool >> node & 1)
                snprintf(buf, size, "yes");
        else if (w->choice.reason == PINROUTE_STORE_STALE || w->choice.reason == PINROUTE_STORE_UNAVAILABLE)
                snprintf(buf, size, "no: the daemon is silent");
        else if (n->caught_up < need || n->caught_up == 0)
                snprintf(buf, size, "no: has reached generation %" PRIu64 " of %" PRIu64, n->caught_up, need);
        else if (age_ms >= w->cluster.trust_ms || age_ms < -1000)
                snprintf(buf, size, "no: that answer is %" PRId64 "ms old, and good for %" PRIu32 "ms",
                         age_ms, w->cluster.trust_ms);
        else
                snprintf(buf, size, "no: the primary is asked for");
}

static unsigned nodes_of(const struct ctl_why *w)
{
        return w->cluster.n_nodes < PNR_NODES_MAX ? w->cluster.n_nodes : PNR_NODES_MAX;
}

/* A name of the store, which is bytes until proven text. */
static const char *name_of(const struct ctl_why *w, unsigned node, char buf[PNR_NAME_SIZE + 1])
{
        snprintf(buf, PNR_NAME_SIZE + 1, "%.*s", PNR_NAME_SIZE,
                 node < nodes_of(w) ? w->cluster.node[node].name : "");
        return buf;
}

static void show_target(const struct ctl_why *w, FILE *to)
{
        char line[PNR_NODES_MAX * (PNR_NAME_SIZE + 8)] = "", name[PNR_NAME_SIZE + 1];
        size_t n = 0;
        for (unsigned i = 0; i < nodes_of(w); i++)
                if (w->choice.pool >> i & 1)
                        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", n ? ", " : "",
                                              name_of(w, i, name));
        const char *reason = pinroute_reason_name((int)w->choice.reason);
        if (w->choice.pool)
                ctl_text_line(to, "%s: replica, %s: %s", reason,
                              strchr(line, ',') ? "the next in turn of" : "this one", line);
        else if (w->status == VIEW_OK && w->cluster.primary < nodes_of(w))
                ctl_text_line(to, "%s: primary, %s", reason, name_of(w, w->cluster.primary, name));
        else
                ctl_text_line(to, "%s: primary, whichever the application knows", reason);
        ctl_text_line(to, "  %s", sentence_of(w->choice.reason));
}

static void show_need(const struct ctl_why *w, const char *what, const struct need *n, FILE *to)
{
        char left[CTL_TEXT_SPAN_MAX], hold[CTL_TEXT_SPAN_MAX] = "";
        if (!n) {
                ctl_text_line(to, "  %-10s none", what);
                return;
        }
        int64_t left_ms = n->until_ms - w->facts.now.ms, hold_ms = n->hold_ms - w->facts.now.ms;
        ctl_text_line(to, "  %-10s generation %" PRIu64 ", %s left%s%s", what, n->generation,
                      ctl_text_span(left_ms > 0 ? left_ms : 0, left), hold_ms > 0 ? ", held for " : "",
                      hold_ms > 0 ? ctl_text_span(hold_ms, hold) : "");
}

static void show_replicas(const struct ctl_why *w, FILE *to)
{
        static const char *const heads[] = {"REPLICA", "SCHEDULED", ">CAUGHT-UP", ">STAMP", "WILL DO", NULL};
        struct ctl_table t;
        ctl_table_init(&t, heads);
        for (unsigned i = 0; i < nodes_of(w); i++) {
                const struct pnr_node *n = &w->cluster.node[i];
                char text[CTL_TEXT_SPAN_MAX], will_do[120], name[PNR_NAME_SIZE + 1];
                if (i == w->cluster.primary)
                        continue;
                verdict(w, i, will_do, sizeof will_do);
                ctl_table_put(&t, "%s", name_of(w, i, name));
                ctl_table_put(&t, "%s", is_scheduled(w, i) ? "yes" : "no");
                ctl_table_put(&t, "%" PRIu64, n->caught_up);
                ctl_table_put(&t, "%s", n->caught_up ? ctl_text_span(stamp_age(w, i), text) : "-");
                ctl_table_put(&t, "%s", will_do);
        }
        ctl_table_print(&t, to, 2);
}

void ctl_why_show(const struct ctl_why *w, FILE *to)
{
        char age[CTL_TEXT_SPAN_MAX], after[CTL_TEXT_SPAN_MAX], limit[CTL_TEXT_SPAN_MAX];
        struct need floor;
        show_target(w, to);
        if (w->status != VIEW_OK) {
                ctl_text_line(to, "  %s/data.mdb: %s", w->dir, w->trouble);
                return;
        }
        ctl_text_line(to, "  %-10s %s", "key", w->hash);
        show_need(w, "pin", pin_of(w), to);
        show_need(w, "floor", floor_of(w, &floor) ? &floor : NULL, to);
        ctl_text_line(
            to, "  %-10s %s old (reads with a key go to the primary from %s on, all reads from %s on)",
            "heartbeat", w->facts.age_ms == INT64_MAX ? "infinitely" : ctl_text_span(w->facts.age_ms, age),
            ctl_text_span(w->facts.stale_after_ms, after), ctl_text_span(w->facts.stale_limit_ms, limit));
        show_replicas(w, to);
}

static json_t *json_need(const struct ctl_why *w, const struct need *n)
{
        if (!n)
                return json_null();
        int64_t left_ms = n->until_ms - w->facts.now.ms, hold_ms = n->hold_ms - w->facts.now.ms;
        return json_pack("{sI sI sI}", "generation", (json_int_t)n->generation, "left_ms",
                         (json_int_t)(left_ms > 0 ? left_ms : 0), "hold_left_ms",
                         (json_int_t)(hold_ms > 0 ? hold_ms : 0));
}

/* Names that are no UTF-8 (a damaged store) become null. */
static json_t *json_names(const struct ctl_why *w)
{
        char name[PNR_NAME_SIZE + 1];
        json_t *all = json_array();
        bool primary = !w->choice.pool && w->cluster.primary < nodes_of(w);
        for (unsigned i = 0; i < nodes_of(w); i++)
                if (primary ? i == w->cluster.primary : w->choice.pool >> i & 1)
                        json_array_append_new(all, json_string(name_of(w, i, name)));
        return all;
}

static json_t *json_replicas(const struct ctl_why *w)
{
        json_t *all = json_array();
        for (unsigned i = 0; i < nodes_of(w); i++) {
                const struct pnr_node *n = &w->cluster.node[i];
                char will_do[120], name[PNR_NAME_SIZE + 1];
                if (i == w->cluster.primary)
                        continue;
                verdict(w, i, will_do, sizeof will_do);
                json_array_append_new(
                    all, json_pack("{ss sb sI so sb ss}", "name", name_of(w, i, name), "scheduled",
                                   is_scheduled(w, i), "caught_up", (json_int_t)n->caught_up, "stamp_age_ms",
                                   n->caught_up ? json_integer(stamp_age(w, i)) : json_null(), "will_do",
                                   (int)(w->choice.pool >> i & 1), "why", will_do));
        }
        return all;
}

static void add_facts(const struct ctl_why *w, json_t *doc)
{
        struct need floor;
        json_object_set_new(doc, "key", json_string(w->hash));
        json_object_set_new(doc, "pin", json_need(w, pin_of(w)));
        json_object_set_new(doc, "floor", json_need(w, floor_of(w, &floor) ? &floor : NULL));
        json_object_set_new(doc, "heartbeat_age_ms",
                            w->facts.age_ms == INT64_MAX ? json_null() : json_integer(w->facts.age_ms));
        json_object_set_new(doc, "stale_after_ms", json_integer(w->facts.stale_after_ms));
        json_object_set_new(doc, "stale_limit_ms", json_integer(w->facts.stale_limit_ms));
        json_object_set_new(doc, "trust_ms", json_integer(w->cluster.trust_ms));
        json_object_set_new(doc, "replicas", json_replicas(w));
}

void ctl_why_json(const struct ctl_why *w, FILE *to)
{
        json_t *doc =
            json_pack("{sb ss* ss ss ss so sI}", "ok", 1, "cluster", w->name, "role",
                      w->choice.pool ? "replica" : "primary", "reason",
                      pinroute_reason_name((int)w->choice.reason), "why", sentence_of(w->choice.reason),
                      "nodes", json_names(w), "pin_left_ms", (json_int_t)w->choice.pin_left_ms);
        if (w->status == VIEW_OK)
                add_facts(w, doc);
        else
                json_object_set_new(doc, "trouble", json_string(w->trouble));
        json_dumpf(doc, to, JSON_COMPACT);
        fputc('\n', to);
        json_decref(doc);
}
