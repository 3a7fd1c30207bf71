/* names.c -- the names of clusters that a handle was asked for, and their numbers.
 * Pure but for the lock. */
#include "client/names.h"

#include <limits.h>
#include <string.h>

#include "client/clock.h"

#define WAIT_NS (1000 * CLOCK_NS_PER_MS)

static unsigned find(const struct names *n, const char name[PINROUTE_NODE_SIZE])
{
        for (unsigned i = 0; i < names_count(n); i++)
                if (memcmp(n->name[i], name, PINROUTE_NODE_SIZE) == 0)
                        return i;
        return UINT_MAX;
}

static unsigned add(struct names *n, const char name[PINROUTE_NODE_SIZE])
{
        unsigned number = find(n, name), last = names_count(n);
        if (number == UINT_MAX && last < PINROUTE_CLUSTERS_MAX) {
                memcpy(n->name[last], name, PINROUTE_NODE_SIZE);
                atomic_store_explicit(&n->n, last + 1, memory_order_release);
                number = last;
        }
        return number;
}

unsigned names_number(struct names *n, struct lock *lock, const char name[PINROUTE_NODE_SIZE])
{
        unsigned number = find(n, name);
        if (number != UINT_MAX || !lock_take(lock, clock_ns() + WAIT_NS))
                return number;
        number = add(n, name);
        lock_give(lock);
        return number;
}
