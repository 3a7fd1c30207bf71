/* lock.h -- a lock with a deadline that is free when its memory is zero.
 * It lies in memory that a fork wipes, so that a child never waits for a thread that it does not have. */
#ifndef PINROUTE_LOCK_H
#define PINROUTE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lock {
        atomic_uint state; /* 0 free, 1 held, 2 held and somebody may be waiting */
};

/* No system call unless it is contended.  false: not within the deadline (clock_ns()). */
bool lock_take(struct lock *l, int64_t deadline_ns);
void lock_give(struct lock *l);

#endif
