/* stale_read.c -- does a read decided after record_write() ever miss the write?  Pairs of processes on
 * real servers, driven by test_stale_read.py.
 * Needs: create table stale_read (k bigint primary key, v bigint not null).
 *
 *   stale_read DIR ROUNDS [pairs=N] [keys=N] [pause=MS] [idle=MS] [spread=MS] [async] [ignore-pins]
 *     ROUNDS   commits per pair: a writer commits on the primary, records, and then tells its reader of it
 *     keys     written at random (64); with spread, each in its turn
 *     pause    writers wait up to twice as long between rounds (20)
 *     idle     readers wait up to this long for news, then read some key that they know of (10)
 *     spread   reads are of keys at any age up to this, and only those from then on count (offload)
 *     async    no pair commits synchronously; without it, each second one does
 * Pairs 2, 3, 6, 7 ... open a handle of their own, the others use that from before the fork.
 * Prints one line of `name=number`; exits 1 when a read was stale or anything failed. */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "client/pinroute.h"

#define PAIRS_MAX  32
#define KEYS_MAX   8192
#define NODES_MAX  16
#define REASONS    (PINROUTE_OVER_BUDGET + 1)
#define TIMEOUT_MS 5000

/* The k-th key of this pair was committed and recorded with this value. */
struct news {
        long key, value;
};

struct known {
        long value;
        long long at_ms;
};

struct node {
        char name[PINROUTE_NODE_SIZE];
        PGconn *conn;
};

/* What a pair has seen; in memory that the parent shares. */
struct tally {
        unsigned long rounds, reads, stale, failed, unrecorded, by_reason[REASONS];
        unsigned long synchronous_stale, worst_ms; /* how old a write was, at most, that a read missed */
};

static struct {
        const char *dir;
        long rounds, pairs, keys, pause_ms, idle_ms, spread_ms;
        bool async, ignore_pins;
} opt = {.pairs = 4, .keys = 64, .pause_ms = 20, .idle_ms = 10};

static struct pinroute *pr;
static unsigned cluster;
static struct node node[NODES_MAX];
static struct known known[KEYS_MAX];
static struct tally *mine;
static long pair;
static unsigned long long dice;

