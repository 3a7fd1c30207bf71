/* clock.h -- the clocks of the stub: two of CLOCK_MONOTONIC, and the wall's for what leaves this host.
 * Coarse for decisions: 5 ns, no system call, up to one tick late, so that pins only last longer.  Precise
 * for waits. */
#ifndef PINROUTE_CLOCK_H
#define PINROUTE_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "proto/units.h"

#define CLOCK_NS_PER_MS 1000000ll

static inline struct mono clock_coarse(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (struct mono){t.tv_sec * 1000ll + t.tv_nsec / CLOCK_NS_PER_MS};
}

static inline int64_t clock_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static inline int64_t clock_wall_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

static inline int64_t clock_wall_coarse_ms(void)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME_COARSE, &t);
        return t.tv_sec * 1000ll + t.tv_nsec / CLOCK_NS_PER_MS;
}

static inline struct timespec clock_span(int64_t ns)
{
        return (struct timespec){.tv_sec = ns / 1000000000ll, .tv_nsec = ns % 1000000000ll};
}

#endif
