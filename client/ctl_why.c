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
#include "client/ctl_call.h"
#include "client/ctl_steps.h"
#include "client/ctl_text.h"
#include "client/words.h"

#define TRIES      8
#define EXPLAIN_MS 1000 /* a daemon that hangs is no reason to wait for long */
#define ROWS_MAX   12   /* on a screen */

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
        w->facts = (struct facts){.now = clock_coarse(), .key = w->key};
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

void ctl_why_explain(struct ctl_why *w, const struct ctl *ctl)
{
        struct ctl_reply reply;
        char generation[32], why[CTL_CALL_WHY_MAX];
        snprintf(generation, sizeof generation, "%" PRIu64, ctl_why_generation(w));
        if (w->status != VIEW_OK ||
            !ctl_call_try(ctl, (const char *const[]){"explain", w->name, generation, NULL}, EXPLAIN_MS,
                          &reply, why))
                return;
        w->daemon = json_incref(reply.doc);
        ctl_call_free(&reply);
}

void ctl_why_free(struct ctl_why *w)
{
        json_decref(w->daemon);
        w->daemon = NULL;
}

const struct need *ctl_why_pin(const struct ctl_why *w)
{
        bool live = w->facts.now.ms < w->facts.pin.until_ms || w->facts.now.ms < w->facts.pin.hold_ms;
        return live ? &w->facts.pin : NULL;
}

bool ctl_why_floor(const struct ctl_why *w, struct need *ret)
{
        *ret = (struct need){.generation = w->cluster.floor_generation,
                             .until_ms = w->cluster.floor_until_ms,
                             .hold_ms = w->cluster.floor_hold_ms};
        return w->facts.now.ms < ret->until_ms || w->facts.now.ms < ret->hold_ms;
}

uint64_t ctl_why_generation(const struct ctl_why *w)
{
        const struct need *pin = ctl_why_pin(w);
        struct need floor;
        uint64_t generation = pin ? pin->generation : 0;
        return ctl_why_floor(w, &floor) && floor.generation > generation ? floor.generation : generation;
}

bool ctl_why_is_scheduled(const struct ctl_why *w, unsigned node)
{
        return w->cluster.n_schedule && w->cluster.scheduled >> node & 1;
}

/* Of an answer of this node; our clock is coarse, so it may seem to lie a tick ahead. */
int64_t ctl_why_stamp_age(const struct ctl_why *w, unsigned node)
{
        int64_t age_ms = w->facts.now.ms - w->cluster.node[node].stamp_ms;
        return age_ms < 0 && age_ms > -100 ? 0 : age_ms;
}

unsigned ctl_why_nodes(const struct ctl_why *w)
{
        return w->cluster.n_nodes < PNR_NODES_MAX ? w->cluster.n_nodes : PNR_NODES_MAX;
}

/* A name of the store, which is bytes until proven text. */
const char *ctl_why_name(const struct ctl_why *w, unsigned node, char buf[PNR_NAME_SIZE + 1])
{
        snprintf(buf, PNR_NAME_SIZE + 1, "%.*s", PNR_NAME_SIZE,
                 node < ctl_why_nodes(w) ? w->cluster.node[node].name : "");
        return buf;
}

static void show_target(const struct ctl_why *w, FILE *to)
{
        char line[PNR_NODES_MAX * (PNR_NAME_SIZE + 8)] = "", name[PNR_NAME_SIZE + 1];
        size_t n = 0;
        for (unsigned i = 0; i < ctl_why_nodes(w); i++)
                if (w->choice.pool >> i & 1)
                        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", n ? ", " : "",
                                              ctl_why_name(w, i, name));
        const char *reason = pinroute_reason_name((int)w->choice.reason);
        if (w->choice.pool)
                ctl_text_line(to, "%s: replica, %s: %s", reason,
                              strchr(line, ',') ? "the next in turn of" : "this one", line);
        else if (w->status == VIEW_OK && w->cluster.primary < ctl_why_nodes(w))
                ctl_text_line(to, "%s: primary, %s", reason, ctl_why_name(w, w->cluster.primary, name));
        else
                ctl_text_line(to, "%s: primary, whichever the application knows", reason);
        ctl_text_line(to, "  %s", words_reason((int)w->choice.reason));
}

