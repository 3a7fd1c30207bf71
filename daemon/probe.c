/* probe.c -- one node's connection: connects, asks, and says what came of it.  Never blocks.
 * With login.c the only file that connects, and with conninfo.c that includes <libpq-fe.h>.  Owns: struct
 * probe. */
#include "daemon/probe.h"

#include <event2/event_struct.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "daemon/facts.h"
#include "daemon/log.h"
#include "daemon/login.h"
#include "daemon/text.h"

#define TIMEOUT_MAX_MS 600000u
/* Most that a server may send from one check to the next, log-in and TLS included; a usual log-in is 3 kB, an
 * answer 0.5 kB.  libpq has no such bound: it keeps what comes until memory is full. */
#define BYTES_MAX 131072u

enum state {
        CLOSED,
        RESOLVING,
        CONNECTING, /* and logging in */
        IDLE,       /* logged in; whatever comes is news */
        ASKING,
};

struct probe {
        const struct probe_host *host;
        uint32_t node;
        char conninfo[PROBER_CONNINFO_MAX];
        PQconninfoOption *option; /* of conninfo; NULL: it is no good, see wrong */
        const char *wrong;
        struct lookup *lookup; /* NULL: nothing to resolve */
        unsigned address;      /* the one to use of lookup's, modulo their count */
        unsigned tried;        /* addresses in this check */

        enum state state;
        PGconn *conn;
        struct event io;
        struct event deadline;
        struct event patience;      /* with the resolver, while an older address is known */
        unsigned bytes;             /* came in since the last answer */
        char said[PROBER_TEXT_MAX]; /* the server's last notice: why it hung up */

        bool may_say_password; /* in clear text, where TLS has shown who the server is */
        bool checking;         /* an order waits for its result: the rest is about that */
        bool connected;
        bool has_row;
        uint64_t number;
        uint32_t timeout_ms;
        int64_t began_us;
        struct facts facts;
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);
static void on_patience(evutil_socket_t fd, short what, void *arg);
static void on_resolved(void *arg);
static void connect_or_fail(struct probe *p);
static void ask(struct probe *p);

