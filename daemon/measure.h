/* measure.h -- what is told of a node in numbers, wherever it is told.  Pure. */
#ifndef PINROUTED_MEASURE_H
#define PINROUTED_MEASURE_H

#include "daemon/cluster.h"

/* How many of the schedule's c->n_schedule places are the node's: its part of the reads. */
unsigned measure_places(const struct cluster *c, unsigned slot);

/* Milliseconds behind the primary.  False: the primary itself, or not known. */
bool measure_lag(const struct cluster *c, unsigned slot, uint64_t *ms);

/* Bytes of WAL behind the newest sample of the primary.  False: not known, or another history. */
bool measure_behind(const struct cluster *c, unsigned slot, uint64_t *bytes);

#endif
