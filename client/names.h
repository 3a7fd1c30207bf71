/* names.h -- the names of clusters that a handle was asked for, and their numbers.
 * Names are added, never changed: those that are there are read without the lock.  Zeros are none. */
#ifndef PINROUTE_NAMES_H
#define PINROUTE_NAMES_H

#include <stdatomic.h>

#include "client/lock.h"
#include "client/pinroute.h"

struct names {
        atomic_uint n;
        char name[PINROUTE_CLUSTERS_MAX][PINROUTE_NODE_SIZE];
};

static inline unsigned names_count(const struct names *n)
{
        return atomic_load_explicit(&n->n, memory_order_acquire);
}

/* The number of `name`, padded with NULs, which is added if need be, under the lock.  UINT_MAX: there is no room, or the
 * lock is not to be had within a second. */
unsigned names_number(struct names *n, struct lock *lock, const char name[PINROUTE_NODE_SIZE]);

#endif
