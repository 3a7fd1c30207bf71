/* raw.c -- a plain LMDB environment: opened, filled, asked.
 * The best a careful user of liblmdb writes: one reader for all look-ups, renewed and reset. */
#include "bench/raw.h"

#include <errno.h>
#include <sys/stat.h>

#include "bench/bench.h"

uint64_t raw_bytes(uint64_t max_keys) { return (16ull << 20) + max_keys * 192; }

void raw_open(struct raw *r, const char *dir, const char *name, uint64_t max_keys)
{
        char path[128];
        MDB_txn *txn;
        snprintf(path, sizeof path, "%s/%s", dir, name);
        BENCH_MUST(mkdir(path, 0700) == 0 || errno == EEXIST);
        BENCH_MUST(!mdb_env_create(&r->env) && !mdb_env_set_mapsize(r->env, raw_bytes(max_keys)));
        BENCH_MUST(!mdb_env_open(r->env, path, MDB_NOSYNC | MDB_NOTLS, 0600));
        BENCH_MUST(!mdb_txn_begin(r->env, NULL, 0, &txn) && !mdb_dbi_open(txn, NULL, 0, &r->dbi));
        BENCH_MUST(!mdb_txn_commit(txn) && !mdb_txn_begin(r->env, NULL, MDB_RDONLY, &r->reader));
        mdb_txn_reset(r->reader);
}

void raw_put(struct raw *r, uint64_t first, uint64_t n)
{
        MDB_txn *txn;
        BENCH_MUST(!mdb_txn_begin(r->env, NULL, 0, &txn));
        for (uint64_t i = first; i < first + n; i++) {
                struct bench_key k = bench_key(i);
                MDB_val key = {16, &k}, value = {sizeof k, &k};
                BENCH_MUST(!mdb_put(txn, r->dbi, &key, &value, 0));
        }
        BENCH_MUST(!mdb_txn_commit(txn));
}

bool raw_get_absent(struct raw *r, unsigned calls)
{
        bool right = true;
        for (unsigned i = 0; i < calls; i++) {
                struct bench_key k = bench_key(BENCH_ABSENT + bench_below(BENCH_ABSENT));
                MDB_val key = {16, &k}, value;
                int rc = mdb_txn_renew(r->reader);
                rc = rc ? rc : mdb_get(r->reader, r->dbi, &key, &value);
                mdb_txn_reset(r->reader);
                right &= rc == MDB_NOTFOUND;
                bench_answered((uint64_t)rc);
        }
        return right;
}
