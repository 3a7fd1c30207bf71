/* kept.h -- a store with many pins, kept by a process of its own.
 * Its pins are the numbers 0 .. n-1 of bench_key(), and outlive the benchmark. */
#ifndef BENCH_KEPT_H
#define BENCH_KEPT_H

#include <stdint.h>

#include "tests/unit/fake_daemon.h"

struct kept {
        char dir[64];
        int ask;
        struct fake fake; /* tells those who open the store its clock */
};

/* Makes DIR/NAME, a store of cluster "main" with a primary and two replicas, without a pin.  Ends with this process. */
void kept_start(struct kept *k, const char *dir, const char *name, uint64_t max_pins);
uint64_t kept_bytes(uint64_t max_pins); /* of shared memory */

/* Has it hold so many, written in batches of 64, and commit a heartbeat.  Another is asked only after kept_wait(). */
void kept_ask(struct kept *k, uint64_t pins);
void kept_wait(struct kept *k);

#endif
