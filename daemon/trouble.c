/* trouble.c -- what keeps this daemon from giving what it was configured to give, in sentences.
 * Reads the core; the only file that decides what counts as degraded. */
#include "daemon/trouble.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemon/promotion.h"
#include "daemon/verdict.h"

struct teller {
        trouble_say_fn *say;
        void *arg;
        unsigned told;
};

__attribute__((format(printf, 2, 3))) static void tell(struct teller *t, const char *format, ...)
{
        char text[2 * PNR_NAME_SIZE + NODE_WHY_MAX + 384];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        t->say(t->arg, text);
        t->told++;
}

static unsigned good_in_a_row(const struct node_window *w)
{
        unsigned n = 0;
        while (n < w->n && window_all(w, n + 1, true))
                n++;
        return n;
}

/* "main/shadow-1 is DOWN: ...".  Nothing is wrong with a node that has yet to show itself: say how far it is. */
static void tell_of_node(const struct cluster *c, const struct cluster_node *n, struct teller *t)
{
        char progress[64];
        if (!n->conf.name[0] || n->state == NODE_UP || n->admin != NODE_READY)
                return;
        snprintf(progress, sizeof progress, "%u of %" PRId64 " good checks so far", good_in_a_row(&n->window),
                 c->conf.rise);
        tell(t, "%s/%s is %s: %s", c->conf.name, n->conf.name, node_state_name(n->state),
             n->why[0] ? n->why : progress);
}

/* An operator's own doing is no trouble as long as something is left to read from; nor is a cluster without replicas
 * that could be. */
static void tell_of_none_left(const struct cluster *c, struct teller *t)
{
        char reads[VERDICT_TEXT_MAX];
        unsigned out = 0, waited_for = 0, unknown = 0;
        if (verdict_count(c).read)
                return;
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                const struct cluster_node *n = &c->node[slot];
                if (!n->conf.name[0] || slot == c->primary || !n->conf.weight)
                        continue;
                out += n->admin != NODE_READY;
                waited_for += n->admin == NODE_READY;
                unknown += n->admin == NODE_READY && n->state == NODE_UNKNOWN;
        }
        verdict_of_no_replica(c, reads);
        if (waited_for)
                tell(t, "%s: no replica is read from%s: %s", c->conf.name, unknown ? " yet" : "", reads);
        else if (out)
                tell(t,
                     "%s: no replica is read from: drain or maint is in force for %s; "
                     "`pinroutectl ready NODE` ends it. Until then %s",
                     c->conf.name, out == 1 ? "the only one" : "all of them", reads);
}

static void tell_of_split_brain(const struct cluster *c, struct teller *t)
{
        char rivals[NODE_WHY_MAX];
        promotion_name_rivals(c, rivals, sizeof rivals);
        tell(t, "%s: split brain: more than one node is out of recovery; the primary is %s%s", c->conf.name,
             c->primary == PNR_NO_NODE ? "unknown" : c->node[c->primary].conf.name, rivals);
}

static void tell_of_cluster(const struct cluster *c, struct teller *t)
{
        tell_of_none_left(c, t);
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                tell_of_node(c, &c->node[slot], t);
        if (c->split_brain)
                tell_of_split_brain(c, t);
}

unsigned trouble_tell(const struct core *core, struct mono now, trouble_say_fn *say, void *arg)
{
        struct teller t = {.say = say, .arg = arg};
        for (unsigned i = 0; i < core->n_clusters; i++)
                tell_of_cluster(core->cluster[i], &t);
        if (core->table_full)
                tell(&t, "the pin table is full: writes are kept as a floor; raise max_pins");
        if (core->reload_refused)
                tell(&t,
                     "the last reload was refused, an older config is in force: `pinrouted -t` tells why");
        if (!core_serves(core, now))
                tell(&t, "writes are not being acknowledged: see the log");
        return t.told;
}
