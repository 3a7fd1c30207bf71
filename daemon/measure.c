/* measure.c -- what is told of a node in numbers.
 * Pure: no I/O, no clock. */
#include "daemon/measure.h"

unsigned measure_places(const struct cluster *c, unsigned slot)
{
        unsigned places = 0;
        for (unsigned i = 0; i < c->n_schedule; i++)
                places += c->schedule[i] == slot;
        return places;
}

bool measure_lag(const struct cluster *c, unsigned slot, uint64_t *ms)
{
        int64_t lag_ms = c->node[slot].facts.lag_ms;
        if (slot == c->primary || lag_ms == LAG_UNKNOWN)
                return false;
        *ms = (uint64_t)lag_ms;
        return true;
}

bool measure_behind(const struct cluster *c, unsigned slot, uint64_t *bytes)
{
        const struct node_facts *f = &c->node[slot].facts;
        uint64_t at = f->position.bytes, newest = marks_newest(&c->samples).at.bytes;
        if (!f->known || !at || !newest || !c->timeline || f->timeline != c->timeline)
                return false;
        *bytes = newest > at ? newest - at : 0;
        return true;
}
