/* verdict.c -- findings, worded for whoever looks at three in the morning.
 * Pure: no I/O, no clock. */
#include "daemon/verdict.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/promotion.h"
#include "daemon/span.h"

struct findings {
        enum verdict_weight weight; /* of those that are wanted */
        verdict_say_fn *say;
        void *arg;
        unsigned n;
};

__attribute__((format(printf, 3, 4))) static void find(struct findings *f, enum verdict_weight weight,
                                                       const char *format, ...)
{
        char text[VERDICT_TEXT_MAX];
        va_list args;
        if (weight != f->weight)
                return;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        f->say(f->arg, text);
        f->n++;
}

/* NOLINTBEGIN(bugprone-macro-parentheses): n is the name of a variable */
#define FOR_EACH_NODE(c, n)                                                                                  \
        for (const struct cluster_node *n = (c)->node; n < (c)->node + PNR_NODES_MAX; n++)                   \
                if (n->conf.name[0])
/* NOLINTEND(bugprone-macro-parentheses) */

static const char *plural(unsigned n) { return n == 1 ? "" : "s"; }

static const char *primary_of(const struct cluster *c)
{
        return c->primary == PNR_NO_NODE ? "unknown" : c->node[c->primary].conf.name;
}

static bool leads(const struct cluster *c, const struct cluster_node *n) { return n - c->node == c->primary; }

struct verdict_replicas verdict_count(const struct cluster *c)
{
        struct verdict_replicas count = {0};
        FOR_EACH_NODE (c, n) {
                count.all += !leads(c, n);
                count.read += cluster_schedules(c, n);
        }
        return count;
}

/* ---- one node ---- */

void verdict_of_progress(const struct cluster *c, const struct cluster_node *n, char ret[VERDICT_TEXT_MAX])
{
        unsigned good = 0;
        while (good < n->window.n && window_all(&n->window, good + 1, true))
                good++;
        snprintf(ret, VERDICT_TEXT_MAX, "%u of %" PRId64 " good checks so far", good, c->conf.rise);
}

static void find_in_node(const struct cluster *c, const struct cluster_node *n, struct mono now,
                         struct findings *f)
{
        char why[VERDICT_TEXT_MAX];
        const char *name = n->conf.name, *of = c->conf.name, *state = node_state_name(n->state);
        struct span since = span_time(mono_since(now, n->since));
        snprintf(why, sizeof why, "%s", n->why);
        if (!why[0])
                verdict_of_progress(c, n, why);
        if (n->admin == NODE_MAINT)
                find(f, VERDICT_NOTE,
                     "%s/%s is in maintenance by an operator: it is not checked and not read from.", of,
                     name);
        else if (n->admin == NODE_DRAIN)
                find(f, VERDICT_NOTE, "%s/%s is drained by an operator: no new reads go there.", of, name);
        else if (n->state != NODE_UP && leads(c, n))
                find(f, VERDICT_ALARM, "%s/%s, the primary, is %s (%s): %s. %s meet its errors.", of, name,
                     state, since.text, why,
                     verdict_count(c).read
                         ? "Reads without a key go on at the replicas; writes, and reads that "
                           "must see one,"
                         : "Writes, and all reads that go to it,");
        else if (n->state != NODE_UP)
                find(f, VERDICT_TROUBLE, "%s/%s is %s (%s): %s. No reads go there.", of, name, state,
                     since.text, why);
}

/* ---- floor ---- */

/* Age does not matter to a reader of this page: a replica that may have gone back says 0. */
static unsigned count_past_floor(const struct cluster *c)
{
        unsigned past = 0;
        FOR_EACH_NODE (c, n)
                past += cluster_schedules(c, n) && n->caught_up >= c->floor_generation;
        return past;
}

bool verdict_of_cost(const struct cluster *c, struct mono now, char ret[VERDICT_TEXT_MAX])
{
        const size_t size = VERDICT_TEXT_MAX;
        struct verdict_replicas count = verdict_count(c);
        unsigned past = count_past_floor(c);
        if (!mono_reached(now, c->floor_hold))
                snprintf(ret, size, "keyed reads go to the primary for %s more, for a hold",
                         span_time(mono_since(c->floor_hold, now)).text);
        else if (!past)
                snprintf(ret, size, "keyed reads go to the primary until a replica has caught up");
        else if (past < count.read)
                snprintf(ret, size, "%u of %u replicas have caught up and take keyed reads", past,
                         count.read);
        else {
                snprintf(ret, size, "all replicas have caught up, so it costs nothing");
                return false;
        }
        return true;
}