static long long now_ms(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* xorshift64: a seed replays a process's choices. */
static long up_to(long n)
{
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        return n > 0 ? (long)(dice % (unsigned long long)(n + 1)) : 0;
}

static void fail(const char *what)
{
        fprintf(stderr, "stale_read: pair %ld: %s\n", pair, what);
        mine->failed++;
}

/* ---- servers ---- */

static PGconn *connect_to(const char *name)
{
        char endpoint[512], conninfo[600];
        if (pinroute_endpoint(pr, cluster, name, endpoint, sizeof endpoint) != PINROUTE_OK)
                return NULL;
        snprintf(conninfo, sizeof conninfo, "%s user=app", endpoint);
        PGconn *c = PQconnectdb(conninfo);
        if (PQstatus(c) == CONNECTION_OK)
                return c;
        fail(PQerrorMessage(c));
        PQfinish(c);
        return NULL;
}

static PGconn *connection(const char *name)
{
        for (unsigned i = 0; i < NODES_MAX; i++) {
                if (node[i].conn && strcmp(node[i].name, name) == 0)
                        return node[i].conn;
                if (node[i].conn)
                        continue;
                snprintf(node[i].name, sizeof node[i].name, "%s", name);
                return node[i].conn = connect_to(name);
        }
        return NULL;
}

/* The value of a key on a node: 0 when it is not there, -1 when it could not be read. */
static long value_on(PGconn *c, const char *sql)
{
        PGresult *r = c ? PQexec(c, sql) : NULL;
        long value = -1;
        if (PQresultStatus(r) == PGRES_TUPLES_OK)
                value = PQntuples(r) ? atol(PQgetvalue(r, 0, 0)) : 0;
        else
                fail(c ? PQerrorMessage(c) : "no connection");
        PQclear(r);
        return value;
}

static bool execute(PGconn *c, const char *sql)
{
        PGresult *r = PQexec(c, sql);
        bool ok = PQresultStatus(r) == PGRES_COMMAND_OK;
        if (!ok)
                fail(PQerrorMessage(c));
        PQclear(r);
        return ok;
}

/* ---- a pair ---- */

static int key_text(char *ret, size_t size, long key)
{
        return snprintf(ret, size, "pair %ld, key %ld", pair, key);
}

static bool synchronous(void) { return !opt.async && pair % 2 == 0; }
static long row_of(long key) { return pair * KEYS_MAX + key; }

/* Commits, records, and only then says so. */
static bool round_trip(PGconn *primary, long key, long value, int tell)
{
        char sql[200], text[64];
        snprintf(sql, sizeof sql,
                 "insert into stale_read values (%ld, %ld) on conflict (k) do update set v = excluded.v",
                 row_of(key), value);
        if (!execute(primary, sql))
                return false;
        int n = key_text(text, sizeof text, key);
        if (pinroute_record_write(pr, cluster, text, (size_t)n, 0) != PINROUTE_OK) {
                mine->unrecorded++;
                return true;
        }
        struct news news = {key, value};
        mine->rounds++;
        return write(tell, &news, sizeof news) == (ssize_t)sizeof news;
}

static void writer(int tell)
{
        struct pinroute_decision d;
        pinroute_route_write(pr, cluster, &d);
        PGconn *primary = connect_to(d.node);
        bool ok = primary && execute(primary, synchronous() ? "set synchronous_commit = on"
                                                            : "set synchronous_commit = off");
        for (long value = 1; ok && value <= opt.rounds; value++) {
                long key = opt.spread_ms ? value % opt.keys : up_to(opt.keys - 1);
                ok = round_trip(primary, key, value, tell);
                usleep((useconds_t)up_to(opt.pause_ms * 2000));
        }
        if (!ok)
                fail("the writer gave up");
        PQfinish(primary);
}

/* A value that must be there was told to us before the question "where?". */
static void read_key(long key)
{
        char sql[100], text[64];
        struct pinroute_decision d;
        int n = key_text(text, sizeof text, key);
        struct known want = known[key];
        pinroute_route_read(pr, cluster, opt.ignore_pins ? NULL : text, (size_t)n, &d);
        snprintf(sql, sizeof sql, "select v from stale_read where k = %ld", row_of(key));
        long have = value_on(connection(d.node), sql);
        mine->reads++;
        if (d.reason < REASONS)
                mine->by_reason[d.reason]++;
        if (have >= want.value) {
                known[key].value = have; /* and it never goes back from there */
                return;
        }
        if (have < 0)
                return;
        unsigned long age = (unsigned long)(now_ms() - want.at_ms);
        mine->stale++;
        mine->synchronous_stale += synchronous();
        mine->worst_ms = age > mine->worst_ms ? age : mine->worst_ms;
        if (!opt.ignore_pins)
                fprintf(stderr,
                        "stale: key %ld of pair %ld has %ld, not %ld, on %s (%s), %lu ms after the record\n",
                        key, pair, have, want.value, d.node, pinroute_reason_name(d.reason), age);
}

/* Some key; with spread, one whose age is anywhere up to it, each age as likely as another. */
static long any_key(void)
{
        long long from = now_ms() - opt.spread_ms;
        for (int tries = 0; tries < 1000; tries++) {
                long key = up_to(opt.keys - 1);
                if (known[key].at_ms && (!opt.spread_ms || known[key].at_ms >= from))
                        return key;
        }
        return -1;
}

/* With spread: counts from the moment that there are writes of every age. */
static bool warm(long long began) { return now_ms() - began >= opt.spread_ms; }

static void reader(int told)
{
        struct news news;
        long long began = now_ms();
        for (bool counts = !opt.spread_ms;; counts = counts || warm(began)) {
                struct pollfd p = {.fd = told, .events = POLLIN};
                int ready = poll(&p, 1, (int)up_to(opt.idle_ms));
                if (ready > 0) {
                        if (read(told, &news, sizeof news) != (ssize_t)sizeof news)
                                break;
                        known[news.key] = (struct known){news.value, now_ms()};
                }
                long key = ready > 0 && !opt.spread_ms ? news.key : any_key();
                if (counts && key >= 0)
                        read_key(key);
        }
        for (unsigned i = 0; i < NODES_MAX; i++)
                PQfinish(node[i].conn);
}

static void play(void (*part)(int), int fd, bool own_handle)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dice = (unsigned long long)(pair * 2 + (part == reader) + 1) * 0x9e3779b97f4a7c15ull;
        struct pinroute *inherited = pr;
        if (own_handle && (pinroute_open(&pr, opt.dir) != PINROUTE_OK ||
                           pinroute_cluster(pr, "main", &cluster) != PINROUTE_OK))
                exit(1);
        pinroute_set_timeout(pr, TIMEOUT_MS);
        part(fd);
        if (own_handle)
                pinroute_close(&inherited);
        pinroute_close(&pr);
        exit(0);
}

