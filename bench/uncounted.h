/* uncounted.h -- included before each file of a stub that counts nothing, to measure what counting costs.
 * No public switch: only the benchmark builds it. */
#ifndef BENCH_UNCOUNTED_H
#define BENCH_UNCOUNTED_H

#include "client/tally.h"

#define tally_add(tally, fresh, place) ((void)(tally), (void)(fresh), (void)(place))

#endif
