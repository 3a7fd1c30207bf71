/* ctl_steps.c -- the decision table as sentences about one key.
 * Decides nothing: says which facts led to the choice that was made. */
#include "client/ctl_steps.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "client/affinity.h"
#include "client/ctl_text.h"

static void step(struct ctl_steps *s, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void step(struct ctl_steps *s, const char *name, const char *format, ...)
{
        struct ctl_step *next = &s->step[s->n++];
        va_list args;
        next->name = name;
        va_start(args, format);
        vsnprintf(next->text, sizeof next->text, format, args);
        va_end(args);
}

/* ---- what the daemon says ---- */

static const char *said(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

/* Of the node, by its name; NULL: it does not answer, or knows no such node. */
static const json_t *node_said(const struct ctl_why *w, unsigned node)
{
        char name[PNR_NAME_SIZE + 1];
        const json_t *nodes = json_object_get(w->daemon, "nodes");
        ctl_why_name(w, node, name);
        for (size_t i = 0; i < json_array_size(nodes); i++) {
                const json_t *n = json_array_get(nodes, i);
                if (!strcmp(said(n, "name"), name))
                        return n;
        }
        return NULL;
}

static const char *fence_of(const struct ctl_why *w)
{
        return said(json_object_get(w->daemon, "fence"), "position");
}

/* "generation 41 is fenced at 0/5A4000" */
static void put_fence(const struct ctl_why *w, char *buf, size_t size)
{
        uint64_t g = ctl_why_generation(w);
        const char *state = said(json_object_get(w->daemon, "fence"), "state");
        char every[CTL_TEXT_SPAN_MAX];
        ctl_text_span(json_integer_value(json_object_get(w->daemon, "fence_interval_ms")), every);
        if (!w->daemon)
                snprintf(buf, size, "its fence only the daemon knows, which does not answer");
        else if (!strcmp(state, "fenced") && *fence_of(w))
                snprintf(buf, size, "generation %" PRIu64 " is fenced at %s", g, fence_of(w));
        else if (!strcmp(state, "fenced"))
                snprintf(buf, size, "generation %" PRIu64 " is fenced", g);
        else if (!strcmp(state, "off"))
                snprintf(buf, size, "early_release is off: only the deadline ends it");
        else
                snprintf(buf, size,
                         "generation %" PRIu64 " is not fenced yet: %s, the primary is asked every %s", g,
                         *state ? state : "-", every);
}

/* ---- one replica ---- */

static void out_of_schedule(const json_t *n, char *buf, size_t size)
{
        char since[CTL_TEXT_SPAN_MAX];
        const char *admin = said(n, "admin"), *state = said(n, "state");
        ctl_text_span(json_integer_value(json_object_get(n, "since_ms")), since);
        if (!n)
                snprintf(buf, size, "no: not in the schedule");
        else if (*admin && strcmp(admin, "ready") != 0)
                snprintf(buf, size, "no: not in the schedule: %s, by an operator", admin);
        else if (strcmp(state, "UP") != 0)
                snprintf(buf, size, "no: not in the schedule: %s for %s: %s", state, since, said(n, "why"));
        else if (!json_integer_value(json_object_get(n, "weight")))
                snprintf(buf, size, "no: not in the schedule: its weight is 0");
        else
                snprintf(buf, size, "no: not in the schedule");
}

/* It lacks what is needed, or is not known to have it. */
static void put_lack(const struct ctl_why *w, unsigned node, const char *what, char *buf, size_t size)
{
        const json_t *n = node_said(w, node), *gap = json_object_get(n, "gap_bytes");
        const char *at = said(n, "position"), *fence = fence_of(w);
        char bytes[CTL_TEXT_SPAN_MAX];
        if (*at && *fence && json_integer_value(gap) > 0)
                snprintf(buf, size, "no: has replayed %s, this %s's fence is %s: %s to go", at, what, fence,
                         ctl_text_bytes(json_integer_value(gap), bytes));
        else if (*at && *fence && gap && !json_is_integer(gap))
                snprintf(buf, size,
                         "no: has replayed %s, but of which timeline is not known, or it is another", at);
        else if (*at && *fence)
                snprintf(buf, size, "no: it had not when this was looked at; by now it has replayed %s", at);
        else if (*at && w->cluster.node[node].caught_up == 0)
                snprintf(buf, size, "no: has replayed %s, and there is no fence to hold that against", at);
        else
                snprintf(buf, size, "no: has reached generation %" PRIu64 " of %" PRIu64,
                         w->cluster.node[node].caught_up, ctl_why_generation(w));
}

static void put_yes(const struct ctl_why *w, unsigned node, char *buf, size_t size)
{
        const char *at = said(node_said(w, node), "position");
        bool needs = w->choice.reason == PINROUTE_CAUGHT_UP && *at;
        snprintf(buf, size, needs ? "yes: has replayed %s" : "yes", at);
}

static bool by_affinity(const struct ctl_why *w) { return w->cluster.flags & PNR_CLUSTER_AFFINITY; }

/* The one bit of the key's own replica, balance = affinity; 0: none is scheduled. */
static uint32_t own_of(const struct ctl_why *w)
{
        return w->cluster.n_schedule ? affinity_of(&w->cluster, w->cluster.scheduled, w->key) : 0;
}

/* Does this key keep to another replica? */
static bool is_anothers(const struct ctl_why *w, unsigned node)
{
        return by_affinity(w) && own_of(w) != 1u << node;
}

void ctl_steps_verdict(const struct ctl_why *w, unsigned node, char *buf, size_t size)
{
        const struct pnr_node *n = &w->cluster.node[node];
        uint64_t need = ctl_why_generation(w);
        int64_t age_ms = ctl_why_stamp_age(w, node);
        if (!ctl_why_is_scheduled(w, node))
                out_of_schedule(node_said(w, node), buf, size);
        else if (w->choice.pool >> node & 1)
                put_yes(w, node, buf, size);
        else if (w->choice.reason == PINROUTE_STORE_STALE || w->choice.reason == PINROUTE_STORE_UNAVAILABLE)
                snprintf(buf, size, "no: the daemon is silent");
        else if (is_anothers(w, node))
                snprintf(buf, size, "no: the key keeps to another one (balance = affinity)");
        else if (n->caught_up < need || n->caught_up == 0)
                put_lack(w, node, ctl_why_pin(w) ? "pin" : "floor", buf, size);
        else if (age_ms >= w->cluster.trust_ms || age_ms < -1000)
                snprintf(buf, size, "no: that answer is %" PRId64 "ms old, and good for %" PRIu32 "ms",
                         age_ms, w->cluster.trust_ms);
        else
                snprintf(buf, size, "no: the primary is asked for");
}

/* ---- the steps ---- */

static void put_need(const struct ctl_why *w, const struct need *n, char *buf, size_t size)
{
        char left[CTL_TEXT_SPAN_MAX], hold[CTL_TEXT_SPAN_MAX];
        if (!n) {
                snprintf(buf, size, "none");
                return;
        }
        int64_t left_ms = n->until_ms - w->facts.now.ms, hold_ms = n->hold_ms - w->facts.now.ms;
        snprintf(buf, size, "generation %" PRIu64 ", %s left%s%s", n->generation,
                 ctl_text_span(left_ms > 0 ? left_ms : 0, left), hold_ms > 0 ? ", held for " : "",
                 hold_ms > 0 ? ctl_text_span(hold_ms, hold) : "");
}

static bool is_held(const struct ctl_why *w, const struct need *n)
{
        return n && n->hold_ms > w->facts.now.ms;
}

/* Replicas of the choice, "a, b"; without one, of the schedule. */
static void put_names(const struct ctl_why *w, uint32_t nodes, char *buf, size_t size)
{
        size_t n = 0;
        char name[PNR_NAME_SIZE + 1];
        buf[0] = '\0';
        for (unsigned i = 0; i < ctl_why_nodes(w) && n < size; i++)
                if (nodes >> i & 1)
                        n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "",
                                              ctl_why_name(w, i, name));
}

static void step_caught_up(const struct ctl_why *w, struct ctl_steps *s)
{
        char fence[200];
        struct need floor;
        bool floored = ctl_why_floor(w, &floor);
        if (is_held(w, ctl_why_pin(w)) || (floored && is_held(w, &floor))) {
                step(s, "caught up", "while it is held, nothing but the primary will do");
                return;
        }
        put_fence(w, fence, sizeof fence);
        step(s, "caught up", "%s; %s", fence,
             w->choice.pool   ? "who has it may serve"
             : by_affinity(w) ? "the key's own replica is not known to have it"
                              : "no replica of the schedule is known to have it");
}

static void step_schedule(const struct ctl_why *w, struct ctl_steps *s)
{
        char names[300];
        put_names(w, w->choice.pool, names, sizeof names);
        bool fails = w->cluster.flags & PNR_CLUSTER_NO_REPLICA_ERROR;
        step(s, "schedule", "%s",
             w->choice.pool ? names
             : fails        ? "empty, and no_replica = error: the call fails with E_NO_REPLICA"
                            : "empty");
}

static void step_own(const struct ctl_why *w, struct ctl_steps *s)
{
        char name[PNR_NAME_SIZE + 1];
        put_names(w, own_of(w), name, sizeof name);
        step(s, "own", "balance = affinity: of the replicas of the schedule, this key keeps to %s",
             own_of(w) ? name : "none, it is empty");
}

void ctl_steps_of(const struct ctl_why *w, struct ctl_steps *s)
{
        char age[CTL_TEXT_SPAN_MAX] = "never", limit[CTL_TEXT_SPAN_MAX], pin[120], of_all[120];
        struct need floor;
        *s = (struct ctl_steps){0};
        if (w->status != VIEW_OK) {
                step(s, "store", "%s/data.mdb: %s", w->dir, w->trouble);
                return;
        }
        if (w->facts.age_ms != INT64_MAX)
                ctl_text_span(w->facts.age_ms, age);
        step(s, "store", "live; its heartbeat, %s old, is trusted for anything below %s", age,
             ctl_text_span(w->facts.stale_limit_ms, limit));
        if (choose_is_void(&w->facts))
                return;
        step(s, "scope", "none here; a worker's request that wrote, or is forced, would end here");
        step(s, "heartbeat", "%s old; writes are recorded below %s", age,
             ctl_text_span(w->facts.stale_after_ms, limit));
        if (choose_is_stale(&w->facts))
                return;
        bool floored = ctl_why_floor(w, &floor);
        put_need(w, ctl_why_pin(w), pin, sizeof pin);
        put_need(w, floored ? &floor : NULL, of_all, sizeof of_all);
        step(s, "need", "pin: %s; floor: %s", pin, of_all);
        if (by_affinity(w))
                step_own(w, s);
        if (floored || ctl_why_pin(w))
                step_caught_up(w, s);
        else
                step_schedule(w, s);
}