static int64_t now_us(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void arm(struct event *timer, uint32_t ms)
{
        struct timeval in = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

        event_add(timer, &in);
}

/* The conninfo */

static const char *option(const struct probe *p, const char *keyword)
{
        return login_option(p->option, keyword);
}

static bool has_comma(const char *value) { return value && strchr(value, ','); }

/* libpq's own message would show parts of the string, and so perhaps of a password: the config's check has
 * said it. */
static const char *read_conninfo(struct probe *p)
{
        p->option = PQconninfoParse(p->conninfo, NULL);
        if (!p->option)
                return "the connection string is not valid";
        if (has_comma(option(p, "host")) || has_comma(option(p, "hostaddr")))
                return "the connection string names several hosts: a node is one server";
        if (option(p, "service"))
                return "the connection string has service=: write host= and port=";
        return NULL;
}

/* The name that must be resolved before libpq may see it; NULL: none. */
static const char *name_to_resolve(const struct probe *p)
{
        const char *host = option(p, "host");

        if (option(p, "hostaddr") || !host || host[0] == '/' || host[0] == '@' || login_is_address(host))
                return NULL;
        return host;
}

struct probe *probe_open(const struct probe_host *host, uint32_t node, const char *conninfo)
{
        struct probe *p = calloc(1, sizeof *p);

        MUST(p);
        p->host = host;
        p->node = node;
        snprintf(p->conninfo, sizeof p->conninfo, "%s", conninfo);
        p->wrong = read_conninfo(p);
        const char *name = p->wrong ? NULL : name_to_resolve(p);
        if (name)
                p->lookup = lookup_open(host->resolver, name, on_resolved, p);
        evtimer_assign(&p->deadline, host->base, on_deadline, p);
        evtimer_assign(&p->patience, host->base, on_patience, p);
        event_assign(&p->io, host->base, -1, 0, on_io, p);
        return p;
}

const char *probe_conninfo(const struct probe *p) { return p->conninfo; }
void probe_let_cleartext(struct probe *p, bool may) { p->may_say_password = may; }

/* The connection */

static void watch(struct probe *p, short what)
{
        event_del(&p->io);
        event_assign(&p->io, p->host->base, PQsocket(p->conn), (short)(what | EV_PERSIST), on_io, p);
        event_add(&p->io, NULL);
}

/* PQfinish() closes the descriptor, so epoll must have let go of it before. */
static void hang_up(struct probe *p)
{
        event_del(&p->io);
        event_del(&p->patience);
        PQfinish(p->conn);
        p->conn = NULL;
        p->state = CLOSED;
}

void probe_close(struct probe **ret)
{
        struct probe *p = *ret;

        *ret = NULL;
        if (!p)
                return;
        hang_up(p);
        event_del(&p->deadline);
        lookup_close(&p->lookup);
        login_forget(p->option);
        explicit_bzero(p, sizeof *p);
        free(p);
}

/* Results */

static struct prober_result blank(struct probe *p, enum prober_result_kind kind)
{
        struct prober_result r = {.kind = kind, .node = p->node};

        if (p->checking) {
                r.number = p->number;
                r.connected = p->connected;
                r.took_us = (uint32_t)(now_us() - p->began_us);
        }
        return r;
}

static void give(struct probe *p, const struct prober_result *r)
{
        p->checking = false;
        event_del(&p->deadline);
        p->host->result(p->host->arg, r);
}

/* `why` may hold what a server said, and a server that knows our password may say it. */
static void give_up(struct probe *p, enum prober_result_kind kind, const char *why)
{
        struct prober_result r = blank(p, kind);

        text_clean(r.text, sizeof r.text, why);
        if (!r.text[strspn(r.text, " ")])
                snprintf(r.text, sizeof r.text, "the server gave no reason");
        text_hide(r.text, p->conn ? PQpass(p->conn) : NULL);
        hang_up(p);
        give(p, &r);
}

static void fail(struct probe *p, const char *why) { give_up(p, PROBER_FAILED, why); }

/* First line of what libpq says, without "connection to server at ... failed: ".  Where no server has spoken, a
 * socket's path stays: nothing else says where the daemon looked. */
static void libpq_says(struct probe *p, char *dst, size_t size)
{
        static const char on[] = "connection to server on socket \"";
        const char *text = PQerrorMessage(p->conn), *path = "";
        const char *failed =
            strncmp(text, "connection to server ", 21) == 0 ? strstr(text, " failed: ") : NULL;

        if (failed && strncmp(text, on, sizeof on - 1) == 0 && strncmp(failed + 9, "FATAL:", 6) != 0)
                path = text + sizeof on - 1;
        text = failed ? failed + 9 : text;
        int n = (int)strcspn(path, "\"");
        snprintf(dst, size, "%.*s%s%.*s", n, path, n ? ": " : "", (int)strcspn(text, "\n"), text);
        if (dst[0] == '\0')
                snprintf(dst, size, "the connection failed");
}

static void fail_as_libpq_says(struct probe *p)
{
        char why[512];

        libpq_says(p, why, sizeof why);
        fail(p, why);
}

static const char *doing(const struct probe *p)
{
        switch (p->state) {
        case CLOSED: return "closed";
        case RESOLVING: return "resolving ";
        case CONNECTING: return "connecting";
        case IDLE: return "idle";
        case ASKING: return "waiting for the answer";
        }
        return "";
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
        struct probe *p = arg;
        char why[PROBER_TEXT_MAX];

        (void)fd;
        (void)what;
        snprintf(why, sizeof why, "no answer within %u ms (%s%.80s)", p->timeout_ms, doing(p),
                 p->state == RESOLVING ? lookup_name(p->lookup) : "");
        fail(p, why);
}

/* What the server sends beyond reason is not read.  FIONREAD before each read counts what libpq is about to
 * take, and what it leaves is counted again: usual traffic leaves nothing. */
static bool overspent(struct probe *p)
{
        int pending = 0;

        if (ioctl(PQsocket(p->conn), FIONREAD, &pending) == 0 && pending > 0)
                p->bytes += (unsigned)pending;
        return p->bytes > BYTES_MAX;
}

static const char too_much[] = "the server sends far more than an answer";

/* Connecting */

/* Instead of libpq's habit of printing.  An error that comes while we wait for nothing is a notice to libpq.
 */
static void on_notice(void *arg, const PGresult *notice)
{
        struct probe *p = arg;
        const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY);
        const char *text = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);

        snprintf(p->said, sizeof p->said, "%.16s: %.130s", severity ? severity : "notice", text ? text : "");
}