bool verdict_of_floor(const struct cluster *c, struct mono now, char ret[VERDICT_TEXT_MAX])
{
        char cost[VERDICT_TEXT_MAX];
        if (mono_reached(now, c->floor_until)) {
                snprintf(ret, VERDICT_TEXT_MAX, "none");
                return false;
        }
        bool costs = verdict_of_cost(c, now, cost);
        snprintf(ret, VERDICT_TEXT_MAX, "every key counts as pinned for %s more (%s); %.128s",
                 span_time(mono_since(c->floor_until, now)).text, c->floor_why, cost);
        return costs;
}

/* ---- one cluster ---- */

/* Reads of a pinned key wait for their write: the primary takes them, whatever the config says of the others. */
void verdict_of_no_replica(const struct cluster *c, char ret[VERDICT_TEXT_MAX])
{
        if (c->conf.no_replica == CONF_NO_REPLICA_ERROR)
                snprintf(ret, VERDICT_TEXT_MAX,
                         "its reads fail with E_NO_REPLICA, but for those of pinned keys, which go to the "
                         "primary");
        else if (c->conf.primary_budget)
                snprintf(ret, VERDICT_TEXT_MAX,
                         "its reads with a key go to the primary, and %" PRId64
                         " a second of those without one; the rest fail with E_NO_REPLICA",
                         c->conf.primary_budget);
        else
                snprintf(ret, VERDICT_TEXT_MAX, "all its reads go to the primary");
}

/* An operator who has taken out the last one has left nothing to read from: that is a trouble, too. */
static void find_no_replica(const struct cluster *c, struct findings *f)
{
        char reads[VERDICT_TEXT_MAX];
        unsigned able = 0, ready = 0;
        FOR_EACH_NODE (c, n) {
                able += !leads(c, n) && n->conf.weight;
                ready += !leads(c, n) && n->conf.weight && n->admin == NODE_READY;
        }
        enum verdict_weight weight = ready ? VERDICT_ALARM : able ? VERDICT_TROUBLE : VERDICT_NOTE;
        verdict_of_no_replica(c, reads);
        find(f, weight, "%s has no replica to read from%s: %s.", c->conf.name,
             weight == VERDICT_TROUBLE ? ", for an operator has taken them all out" : "", reads);
}

static void find_in_cluster(const struct cluster *c, struct mono now, struct findings *f)
{
        struct verdict_replicas count = verdict_count(c);
        char rivals[NODE_WHY_MAX];
        promotion_name_rivals(c, rivals, sizeof rivals);
        if (c->split_brain)
                find(f, VERDICT_ALARM,
                     "%s has a split brain: reads follow %s, the primary so far%s. What is written to "
                     "another is "
                     "not seen.",
                     c->conf.name, primary_of(c), rivals);
        if (count.all && !count.read)
                find_no_replica(c, f);
        FOR_EACH_NODE (c, n)
                find_in_node(c, n, now, f);
        char floor[VERDICT_TEXT_MAX];
        if (verdict_of_floor(c, now, floor) && count.read)
                find(f, VERDICT_NOTE, "%s has a floor: %s.", c->conf.name, floor);
}

/* ---- all ---- */

static void find_in_daemon(const struct core *core, struct mono now, struct findings *f)
{
        if (!core->store || core_is_silent(core, now))
                find(f, VERDICT_ALARM,
                     "Writes are not being acknowledged: see the log. Keyed reads go to the primary.");
        if (core->table_full)
                find(f, VERDICT_TROUBLE,
                     "The pin table is full: writes pin their whole cluster, so that keyed reads go to the "
                     "primary until "
                     "replicas have caught up; raise max_pins.");
        if (core->reload_refused)
                find(f, VERDICT_TROUBLE,
                     "The last reload was refused: an older config is in force, and reads go by that; "
                     "pinrouted -t "
                     "tells why.");
}

unsigned verdict_each(const struct core *core, struct mono now, enum verdict_weight weight,
                      verdict_say_fn *say, void *arg)
{
        struct findings f = {weight, say, arg, 0};
        find_in_daemon(core, now, &f);
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!core->cluster[i]->removed)
                        find_in_cluster(core->cluster[i], now, &f);
        return f.n;
}

void verdict_of_good(const struct core *core, char ret[VERDICT_TEXT_MAX])
{
        unsigned read = 0, clusters = 0;
        const char *name = "";
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!core->cluster[i]->removed) {
                        read += verdict_count(core->cluster[i]).read;
                        name = core->cluster[i]->conf.name;
                        clusters++;
                }
        if (!read)
                snprintf(ret, VERDICT_TEXT_MAX, "All reads go to the primary.");
        else if (clusters == 1)
                snprintf(ret, VERDICT_TEXT_MAX, "Reads are spread over %u replica%s of %s.", read,
                         plural(read), name);
        else
                snprintf(ret, VERDICT_TEXT_MAX, "Reads are spread over %u replica%s of %u clusters.", read,
                         plural(read), clusters);
}
