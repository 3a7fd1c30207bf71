/* promotion.c -- follow_promotion: which node is the primary, by what all of them told last?
 * Pure: no I/O, no clock.  Changes nothing; daemon/cluster.c does what it says. */
#include "daemon/promotion.h"

/* Nodes out of recovery, as far as they answer. */
struct leaders {
        bool all_asked;    /* every node has been heard or given up on */
        bool leads;        /* the primary is one of them */
        unsigned rivals;   /* the others */
        unsigned heirs;    /* rivals on a newer timeline than the primary was ever on */
        unsigned heir;     /* one of those */
        unsigned foremost; /* newest timeline of all, the primary's before an equal one */
        uint32_t newest;   /* that timeline */
};

static void add_leader(struct leaders *l, const struct cluster *c, unsigned slot)
{
        const struct node_facts *f = &c->node[slot].facts;
        bool is_primary = slot == c->primary;
        if (!is_primary && c->system_identifier && f->system_identifier != c->system_identifier)
                return;
        if (is_primary)
                l->leads = true;
        else
                l->rivals++;
        if (f->timeline > l->newest || (is_primary && f->timeline == l->newest)) {
                l->newest = f->timeline;
                l->foremost = slot;
        }
        if (!is_primary && f->timeline > c->timeline) {
                l->heirs++;
                l->heir = slot;
        }
}

static struct leaders find_leaders(const struct cluster *c)
{
        struct leaders l = {.all_asked = true, .heir = PNR_NO_NODE, .foremost = PNR_NO_NODE};
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                const struct cluster_node *n = &c->node[slot];
                if (!n->conf.name[0])
                        continue;
                l.all_asked = l.all_asked && (n->checks || n->admin == NODE_MAINT);
                if (n->answers && !n->facts.in_recovery)
                        add_leader(&l, c, slot);
        }
        return l;
}

struct promotion promotion_decide(const struct cluster *c)
{
        const struct cluster_node *was = c->primary == PNR_NO_NODE ? NULL : &c->node[c->primary];
        struct leaders l = find_leaders(c);
        bool gone = !l.leads && (!was || was->state == NODE_DOWN || was->answers);
        struct promotion p = {.primary = c->primary,
                              .settled = c->settled || (l.all_asked && l.foremost != PNR_NO_NODE),
                              .split_brain = l.rivals > 1 || (l.leads && l.rivals)};
        if (l.all_asked && !c->settled && l.foremost != PNR_NO_NODE)
                p.primary = l.foremost;
        else if (l.all_asked && gone && l.heirs == 1)
                p.primary = l.heir;
        return p;
}
