/* hold_gap.c -- reads between a writer's COMMIT and its record_write(), or its death there; driven by
 * test_hold.py.  The gap is as long as the readers take: the writer records when the last of them is done.
 * Needs: create table hold_gap (k bigint primary key).
 *
 *   hold_gap DIR ROUNDS [readers=N] [reads=N] [hold=MS] [gap=MS] [die]
 *     ROUNDS   each of a key, a row and a writer process of its own
 *     readers  processes, which look for the row in the gap, and again once it is recorded (4)
 *     reads    of each, at least, in the gap and afterwards (5)
 *     hold     the writer holds the key for so long before its BEGIN (0: it does not)
 *     gap      the gap lasts at least so long (0)
 *     die      the writer is killed in the gap: nobody records, and "afterwards" is the end of the gap
 * Prints one line of `name=number`; exits 1 when a read or a write failed: stale reads are the test's to
 * judge. */
#include <stdbool.h>

#include <libpq-fe.h>

#include "crew.h"

#define READERS_MAX 16
#define NODES_MAX   8
#define TIMEOUT_MS  5000

struct order {
        int64_t row, until_us; /* from when on it may end, once `reads` are done */
};

struct tally {
        uint64_t reads, stale, failed, on_replicas, by_reason[CREW_REASONS];
};

static struct {
        const char *dir;
        long rounds, readers, reads, hold_ms, gap_ms;
        bool die;
} opt = {.readers = 4, .reads = 5};

static struct crew_at at;
static struct {
        char name[PINROUTE_NODE_SIZE];
        PGconn *conn;
} node[NODES_MAX];

static PGconn *connect_to(const char *name)
{
        char endpoint[512], conninfo[600];
        CREW_MUST(pinroute_endpoint(at.pr, at.cluster, name, endpoint, sizeof endpoint) == PINROUTE_OK);
        snprintf(conninfo, sizeof conninfo, "%s user=app", endpoint);
        PGconn *c = PQconnectdb(conninfo);
        CREW_MUST(PQstatus(c) == CONNECTION_OK);
        return c;
}

/* ---- a reader ---- */

/* The open connection; *fresh: it was not open yet, so the decision for it has to be taken again. */
static PGconn *connection(const char *name, bool *fresh)
{
        unsigned i = 0;
        while (node[i].conn && strcmp(node[i].name, name) != 0)
                CREW_MUST(++i < NODES_MAX);
        *fresh = !node[i].conn;
        if (*fresh) {
                snprintf(node[i].name, sizeof node[i].name, "%s", name);
                node[i].conn = connect_to(name);
        }
        return node[i].conn;
}

static void look(struct tally *t, int64_t row)
{
        struct crew_key key = crew_key("row", (uint64_t)row);
        struct pinroute_decision d;
        char sql[100];
        bool fresh;
        PGconn *c;
        do {
                CREW_MUST(crew_read(&at, &key, &d) == PINROUTE_OK);
                c = connection(d.node, &fresh);
        } while (fresh);
        snprintf(sql, sizeof sql, "select 1 from hold_gap where k = %lld", (long long)row);
        PGresult *r = PQexec(c, sql);
        t->reads++;
        t->by_reason[d.reason]++;
        t->on_replicas += d.role == PINROUTE_REPLICA;
        t->failed += PQresultStatus(r) != PGRES_TUPLES_OK;
        t->stale += PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 0;
        PQclear(r);
}

static void reader(int orders, int answers)
{
        struct order o;
        while (read(orders, &o, sizeof o) == (ssize_t)sizeof o) {
                struct tally t = {0};
                while (t.reads < (uint64_t)opt.reads || crew_now_us() < o.until_us)
                        look(&t, o.row);
                CREW_MUST(write(answers, &t, sizeof t) == (ssize_t)sizeof t);
        }
        for (unsigned i = 0; i < NODES_MAX; i++)
                PQfinish(node[i].conn);
}

/* ---- a writer ---- */

static void execute(PGconn *c, const char *sql)
{
        PGresult *r = PQexec(c, sql);
        CREW_MUST(PQresultStatus(r) == PGRES_COMMAND_OK);
        PQclear(r);
}

/* Tells of its COMMIT through `told`, and records as soon as `go` says so. */
static void writer(int64_t row, int told, int go)
{
        struct crew_key key = crew_key("row", (uint64_t)row);
        struct pinroute_decision d;
        char sql[100], word;
        CREW_MUST(pinroute_route_write(at.pr, at.cluster, &d) == PINROUTE_OK);
        PGconn *primary = connect_to(d.node);
        if (opt.hold_ms)
                CREW_MUST(pinroute_hold(at.pr, at.cluster, key.text, key.len, (unsigned)opt.hold_ms) ==
                          PINROUTE_OK);
        snprintf(sql, sizeof sql, "insert into hold_gap values (%lld)", (long long)row);
        execute(primary, "begin");
        execute(primary, sql);
        execute(primary, "commit");
        if (opt.die)
                kill(getpid(), SIGKILL);
        CREW_MUST(write(told, "c", 1) == 1 && read(go, &word, 1) == 1);
        CREW_MUST(crew_record(&at, &key, 0) == PINROUTE_OK);
        PQfinish(primary);
}

