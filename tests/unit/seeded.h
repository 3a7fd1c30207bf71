/* seeded.h -- small pseudo-random numbers from a seed, so that a failing run can be played again.
 * PNR_SEED in the environment takes the place of the test's own seed. */
#ifndef SEEDED_H
#define SEEDED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint64_t seeded_start(uint64_t own)
{
        const char *given = getenv("PNR_SEED");
        uint64_t seed = given ? strtoull(given, NULL, 0) : own;
        return seed ? seed : 1;
}

/* Marsaglia's xorshift64. */
static inline uint64_t seeded_next(uint64_t *s)
{
        *s ^= *s << 13;
        *s ^= *s >> 7;
        return *s ^= *s << 17;
}

static inline uint64_t seeded_below(uint64_t *s, uint64_t bound) { return (seeded_next(s) >> 11) % bound; }

#endif
