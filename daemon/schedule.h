/* schedule.h -- smooth weighted round robin, spelled out as the sequence that stubs step through.  Pure. */
#ifndef PINROUTED_SCHEDULE_H
#define PINROUTED_SCHEDULE_H

#include <stdint.h>

#include "proto/store.h"

/* Writes the sequence for weight[0..n-1] (0: left out) into `ret` and returns its length,
 * 0..PNR_SCHEDULE_MAX. Each node stands in it in proportion to its weight (weights are divided by their
 * common divisor) and spread evenly: nginx's smooth weighted round robin, 2012.  Weights whose sum is still
 * above PNR_SCHEDULE_MAX are scaled down to it, each node keeping at least one place: shares are then off by
 * at most half a place in PNR_SCHEDULE_MAX per node. */
unsigned schedule_build(const unsigned *weight, unsigned n, uint8_t ret[PNR_SCHEDULE_MAX]);

#endif
