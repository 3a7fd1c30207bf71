/* histogram.h -- how often a time fell below each of some bounds.  Pure.
 * 120 bytes; adding costs a few nanoseconds. */
#ifndef PINROUTED_HISTOGRAM_H
#define PINROUTED_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS 13

struct histogram_bounds {
        uint32_t us[HISTOGRAM_BOUNDS]; /* rising */
};

struct histogram {
        uint64_t n[HISTOGRAM_BOUNDS + 1]; /* up to each bound and above the one before; the last: above all */
        uint64_t sum_us;
};

/* 1 ms to 10 s. */
extern const struct histogram_bounds histogram_of_checks;
/* 5 ms to 60 s. */
extern const struct histogram_bounds histogram_of_releases;

/* `times` observations of `us` microseconds. */
void histogram_add(struct histogram *h, const struct histogram_bounds *by, uint64_t us, uint64_t times);

#endif
