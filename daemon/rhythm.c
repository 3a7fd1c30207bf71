/* rhythm.c -- when a node of a cluster is next to be asked: health checks, fences, replicas' positions.
 * Pure: no I/O, no clock, asks nobody. */
#include "daemon/rhythm.h"

#define FIRST_CHECKS_MS 50 /* between checks of a node of unknown state, so that a start is quick */

bool rhythm_releases(const struct cluster *c, struct mono now)
{
        return c->conf.early_release && cluster_waits(c, now);
}

/* An answer ends pins for caught_up_trust only, so the next one must be there well before. */
static int64_t replica_pause_ms(const struct cluster *c)
{
        int64_t third = c->conf.caught_up_trust_ms / 3;
        return third < c->conf.fence_interval_ms ? third : c->conf.fence_interval_ms;
}

struct mono rhythm_due(const struct cluster *c, const struct cluster_node *n, struct mono now)
{
        struct mono due = n->due;
        if (!rhythm_releases(c, now))
                return due;
        if (n - c->node == c->primary && fence_wanted(&c->fence))
                return mono_sooner(due, mono_plus(c->fenced_at, c->conf.fence_interval_ms));
        if (cluster_schedules(c, n) && c->fence.fenced)
                return mono_sooner(due, mono_plus(n->sent, replica_pause_ms(c)));
        return due;
}

bool rhythm_take_turn(const struct cluster *c, struct cluster_node *n, struct mono now)
{
        if (!mono_reached(now, n->due))
                return false;
        int64_t interval = n->state == NODE_UNKNOWN && c->conf.check_interval_ms > FIRST_CHECKS_MS
                               ? FIRST_CHECKS_MS
                               : c->conf.check_interval_ms;
        n->due = mono_later(mono_plus(n->due, interval), mono_plus(now, interval / 2));
        return true;
}

struct mono rhythm_next_due(const struct cluster *c, struct mono now)
{
        struct mono due = mono_plus(now, c->conf.check_interval_ms ? c->conf.check_interval_ms : 1000);
        for (unsigned i = 0; i < PNR_NODES_MAX; i++) {
                const struct cluster_node *n = &c->node[i];
                if (!n->conf.name[0] || n->admin == NODE_MAINT)
                        continue;
                struct mono given_up = mono_plus(n->sent, c->conf.check_timeout_ms + PROBER_GRACE_MS);
                due = mono_sooner(due, n->asked ? given_up : rhythm_due(c, n, now));
        }
        return due;
}
