/* route.h -- one size of the question: so many pins in a store of ours, as many keys in a plain LMDB environment.
 * And the rows that ask either; a row's `arg` is its struct route. */
#ifndef BENCH_ROUTE_H
#define BENCH_ROUTE_H

#include "bench/bench.h"
#include "bench/kept.h"
#include "bench/raw.h"
#include "client/pinroute.h"

#define ROUTE_CALLS 1000

struct route {
        struct kept kept;
        struct raw raw;
        struct pinroute *pr;
        unsigned cluster;
        uint64_t pins; /* now */
};

uint64_t route_bytes(uint64_t max_pins); /* of shared memory, for both */

/* Both, empty, in a directory that is there. */
void route_start(struct route *r, const char *dir, const char *name, uint64_t max_pins);

/* Fills both; the store may be filled until route_wait(). */
void route_fill(struct route *r, uint64_t pins);
void route_wait(struct route *r);
void route_attach(struct route *r, const char *dir);

/* A heartbeat: the store counts as live for a minute more. */
void route_beat(struct route *r);

bool route_raw(const struct bench_row *row); /* keys that are not there */
bool route_unpinned(const struct bench_row *row);
bool route_pinned(const struct bench_row *row);

#define ROUTE_ROW(row_name, row_batch, route, row_batches, row_against)                                      \
        {                                                                                                    \
                .name = (row_name), .batch = (row_batch), .arg = (route), .calls = ROUTE_CALLS,              \
                .batches = (row_batches), .unit = "ns", .against = (row_against)                             \
        }

#endif