static void start_pair(struct tally *t)
{
        int fd[2];
        if (pipe(fd))
                exit(1);
        mine = t;
        if (fork() == 0) {
                close(fd[0]);
                play(writer, fd[1], pair / 2 % 2);
        }
        close(fd[1]);
        if (fork() == 0)
                play(reader, fd[0], pair / 2 % 2);
        close(fd[0]);
}

/* ---- all of it ---- */

static bool option(const char *word)
{
        static const struct {
                const char *name;
                long *value, max;
        } list[] = {{"pairs=", &opt.pairs, PAIRS_MAX},
                    {"keys=", &opt.keys, KEYS_MAX},
                    {"pause=", &opt.pause_ms, 10000},
                    {"idle=", &opt.idle_ms, 10000},
                    {"spread=", &opt.spread_ms, 3600000}};
        for (unsigned i = 0; i < sizeof list / sizeof *list; i++)
                if (strncmp(word, list[i].name, strlen(list[i].name)) == 0) {
                        *list[i].value = atol(word + strlen(list[i].name));
                        return *list[i].value >= 0 && *list[i].value <= list[i].max;
                }
        bool *flag = strcmp(word, "async") == 0 ? &opt.async : &opt.ignore_pins;
        *flag = flag == &opt.async || strcmp(word, "ignore-pins") == 0;
        return *flag;
}

static struct tally sum(const struct tally *each)
{
        struct tally all = {0};
        for (long i = 0; i < opt.pairs; i++) {
                all.rounds += each[i].rounds;
                all.reads += each[i].reads;
                all.stale += each[i].stale;
                all.synchronous_stale += each[i].synchronous_stale;
                all.failed += each[i].failed;
                all.unrecorded += each[i].unrecorded;
                all.worst_ms = each[i].worst_ms > all.worst_ms ? each[i].worst_ms : all.worst_ms;
                for (unsigned r = 0; r < REASONS; r++)
                        all.by_reason[r] += each[i].by_reason[r];
        }
        return all;
}

static void show(const struct tally *t, long long took_ms)
{
        unsigned long pinned = t->by_reason[PINROUTE_PINNED], released = t->by_reason[PINROUTE_CAUGHT_UP];
        printf("rounds=%lu reads=%lu stale=%lu synchronous_stale=%lu worst_ms=%lu failed=%lu unrecorded=%lu",
               t->rounds, t->reads, t->stale, t->synchronous_stale, t->worst_ms, t->failed, t->unrecorded);
        for (int r = 1; r < REASONS; r++)
                printf(" %s=%lu", pinroute_reason_name(r), t->by_reason[r]);
        printf(" offload=%.4f ms=%lld\n",
               pinned + released ? (double)released / (double)(pinned + released) : 0.0, took_ms);
}

int main(int argc, char **argv)
{
        bool right = argc >= 3;
        for (int i = 3; right && i < argc; i++)
                right = option(argv[i]);
        if (!right || (opt.rounds = atol(argv[2])) < 1)
                return fputs(
                           "usage: stale_read DIR ROUNDS [pairs=N] [keys=N] [pause=MS] [idle=MS] [spread=MS] "
                           "[async] [ignore-pins]\n",
                           stderr),
                       2;
        opt.dir = argv[1];
        struct tally *each =
            mmap(NULL, sizeof *each * PAIRS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (each == MAP_FAILED || pinroute_open(&pr, opt.dir) != PINROUTE_OK ||
            pinroute_cluster(pr, "main", &cluster) != PINROUTE_OK)
                return 1;
        long long began = now_ms();
        for (pair = 0; pair < opt.pairs; pair++)
                start_pair(&each[pair]);
        int status, bad = 0;
        while (wait(&status) > 0)
                bad |= status;
        pinroute_close(&pr);
        struct tally all = sum(each);
        show(&all, now_ms() - began);
        return bad || all.stale || all.failed || all.unrecorded;
}
