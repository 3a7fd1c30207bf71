/* raw.h -- a plain LMDB environment, used as a careful user would: what a decision is measured against.
 * A key is the first 16 bytes of a number's bench_key(), its value all 32. */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

struct raw {
        MDB_env *env;
        MDB_dbi dbi;
        MDB_txn *reader; /* reset between look-ups */
};

/* Opens DIR/NAME, and makes it if there is none.  One process, one raw_open(). */
void raw_open(struct raw *r, const char *dir, const char *name, uint64_t max_keys);
uint64_t raw_bytes(uint64_t max_keys); /* of shared memory, at most */

/* Puts the numbers first .. first+n-1, in one transaction. */
void raw_put(struct raw *r, uint64_t first, uint64_t n);

/* `calls` look-ups of keys that are not there: renew, get, reset. */
bool raw_get_absent(struct raw *r, unsigned calls);

#endif