/* ---- all of it ---- */

static int orders[READERS_MAX], answers[READERS_MAX];

static void start_reader(unsigned i, pid_t *pid)
{
        int down[2], up[2];
        CREW_MUST(pipe(down) == 0 && pipe(up) == 0);
        pid_t parent = getpid();
        CREW_MUST((*pid = fork()) >= 0);
        if (*pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                CREW_MUST(getppid() == parent);
                for (unsigned other = 0; other < i; other++)
                        close(orders[other]); /* else its reader would never see the end */
                close(down[1]);
                reader(down[0], up[1]);
                exit(0);
        }
        close(down[0]);
        close(up[1]);
        orders[i] = down[1];
        answers[i] = up[0];
}

static void all_look(struct tally *sum, int64_t row, int64_t until_us)
{
        struct order o = {row, until_us};
        for (long i = 0; i < opt.readers; i++)
                CREW_MUST(write(orders[i], &o, sizeof o) == (ssize_t)sizeof o);
        for (long i = 0; i < opt.readers; i++) {
                struct tally t;
                CREW_MUST(read(answers[i], &t, sizeof t) == (ssize_t)sizeof t);
                sum->reads += t.reads;
                sum->stale += t.stale;
                sum->failed += t.failed;
                sum->on_replicas += t.on_replicas;
                for (unsigned r = 0; r < CREW_REASONS; r++)
                        sum->by_reason[r] += t.by_reason[r];
        }
}

static void play_round(struct tally *gap, struct tally *after)
{
        int64_t row = crew_now_us(); /* also the key: no round, and no run, has another's */
        int told[2], go[2], status;
        char word;
        CREW_MUST(pipe(told) == 0 && pipe(go) == 0);
        pid_t child = fork();
        CREW_MUST(child >= 0);
        if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(told[0]);
                writer(row, told[1], go[0]);
                exit(0);
        }
        close(told[1]);
        CREW_MUST(read(told[0], &word, 1) == (opt.die ? 0 : 1));
        CREW_MUST(!opt.die || waitpid(child, &status, 0) == child);
        all_look(gap, row, crew_now_us() + opt.gap_ms * 1000);
        CREW_MUST(opt.die || (write(go[1], "g", 1) == 1 && waitpid(child, &status, 0) == child));
        CREW_MUST(opt.die ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0);
        all_look(after, row, 0);
        close(told[0]);
        close(go[0]);
        close(go[1]);
}

static bool option(const char *word)
{
        static const struct {
                const char *name;
                long *value, max;
        } list[] = {{"readers=", &opt.readers, READERS_MAX},
                    {"reads=", &opt.reads, 100000},
                    {"hold=", &opt.hold_ms, 300000},
                    {"gap=", &opt.gap_ms, 300000}};
        for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
                size_t len = strlen(list[i].name);
                if (strncmp(word, list[i].name, len) == 0) {
                        *list[i].value = atol(word + len);
                        return *list[i].value >= 0 && *list[i].value <= list[i].max;
                }
        }
        return opt.die = strcmp(word, "die") == 0;
}

int main(int argc, char **argv)
{
        struct tally gap = {0}, after = {0};
        pid_t child[READERS_MAX];
        bool right = argc >= 3 && (opt.rounds = atol(argv[2])) >= 1;
        for (int i = 3; right && i < argc; i++)
                right = option(argv[i]);
        if (!right)
                return fputs("usage: hold_gap DIR ROUNDS [readers=N] [reads=N] [hold=MS] [gap=MS] [die]\n",
                             stderr),
                       2;
        opt.dir = argv[1];
        at = crew_attach(opt.dir, "main");
        pinroute_set_timeout(at.pr, TIMEOUT_MS);
        for (unsigned i = 0; i < (unsigned)opt.readers; i++)
                start_reader(i, &child[i]);
        for (long round = 0; round < opt.rounds; round++)
                play_round(&gap, &after);
        for (long i = 0; i < opt.readers; i++)
                close(orders[i]);
        crew_join(child, (unsigned)opt.readers);
        pinroute_close(&at.pr);
        printf("gap_reads=%llu gap_stale=%llu on_replicas=%llu after_reads=%llu after_stale=%llu failed=%llu",
               (unsigned long long)gap.reads, (unsigned long long)gap.stale,
               (unsigned long long)gap.on_replicas, (unsigned long long)after.reads,
               (unsigned long long)after.stale, (unsigned long long)(gap.failed + after.failed));
        crew_print_reasons(gap.by_reason);
        putchar('\n');
        return gap.failed + after.failed > 0;
}
