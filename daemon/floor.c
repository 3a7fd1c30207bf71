/* floor.c -- the pin of a whole cluster, and its beginning and end, as news.
 * Stubs judge it by the store's record. */
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

static void say_raised(struct cluster *c, struct mono now)
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

void floor_raise(struct cluster *c, struct mono now, int64_t ms, const char *why)
{
        c->floor_generation = cluster_pin(c, now, ms);
        c->floor_until = mono_later(c->floor_until, mono_plus(now, ms));
        snprintf(c->floor_why, sizeof c->floor_why, "%s", why);
        c->floors++;
        c->dirty = true;
        say_raised(c, now);
}

void floor_hold_until(struct cluster *c, struct mono until)
{
        cluster_hold(c, until);
        c->floor_hold = mono_later(c->floor_hold, until);
        c->dirty = true;
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
