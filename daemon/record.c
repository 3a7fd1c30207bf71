/* record.c -- a cluster as stubs, and the next daemon, find it in the store.
 * Pure: no I/O, no clock.  Fills records, writes none. */
#include "daemon/record.h"

#include <string.h>

static void publish_nodes(const struct cluster *c, struct pnr_cluster *r)
{
        for (unsigned i = 0; i < PNR_NODES_MAX; i++) {
                const struct cluster_node *n = &c->node[i];
                if (!n->conf.name[0])
                        continue;
                struct pnr_node *p = &r->node[i];
                memcpy(p->name, n->conf.name, sizeof p->name);
                p->weight = n->conf.weight;
                p->caught_up = n->caught_up;
                p->stamp_ms = n->stamp.ms;
                r->as_of_ms[i] = n->as_of.ms;
                r->n_nodes = (uint16_t)(i + 1);
                if (cluster_schedules(c, n))
                        r->scheduled |= 1u << i;
        }
}

void record_fill(const struct cluster *c, struct pnr_cluster *ret)
{
        memset(ret, 0, sizeof *ret);
        memcpy(ret->name, c->conf.name, sizeof ret->name);
        ret->open_generation = c->fence.open;
        ret->floor_generation = c->floor_generation;
        ret->floor_until_ms = c->floor_until.ms;
        ret->floor_hold_ms = c->floor_hold.ms;
        ret->flags = (c->removed ? PNR_CLUSTER_REMOVED : 0) |
                     (c->conf.no_replica == CONF_NO_REPLICA_ERROR ? PNR_CLUSTER_NO_REPLICA_ERROR : 0) |
                     (c->conf.balance == CONF_BALANCE_AFFINITY ? PNR_CLUSTER_AFFINITY : 0);
        ret->primary_budget = (uint32_t)c->conf.primary_budget;
        ret->trust_ms = (uint32_t)c->conf.caught_up_trust_ms;
        ret->pin_ms = (uint32_t)c->conf.pin_seconds_ms;
        ret->max_pin_ms = (uint32_t)c->conf.max_pin_seconds_ms;
        ret->primary = (uint16_t)c->primary;
        if (c->settled || !c->conf.follow_promotion) { /* else the next daemon, too, has to make it out */
                ret->system_identifier = c->system_identifier;
                ret->timeline = c->timeline;
        }
        ret->n_schedule = (uint16_t)c->n_schedule;
        memcpy(ret->schedule, c->schedule, c->n_schedule);
        publish_nodes(c, ret);
}
