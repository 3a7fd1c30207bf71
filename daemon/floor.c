/* floor.c -- a floor's beginning and end, as news.
 * The floor itself is cluster.c's; stubs judge it by the store's record. */
#include "daemon/floor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cluster.h"
#include "daemon/news.h"

#define PAUSE_MS 10000 /* a host that stalls, or a table that is full, raises several a second */

bool floor_stands(const struct cluster *c, struct mono now)
{
        if (mono_reached(now, c->floor_until) && mono_reached(now, c->floor_hold))
                return false;
        if (!mono_reached(now, c->floor_hold))
                return true;
        unsigned replicas = 0;
        for (const struct cluster_node *n = c->node; n < c->node + PNR_NODES_MAX; n++) {
                if (!n->conf.name[0] || !cluster_schedules(c, n))
                        continue;
                replicas++;
                if (n->caught_up < c->floor_generation)
                        return true;
        }
        return replicas == 0;
}

void floor_say_raised(struct cluster *c, struct mono now)
{
        bool again = c->floor_said.ms && mono_since(now, c->floor_said) < PAUSE_MS &&
                     !strcmp(c->floor_said_why, c->floor_why);
        if (c->floor_told || again)
                return;
        c->floor_told = true;
        c->floor_said = now;
        snprintf(c->floor_said_why, sizeof c->floor_said_why, "%s", c->floor_why);
        news_say(
            LOG_AT_INFO, &(struct news_about){.kind = NEWS_FLOOR, .cluster = c->conf.name, .to = "RAISED"},
            "floor raised (%" PRIu64 " since the start), %" PRId64 " s at most: all keys count as pinned: %s",
            c->floors, (mono_since(c->floor_until, now) + 999) / 1000, c->floor_why);
}

void floor_look(struct cluster *c, struct mono now)
{
        if (!c->floor_told || floor_stands(c, now))
                return;
        c->floor_told = false;
        news_say(
            LOG_AT_INFO,
            &(struct news_about){.kind = NEWS_FLOOR, .cluster = c->conf.name, .from = "RAISED", .to = "OVER"},
            "floor over: %s",
            mono_reached(now, c->floor_until) ? "its time is up"
                                              : "every replica of the schedule has caught up with it");
}
