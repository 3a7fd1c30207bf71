/* promotion.c -- follow_promotion: which node is the primary, by what all of them told last?
 * Pure: no I/O, no clock.  Changes nothing; daemon/cluster.c does what it says. */
#include "daemon/promotion.h"

#include <stdio.h>

/* Nodes of one system that are out of recovery by their last word. */
struct leaders {
        uint32_t slots;
        unsigned heirs;    /* those, the primary aside, on a newer timeline than the primary was ever on */
        unsigned heir;     /* one of them */
        unsigned foremost; /* newest timeline of all, the primary's before an equal one */
        uint32_t newest;   /* that timeline */
};

static bool is_used(const struct cluster_node *n) { return n->conf.name[0] != '\0'; }

static bool is_given_up(const struct cluster *c, const struct cluster_node *n)
{
        return n->unanswered >= c->conf.fall;
}

static bool leads(const struct cluster *c, const struct cluster_node *n)
{
        return is_used(n) && n->facts.known && !n->facts.in_recovery && !is_given_up(c, n);
}

/* The system that timelines are compared in; 0: unknown, nodes disagree. */
static uint64_t find_system(const struct cluster *c)
{
        uint64_t all = 0;
        if (c->system_identifier)
                return c->system_identifier;
        if (c->primary != PNR_NO_NODE && c->node[c->primary].facts.known)
                return c->node[c->primary].facts.system_identifier;
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                const struct node_facts *f = &c->node[slot].facts;
                if (!is_used(&c->node[slot]) || !f->known)
                        continue;
                if (all && f->system_identifier != all)
                        return 0;
                all = f->system_identifier;
        }
        return all;
}

static bool answers(const struct cluster *c, unsigned slot)
{
        return slot != PNR_NO_NODE && c->node[slot].answers;
}

/* Did each say that it leads when asked after the other had said so?  One that has just died did not. */
static bool lead_at_once(const struct cluster_node *a, const struct cluster_node *b)
{
        return a->answers && b->answers && mono_reached(a->facts.asked, b->leads_since) &&
               mono_reached(b->facts.asked, a->leads_since);
}

static bool two_lead(const struct cluster *c, uint32_t slots)
{
        for (unsigned a = 0; a < PNR_NODES_MAX; a++)
                for (unsigned b = 0; b < a; b++)
                        if (slots >> a & slots >> b & 1 && lead_at_once(&c->node[a], &c->node[b]))
                                return true;
        return false;
}

static void add_leader(struct leaders *l, const struct cluster *c, unsigned slot)
{
        const struct cluster_node *n = &c->node[slot];
        bool is_primary = slot == c->primary;
        l->slots |= 1u << slot;
        if (n->facts.timeline > l->newest || (is_primary && n->facts.timeline == l->newest)) {
                l->newest = n->facts.timeline;
                l->foremost = slot;
        }
        if (!is_primary && n->facts.timeline > c->timeline) {
                l->heirs++;
                l->heir = slot;
        }
}

static struct leaders find_leaders(const struct cluster *c)
{
        struct leaders l = {.heir = PNR_NO_NODE, .foremost = PNR_NO_NODE};
        uint64_t system = find_system(c);
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                bool kin = system && c->node[slot].facts.system_identifier == system;
                if (leads(c, &c->node[slot]) && (kin || slot == c->primary))
                        add_leader(&l, c, slot);
        }
        return l;
}

/* Has every node been heard, or given up on? */
static bool all_asked(const struct cluster *c)
{
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                const struct cluster_node *n = &c->node[slot];
                if (is_used(n) && !n->facts.known && !is_given_up(c, n) && n->admin != NODE_MAINT)
                        return false;
        }
        return true;
}

/* Who is in maintenance is not asked, and may lead. */
static bool is_gone(const struct cluster *c, unsigned slot)
{
        if (slot == PNR_NO_NODE)
                return true;
        const struct cluster_node *n = &c->node[slot];
        return is_given_up(c, n) || (n->facts.known && n->facts.in_recovery);
}

struct promotion promotion_decide(const struct cluster *c)
{
        struct leaders l = find_leaders(c);
        struct promotion p = {.primary = c->primary,
                              .settled = c->settled,
                              .split_brain =
                                  two_lead(c, l.slots) || (c->split_brain && (l.slots & (l.slots - 1)) != 0)};
        if (!all_asked(c))
                return p;
        if (!c->settled && answers(c, l.foremost)) {
                p.primary = l.foremost;
                p.settled = true;
        } else if (is_gone(c, c->primary) && l.heirs == 1 && answers(c, l.heir)) {
                p.primary = l.heir;
                p.settled = true;
        }
        return p;
}

void promotion_name_rivals(const struct cluster *c, char *ret, size_t size)
{
        uint32_t slots = find_leaders(c).slots;
        size_t n = 0;
        ret[0] = '\0';
        for (unsigned slot = 0; slot < PNR_NODES_MAX && n < size; slot++)
                if (slots >> slot & 1 && slot != c->primary)
                        n += (size_t)snprintf(ret + n, size - n, "%s%s",
                                              n ? ", " : "; also out of recovery: ", c->node[slot].conf.name);
}

bool promotion_is_forked(const struct cluster *c)
{
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                const struct cluster_node *n = &c->node[slot];
                if (is_used(n) && slot != c->primary && n->led_timeline && n->led_timeline == c->timeline &&
                    n->led_system == c->system_identifier)
                        return true;
        }
        return false;
}