static void show_replicas(const struct ctl_why *w, FILE *to)
{
        static const char *const heads[] = {"REPLICA", ">CAUGHT-UP", ">STAMP", "WILL DO", NULL};
        struct ctl_table t;
        unsigned rows = 0, left = 0;
        ctl_table_init(&t, heads);
        for (unsigned i = 0; i < ctl_why_nodes(w); i++) {
                const struct pnr_node *n = &w->cluster.node[i];
                char text[CTL_TEXT_SPAN_MAX], will_do[400], name[PNR_NAME_SIZE + 1];
                if (i == w->cluster.primary || !*ctl_why_name(w, i, name))
                        continue;
                if (rows++ >= ROWS_MAX) {
                        left++;
                        continue;
                }
                ctl_steps_verdict(w, i, will_do, sizeof will_do);
                ctl_table_put(&t, "%s", name);
                ctl_table_put(&t, "%" PRIu64, n->caught_up);
                ctl_table_put(&t, "%s", n->caught_up ? ctl_text_span(ctl_why_stamp_age(w, i), text) : "-");
                ctl_table_put(&t, "%s", will_do);
        }
        ctl_table_print(&t, to, 2);
        if (left)
                ctl_text_line(to, "  ... %u more: --json has all", left);
}

void ctl_why_show(const struct ctl_why *w, FILE *to)
{
        struct ctl_steps s;
        ctl_steps_of(w, &s);
        show_target(w, to);
        if (w->status == VIEW_OK)
                ctl_text_line(to, "  key %s", w->hash);
        for (unsigned i = 0; i < s.n; i++)
                ctl_text_line(to, "  %u %-9s  %s%s%s", i + 1, s.step[i].name, s.step[i].text,
                              i + 1 == s.n ? " => " : "",
                              i + 1 == s.n ? pinroute_reason_name((int)w->choice.reason) : "");
        if (w->status == VIEW_OK)
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
        bool primary = !w->choice.pool && w->cluster.primary < ctl_why_nodes(w);
        for (unsigned i = 0; i < ctl_why_nodes(w); i++)
                if (primary ? i == w->cluster.primary : w->choice.pool >> i & 1)
                        json_array_append_new(all, json_string(ctl_why_name(w, i, name)));
        return all;
}

static json_t *json_replicas(const struct ctl_why *w)
{
        json_t *all = json_array();
        for (unsigned i = 0; i < ctl_why_nodes(w); i++) {
                const struct pnr_node *n = &w->cluster.node[i];
                char will_do[400], name[PNR_NAME_SIZE + 1];
                if (i == w->cluster.primary)
                        continue;
                ctl_steps_verdict(w, i, will_do, sizeof will_do);
                json_array_append_new(
                    all, json_pack("{ss sb sI so sb ss}", "name", ctl_why_name(w, i, name), "scheduled",
                                   ctl_why_is_scheduled(w, i), "caught_up", (json_int_t)n->caught_up,
                                   "stamp_age_ms",
                                   n->caught_up ? json_integer(ctl_why_stamp_age(w, i)) : json_null(),
                                   "will_do", (int)(w->choice.pool >> i & 1), "why", will_do));
        }
        return all;
}

static json_t *json_steps(const struct ctl_why *w)
{
        json_t *all = json_array();
        struct ctl_steps s;
        ctl_steps_of(w, &s);
        for (unsigned i = 0; i < s.n; i++)
                json_array_append_new(all, json_pack("{ss ss* sb}", "step", s.step[i].name, "text",
                                                     s.step[i].text, "decides", i + 1 == s.n));
        return all;
}

static void add_facts(const struct ctl_why *w, json_t *doc)
{
        struct need floor;
        json_object_set_new(doc, "key", json_string(w->hash));
        json_object_set_new(doc, "pin", json_need(w, ctl_why_pin(w)));
        json_object_set_new(doc, "floor", json_need(w, ctl_why_floor(w, &floor) ? &floor : NULL));
        json_object_set_new(doc, "heartbeat_age_ms",
                            w->facts.age_ms == INT64_MAX ? json_null() : json_integer(w->facts.age_ms));
        json_object_set_new(doc, "stale_after_ms", json_integer(w->facts.stale_after_ms));
        json_object_set_new(doc, "stale_limit_ms", json_integer(w->facts.stale_limit_ms));
        json_object_set_new(doc, "trust_ms", json_integer(w->cluster.trust_ms));
        json_object_set_new(doc, "replicas", json_replicas(w));
        json_object_set(doc, "daemon", w->daemon ? w->daemon : json_null()); /* as daemon/explain.h has it */
}

void ctl_why_json(const struct ctl_why *w, FILE *to)
{
        json_t *doc =
            json_pack("{sb ss* ss ss ss so sI}", "ok", 1, "cluster", w->name, "role",
                      w->choice.pool ? "replica" : "primary", "reason",
                      pinroute_reason_name((int)w->choice.reason), "why", words_reason((int)w->choice.reason),
                      "nodes", json_names(w), "pin_left_ms", (json_int_t)w->choice.pin_left_ms);
        if (w->status == VIEW_OK)
                add_facts(w, doc);
        else
                json_object_set_new(doc, "trouble", json_string(w->trouble));
        json_object_set_new(doc, "steps", json_steps(w));
        json_dumpf(doc, to, JSON_COMPACT);
        fputc('\n', to);
        json_decref(doc);
}