/* NOLINTNEXTLINE(misc-no-recursion): once per address of the name, RESOLVE_ADDRESSES_MAX at most */
static void start_connecting(struct probe *p)
{
        struct login login = {.conninfo = p->option, .user = p->host->user, .timeout_ms = p->timeout_ms};

        if (p->lookup)
                login.address = lookup_address(p->lookup, p->address % lookup_count(p->lookup));
        p->tried++;
        p->bytes = 0;
        p->said[0] = '\0';
        p->state = CONNECTING;
        p->conn = login_start(&login);
        if (!p->conn) {
                fail(p, "out of memory");
                return;
        }
        PQsetNoticeReceiver(p->conn, on_notice, p);
        if (PQstatus(p->conn) == CONNECTION_BAD)
                connect_or_fail(p);
        else
                watch(p, EV_WRITE);
}

/* An attempt has failed: on to the name's next address, unless each has had its turn.
 * NOLINTNEXTLINE(misc-no-recursion): see above */
static void connect_or_fail(struct probe *p)
{
        p->address++;
        if (!p->lookup || p->tried >= lookup_count(p->lookup)) {
                fail_as_libpq_says(p);
                return;
        }
        hang_up(p);
        start_connecting(p);
}

static void connect_to_known(struct probe *p)
{
        char why[PROBER_TEXT_MAX];

        event_del(&p->patience);
        if (lookup_count(p->lookup) > 0) {
                start_connecting(p);
                return;
        }
        snprintf(why, sizeof why, "cannot resolve %.80s: %s", lookup_name(p->lookup),
                 lookup_error(p->lookup));
        fail(p, why);
}

static void on_resolved(void *arg)
{
        struct probe *p = arg;

        if (p->state == RESOLVING)
                connect_to_known(p);
}

static void on_patience(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        connect_to_known(arg);
}

/* A name that had an address once gets half of the time to say a new one.  The question goes on beyond the
 * check. */
static void open_connection(struct probe *p)
{
        p->tried = 0;
        if (!p->lookup) {
                start_connecting(p);
                return;
        }
        p->state = RESOLVING;
        if (lookup_start(p->lookup))
                connect_to_known(p);
        else if (lookup_count(p->lookup) > 0)
                arm(&p->patience, p->timeout_ms / 2);
}

static void on_connecting(struct probe *p)
{
        const char *wrong = overspent(p) ? too_much : NULL;

        event_del(&p->io); /* PQconnectPoll() may go on with another socket under the same number */
        PostgresPollingStatusType next = PGRES_POLLING_FAILED;

        if (!wrong)
                next = login_poll(p->conn, p->option, p->may_say_password, &wrong);
        if (wrong) {
                fail(p, wrong);
                return;
        }
        switch (next) {
        case PGRES_POLLING_READING: watch(p, EV_READ); break;
        case PGRES_POLLING_WRITING:
        case PGRES_POLLING_ACTIVE: watch(p, EV_WRITE); break;
        case PGRES_POLLING_OK:
                if (PQsetnonblocking(p->conn, 1) == 0)
                        ask(p);
                else
                        fail_as_libpq_says(p);
                break;
        case PGRES_POLLING_FAILED: connect_or_fail(p); break;
        }
}

/* Asking */

static void flush(struct probe *p)
{
        int left = PQflush(p->conn);

        if (left < 0)
                fail_as_libpq_says(p);
        else
                watch(p, (short)(EV_READ | (left ? EV_WRITE : 0)));
}

static void ask(struct probe *p)
{
        p->connected = p->state == CONNECTING;
        p->state = ASKING;
        p->has_row = false;
        if (!PQsendQuery(p->conn, facts_question) || !PQsetSingleRowMode(p->conn))
                fail_as_libpq_says(p);
        else
                flush(p);
}

/* Returns NULL or what is wrong with it. */
static const char *read_row(struct probe *p, const PGresult *row)
{
        const char *value[FACTS_COLUMNS];

        if (p->has_row)
                return "more than one row";
        if (PQntuples(row) != 1 || PQnfields(row) != FACTS_COLUMNS)
                return "number of columns";
        for (int i = 0; i < FACTS_COLUMNS; i++) {
                value[i] = PQgetisnull(row, 0, i) ? NULL : PQgetvalue(row, 0, i);
                if (value[i] && strlen(value[i]) != (size_t)PQgetlength(row, 0, i))
                        return "a zero byte";
        }
        p->has_row = true;
        return facts_read(value, PQuser(p->conn), &p->facts);
}

