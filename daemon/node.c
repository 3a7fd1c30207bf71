/* node.c -- judging a node's answers, and the state that follows.
 * Pure: no I/O, no clock. */
#include "daemon/node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void window_push(struct node_window *w, bool good)
{
        w->good = w->good << 1 | good;
        if (w->n < WINDOW_MAX)
                w->n++;
}

bool window_all(const struct node_window *w, unsigned last, bool good)
{
        if (w->n < last)
                return false;
        uint64_t mask = last >= WINDOW_MAX ? UINT64_MAX : (1ull << last) - 1;
        return (w->good & mask) == (good ? mask : 0);
}

enum node_state node_next_state(enum node_state was, const struct node_window *w, unsigned fall,
                                unsigned rise)
{
        bool falls = window_all(w, fall, false), rises = window_all(w, rise, true);
        switch (was) { /* no default: -Wswitch finds the gap */
        case NODE_UP: return falls ? NODE_DOWN : NODE_UP;
        case NODE_DOWN: return rises ? NODE_UP : NODE_DOWN;
        case NODE_UNKNOWN: return rises ? NODE_UP : falls ? NODE_DOWN : NODE_UNKNOWN;
        }
        return was;
}

int64_t node_lag(const struct marks *samples, struct lsn replayed, struct mono now)
{
        uint64_t reached_ms = marks_reached(samples, replayed);
        if (marks_empty(samples) || reached_ms == 0 || replayed.bytes == 0)
                return LAG_UNKNOWN;
        if (reached_ms == marks_newest(samples).mark)
                return 0;
        return mono_since(now, (struct mono){(int64_t)reached_ms});
}

__attribute__((format(printf, 3, 4))) static enum node_verdict
verdict(enum node_verdict v, char why[NODE_WHY_MAX], const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(why, NODE_WHY_MAX, format, args);
        va_end(args);
        return v;
}

enum node_verdict node_judge_replica(struct node_facts *facts, const struct node_standard *by,
                                     struct mono now, char why[NODE_WHY_MAX])
{
        facts->lag_ms = LAG_UNKNOWN;
        if (!facts->in_recovery)
                return verdict(NODE_WRONG, why, "not in recovery: it is a primary, not a replica");
        if (by->system_identifier && facts->system_identifier != by->system_identifier)
                return verdict(NODE_WRONG, why,
                               "another system: identifier %" PRIu64 ", the primary's is %" PRIu64,
                               facts->system_identifier, by->system_identifier);
        /* While the primary is silent its replicas cannot stream: what they told last still stands. */
        uint32_t timeline = facts->timeline || by->primary_answers ? facts->timeline : facts->last_timeline;
        if (timeline && by->timeline && timeline != by->timeline)
                return verdict(NODE_WRONG, why, "on timeline %" PRIu32 ", the primary is on %" PRIu32,
                               timeline, by->timeline);
        if (!timeline)
                return verdict(NODE_BAD, why, "lag unknown: %s",
                               facts->hint[0] ? facts->hint : "timeline unknown");
        /* Of a primary that is gone nothing newer can be replayed: its replicas lag as they did when it went.
         */
        struct mono as_of =
            by->primary_answers ? now : (struct mono){(int64_t)marks_newest(by->samples).mark};
        facts->lag_ms = node_lag(by->samples, facts->position, as_of);
        if (facts->lag_ms == LAG_UNKNOWN)
                return verdict(NODE_BAD, why,
                               marks_empty(by->samples)
                                   ? "lag unknown: the primary has not answered yet"
                                   : "lag unknown: behind every known position of the primary");
        if (facts->lag_ms > by->limit_ms)
                return verdict(NODE_BAD, why, "lag %" PRId64 " ms, limit %" PRId64 " ms", facts->lag_ms,
                               by->limit_ms);
        return verdict(NODE_GOOD, why, "%s", "");
}

enum node_verdict node_judge_primary(const struct node_facts *facts, char why[NODE_WHY_MAX])
{
        if (facts->in_recovery)
                return verdict(NODE_WRONG, why, "in recovery: it is a replica, not a primary");
        return verdict(NODE_GOOD, why, "%s", "");
}

const char *node_state_name(enum node_state s)
{
        static const char *const name[] = {"UNKNOWN", "UP", "DOWN"};
        return name[s];
}

const char *node_admin_name(enum node_admin a)
{
        static const char *const name[] = {"ready", "drain", "maint"};
        return name[a];
}
