/* bench_ask.c -- what a question to another process costs: our daemon, a server that does nothing, Redis, memcached.
 * bench_ask DIR PEERS: of a running daemon; PEERS holds redis.sock and memcached.sock, or what there is of them.  All
 * servers are on the first core, one question is out at a time.  Redis and memcached hold 100,000 keys. */
#include <hiredis/hiredis.h>
#include <libmemcached/memcached.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/echo.h"
#include "client/pinroute.h"

#define BATCHES  500
#define KEYS     100000ull
#define PIPELINE 64 /* = PINROUTE_BATCH_MAX */
#define SECONDS  15 /* that a pin lasts, or a key of Redis */

static const char *dir;
static struct pinroute *pr;
static unsigned cluster;
static int echo;
static redisContext *redis;
static memcached_st *cache;

struct text {
        char s[33];
};

static struct text text_of(uint64_t number)
{
        struct text t;
        struct bench_key k = bench_key(number);
        snprintf(t.s, sizeof t.s, "%016jx%016jx", (uintmax_t)k.w[0], (uintmax_t)k.w[1]);
        return t;
}

static uint64_t absent(void) { return BENCH_ABSENT + bench_below(BENCH_ABSENT); }
static uint64_t fresh(void) { return 2 * BENCH_ABSENT + bench_below(BENCH_ABSENT); } /* to be written */

/* ---- what is asked ---- */

static bool uds_echo(const struct bench_row *row)
{
        (void)row;
        return echo_ask(echo);
}

static bool record_write(const struct bench_row *row)
{
        struct bench_key k = bench_key(fresh());
        (void)row;
        return pinroute_record_write(pr, cluster, &k, sizeof k, SECONDS) == PINROUTE_OK;
}

static bool record_batch(const struct bench_row *row)
{
        struct bench_key k[PIPELINE];
        struct pinroute_key keys[PIPELINE];
        uint64_t first = fresh();
        (void)row;
        for (unsigned i = 0; i < PIPELINE; i++) {
                k[i] = bench_key(first + i);
                keys[i] = (struct pinroute_key){&k[i], sizeof k[i]};
        }
        return pinroute_record_writes(pr, cluster, keys, PIPELINE, SECONDS) == PINROUTE_OK;
}

static bool is_answer(redisReply *reply, int type)
{
        bool right = reply && reply->type == type;
        freeReplyObject(reply);
        return right;
}

static bool redis_get(const struct bench_row *row)
{
        (void)row;
        return is_answer(redisCommand(redis, "GET %s", text_of(absent()).s), REDIS_REPLY_NIL);
}

static bool redis_set(const struct bench_row *row)
{
        (void)row;
        return is_answer(redisCommand(redis, "SET %s 1 EX %d", text_of(fresh()).s, SECONDS),
                         REDIS_REPLY_STATUS);
}

static bool set_in_pipeline(uint64_t first, const char *format)
{
        bool right = true;
        void *reply = NULL;
        for (uint64_t i = 0; i < PIPELINE; i++)
                redisAppendCommand(redis, format, text_of(first + i).s, SECONDS);
        for (unsigned i = 0; i < PIPELINE; i++)
                right &= redisGetReply(redis, &reply) == REDIS_OK && is_answer(reply, REDIS_REPLY_STATUS);
        return right;
}

static bool redis_set_pipeline(const struct bench_row *row)
{
        (void)row;
        return set_in_pipeline(fresh(), "SET %s 1 EX %d");
}

static bool memcached_get_absent(const struct bench_row *row)
{
        size_t size;
        uint32_t flags;
        memcached_return_t status;
        struct text t = text_of(absent());
        (void)row;
        return !memcached_get(cache, t.s, strlen(t.s), &size, &flags, &status) &&
               status == MEMCACHED_NOTFOUND;
}

/* Timed with its close, which a process does once. */
static bool attach(const struct bench_row *row)
{
        struct pinroute *other;
        struct pinroute_decision d;
        unsigned number;
        (void)row;
        bool right = pinroute_open(&other, dir) == PINROUTE_OK &&
                     pinroute_cluster(other, "main", &number) == PINROUTE_OK &&
                     pinroute_route_read(other, number, NULL, 0, &d) == PINROUTE_OK &&
                     d.reason == PINROUTE_BALANCED;
        pinroute_close(&other);
        return right;
}

/* ---- whom ---- */

static void open_redis(const char *peers)
{
        char path[108];
        snprintf(path, sizeof path, "%s/redis.sock", peers);
        if (access(path, F_OK))
                return;
        redis = redisConnectUnix(path);
        BENCH_MUST(redis && !redis->err);
        for (uint64_t i = 0; i < KEYS; i += PIPELINE)
                BENCH_MUST(set_in_pipeline(i, "SET %s 1"));
}

static void open_memcached(const char *peers)
{
        char path[108], option[128];
        snprintf(path, sizeof path, "%s/memcached.sock", peers);
        if (access(path, F_OK))
                return;
        int n = snprintf(option, sizeof option, "--SOCKET=\"%s\"", path);
        cache = memcached(option, (size_t)n);
        BENCH_MUST(cache);
        for (uint64_t i = 0; i < KEYS; i++) {
                struct text t = text_of(i);
                BENCH_MUST(memcached_set(cache, t.s, strlen(t.s), "1", 1, 0, 0) == MEMCACHED_SUCCESS);
        }
}

#define ROW(row_name, row_batch, row_calls, row_against)                                                     \
        {                                                                                                    \
                .name = (row_name), .batch = (row_batch), .calls = (row_calls), .batches = BATCHES,          \
                .unit = "us", .against = (row_against)                                                       \
        }
static const struct bench_row ours[] = {
    ROW("uds_echo", uds_echo, 1, NULL),
    ROW("record_write", record_write, 1, "uds_echo"),
    ROW("record_batch_64", record_batch, PIPELINE, "redis_set_pipeline_64"),
    ROW("attach", attach, 1, NULL),
};
static const struct bench_row of_redis[] = {
    ROW("redis_get", redis_get, 1, "route_unpinned_100k"),
    ROW("redis_set", redis_set, 1, "record_write"),
    ROW("redis_set_pipeline_64", redis_set_pipeline, PIPELINE, NULL),
};
static const struct bench_row of_memcached[] = {
    ROW("memcached_get", memcached_get_absent, 1, "route_unpinned_100k"),
};

static struct bench_row rows[16];
static size_t n_rows;

static void take(const struct bench_row *some, size_t n)
{
        memcpy(rows + n_rows, some, n * sizeof *some);
        n_rows += n;
}
#define TAKE(some) take(some, sizeof(some) / sizeof *(some))

int main(int argc, char **argv)
{
        char **word = bench_begin(argc, argv, 2, "DIR PEERS");
        dir = word[0];
        BENCH_MUST(pinroute_open(&pr, dir) == PINROUTE_OK &&
                   pinroute_cluster(pr, "main", &cluster) == PINROUTE_OK);
        echo = echo_start();
        open_redis(word[1]);
        open_memcached(word[1]);
        TAKE(ours);
        if (redis)
                TAKE(of_redis);
        if (cache)
                TAKE(of_memcached);
        bench_measure(rows, n_rows, NULL);
        return 0;
}
