/* release.h -- how a cluster's pins ended: early, when a replica had caught up with them, or at their deadlines.
 * Pure.  It counts; it decides nothing.
 *
 * Pins are counted by batches: those of one generation, whose deadline is the latest among them.  Where many batches
 * live, because no replica catches up, records of a longer stretch of time share one (a part of 1/RELEASE_COARSE of the
 * pin's own time): its pins are then told a little later.  A key that is recorded again counts again.  A held pin is
 * released by nobody.  Pins of an earlier daemon are not counted. */
#ifndef PINROUTED_RELEASE_H
#define PINROUTED_RELEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/histogram.h"
#include "proto/units.h"

#define RELEASE_FINE    32 /* batches of one generation each */
#define RELEASE_COARSE  32
#define RELEASE_BATCHES (RELEASE_FINE + RELEASE_COARSE + 8)

struct release {
        struct release_batch {
                uint64_t generation; /* the newest in it */
                uint64_t pins;
                struct mono first, until; /* recorded; the last deadline */
                bool held;
        } batch[RELEASE_BATCHES]; /* by `first` */
        unsigned n;
        uint64_t created, early, expired; /* pins; created is the sum of the others and of what lives */
        struct histogram delay;           /* histogram_of_releases: from `first` to the first replica */
};

/* So many pins were recorded, or renewed, at once. */
void release_record(struct release *r, uint64_t generation, uint64_t pins, bool held, struct mono until,
                    struct mono now);

/* A replica that is read from has caught up with this generation, which may be an old one. */
void release_reach(struct release *r, uint64_t generation, struct mono now);

/* Time has passed. */
void release_expire(struct release *r, struct mono now);

#endif
