/* clock.h -- the daemon's one clock: read once per turn of the loop, handed down from there. */
#ifndef PINROUTED_CLOCK_H
#define PINROUTED_CLOCK_H

#include <time.h>

#include "proto/units.h"

static inline int64_t clock_ms(clockid_t id)
{
        struct timespec t;
        clock_gettime(id, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline int64_t clock_us(clockid_t id)
{
        struct timespec t;
        clock_gettime(id, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline struct mono clock_mono(void) { return (struct mono){clock_ms(CLOCK_MONOTONIC)}; }

/* How long this boot has been suspended: grows only while the machine sleeps. */
static inline int64_t clock_suspended_ms(void)
{
        return clock_ms(CLOCK_BOOTTIME) - clock_ms(CLOCK_MONOTONIC);
}

#endif