/* What a result says against this answer; false: nothing. */
static bool is_surprising(struct probe *p, const PGresult *result, char *why, size_t size)
{
        const char *wrong = NULL;

        switch (PQresultStatus(result)) {
        case PGRES_SINGLE_TUPLE: wrong = read_row(p, result); break;
        case PGRES_TUPLES_OK:
                wrong = !p->has_row ? "no row" : PQntuples(result) != 0 ? "more than one row" : NULL;
                break;
        case PGRES_FATAL_ERROR:
                snprintf(why, size, "%s",
                         PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
                             ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
                             : PQresultErrorMessage(result));
                why[strcspn(why, "\n")] = '\0';
                return true;
        default: wrong = PQresStatus(PQresultStatus(result)); break;
        }
        snprintf(why, size, "not the answer to our question: %s", wrong ? wrong : "");
        return wrong != NULL;
}

static void answered(struct probe *p)
{
        struct prober_result r = blank(p, PROBER_ANSWER);

        r.system_identifier = p->facts.system_identifier;
        r.position = p->facts.position;
        r.timeline = p->facts.timeline;
        r.in_recovery = p->facts.in_recovery;
        text_clean(r.text, sizeof r.text, p->facts.note);
        p->state = IDLE;
        p->bytes = 0;
        watch(p, EV_READ);
        give(p, &r);
}

static bool was_notified(struct probe *p)
{
        PGnotify *notify = PQnotifies(p->conn);

        PQfreemem(notify);
        return notify != NULL;
}

static void take_results(struct probe *p)
{
        char why[512];

        while (!PQisBusy(p->conn)) {
                PGresult *result = PQgetResult(p->conn);
                if (!result) {
                        if (p->has_row && PQtransactionStatus(p->conn) == PQTRANS_IDLE)
                                answered(p);
                        else
                                fail(p, "the answer ended early");
                        return;
                }
                bool surprising = is_surprising(p, result, why, sizeof why);
                PQclear(result);
                if (surprising) {
                        fail(p, why);
                        return;
                }
        }
}

static void on_answer(struct probe *p, short what)
{
        if ((what & EV_READ) && overspent(p))
                fail(p, too_much);
        else if ((what & EV_READ) && !PQconsumeInput(p->conn))
                fail_as_libpq_says(p);
        else if (was_notified(p))
                fail(p, "a notification that nobody asked for");
        else if (what & EV_WRITE)
                flush(p);
        if (p->state == ASKING)
                take_results(p);
}

/* Nothing is asked, so this is the end of the connection, or a notice of it. */
static void on_idle(struct probe *p)
{
        char why[512];

        if (overspent(p)) {
                give_up(p, PROBER_BROKEN, too_much);
        } else if (!PQconsumeInput(p->conn)) {
                libpq_says(p, why, sizeof why);
                give_up(p, PROBER_BROKEN, p->said[0] ? p->said : why);
        } else if (PQisBusy(p->conn) || was_notified(p)) {
                give_up(p, PROBER_BROKEN, "the server speaks without being asked");
        }
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
        struct probe *p = arg;

        (void)fd;
        switch (p->state) {
        case CONNECTING: on_connecting(p); break;
        case ASKING: on_answer(p, what); break;
        case IDLE: on_idle(p); break;
        case CLOSED:
        case RESOLVING: MUST(false);
        }
}

void probe_check(struct probe *p, uint64_t number, uint32_t timeout_ms)
{
        if (p->checking)
                fail(p, "overtaken by a newer check");
        p->checking = true;
        p->connected = false;
        p->number = number;
        p->timeout_ms = timeout_ms == 0 ? 1 : timeout_ms > TIMEOUT_MAX_MS ? TIMEOUT_MAX_MS : timeout_ms;
        p->began_us = now_us();
        arm(&p->deadline, p->timeout_ms);
        if (p->wrong)
                fail(p, p->wrong);
        else if (p->state == IDLE)
                ask(p);
        else
                open_connection(p);
}
