/* pump.h -- pins that arrive at a daemon, as from 64 workers with a connection each.
 * And the pace at which anything arrives. */
#ifndef BENCH_PUMP_H
#define BENCH_PUMP_H

#include <stdint.h>

#define PUMP_WORKERS 64

struct pump {
        int fd[PUMP_WORKERS];
        int64_t slowest_ns; /* longest wait for an answer */
};

void pump_open(struct pump *p, const char *dir);

/* Records n keys, those of bench_key(first) and on, at once and each by a worker of its own, for `ms` in cluster
 * main; waits for all answers, which must be OK. */
void pump_record(struct pump *p, uint64_t first, unsigned n, uint32_t ms);

/* The same for up to PNR_RECORDS_MAX keys in one frame of one worker: one commit. */
void pump_batch(struct pump *p, uint64_t first, unsigned n, uint32_t ms);

struct pace {
        uint64_t per_second; /* 0: as fast as it goes */
        uint64_t done;
        int64_t from_ns;
};

/* How many are due now, 1 .. PUMP_WORKERS; sleeps until there is one.  They count as done. */
unsigned pace_next(struct pace *p);

#endif
