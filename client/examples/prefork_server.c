/* prefork_server.c -- a guest-book: reads come from replicas, and people still see their own writes.
 * Uses pinroute.h, libpq and libc only.  Where pinroute asks something of you, a comment says `pinroute:`.
 *
 * Needs, in the primary's database:
 *     create table guestbook (id bigserial primary key, who text not null, text text not null,
 *                             at timestamptz not null default now());
 *
 * GET /           the guest-book, read from wherever this person's reads may go now
 * POST /post      text=...: writes to the primary, then 303 to /
 * GET /seen?id=N  is post N visible there?  JSON
 * Every answer says who gave it: X-Pinroute-Worker, X-Pinroute-Node, X-Pinroute-Reason.
 * Two cookies: `who` is the session; `pin` carries a token of the last write to whichever host is next.
 *
 *     cc -O2 prefork_server.c -o prefork_server $(pkg-config --cflags --libs pinroute libpq) */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4, ppoll */
#endif
#include <getopt.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <libpq-fe.h>
#include <pinroute.h>

#include "http.h"

#define POST_MAX    500   /* bytes of a post; the page says so too */
#define DATABASE_MS 1000  /* a node connects and answers within this, or it is given up */
#define UNKNOWN_MS  15000 /* a COMMIT of unknown outcome may still take effect for this long */
#define NODES_MAX   64
#define WORKERS_MAX 256
#define WHO_LEN     32  /* hexadecimal digits of a person's identity */
#define PIN_MAX_AGE 300 /* seconds that a browser keeps a token; the token ends earlier, by itself */
#define CANNOT_READ "the guest-book cannot be read now"

/* One database server.  Its connection is this worker's own: opened at first need, kept, in no other process.
 */
struct node {
        char name[PINROUTE_NODE_SIZE];
        char conninfo[1024];
        PGconn *conn;
};

/* One request: what came in, who asks, and what the answer says besides its content. */
struct visit {
        struct http_request q;
        char who[WHO_LEN + 1];
        bool new_person;
        char token[PINROUTE_TOKEN_SIZE]; /* as the browser says: anything at all; "": none */
        char pin[PINROUTE_TOKEN_SIZE];   /* for the browser to keep; "": none */
        struct pinroute_decision from;
        char extra[256]; /* header lines, each with its CRLF */
};

static struct {
        const char *listen, *dir, *cluster, *user;
        unsigned workers, hold_ms;
        bool ignore_pins;
        const char *given[NODES_MAX]; /* NODE=CONNINFO */
        unsigned n_given;
} opt = {.listen = "127.0.0.1:8080", .cluster = "main", .user = "app", .workers = 4};

static struct pinroute *pr; /* pinroute: opened once, before the fork; every child uses it as it is */
static unsigned cluster;
static unsigned worker; /* 1..: this process's number */
static struct node node[NODES_MAX];
static volatile sig_atomic_t stopping;

/* ---- The database.  Everything has a deadline: a frozen server accepts and never answers. ---- */

/* With addresses in the conninfo, not names: libpq waits for a resolver as long as that likes. */
static PGconn *db_connect(const char *conninfo, int64_t deadline)
{
        PGconn *c = PQconnectStart(conninfo);
        PostgresPollingStatusType want = PGRES_POLLING_WRITING;
        while (c && PQstatus(c) != CONNECTION_BAD && want != PGRES_POLLING_OK &&
               want != PGRES_POLLING_FAILED) {
                if (!wait_fd(PQsocket(c), want == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
                        break;
                want = PQconnectPoll(c);
        }
        if (want == PGRES_POLLING_OK)
                return c;
        PQfinish(c);
        return NULL;
}

/* Runs one statement.  NULL: no answer, nobody knows how far the server got, and the connection is of no more
 * use. */
static PGresult *db_run(PGconn *c, const char *sql, int n_args, const char *const *arg, int64_t deadline)
{
        PGresult *last = NULL, *r = NULL;
        if (!PQsendQueryParams(c, sql, n_args, NULL, arg, NULL, NULL, 0))
                return NULL;
        do {
                while (PQisBusy(c)) {
                        if (wait_fd(PQsocket(c), POLLIN, deadline) && PQconsumeInput(c))
                                continue;
                        PQclear(last);
                        return NULL;
                }
                if ((r = PQgetResult(c))) {
                        PQclear(last);
                        last = r;
                }
        } while (r);
        if (PQstatus(c) == CONNECTION_OK)
                return last;
        PQclear(last);
        return NULL;
}

static void node_drop(struct node *n)
{
        PQfinish(n->conn);
        n->conn = NULL;
}

/* How to reach a node: as given on the command line, else as the daemon's config says, with a user of our
 * own. */
static bool node_conninfo(const char *name, char *buf, size_t size)
{
        char endpoint[512];
        size_t len = strlen(name);
        for (unsigned i = 0; i < opt.n_given; i++) {
                if (strncmp(opt.given[i], name, len) == 0 && opt.given[i][len] == '=')
                        return (size_t)snprintf(buf, size, "%s", opt.given[i] + len + 1) < size;
        }
        if (pinroute_endpoint(pr, cluster, name, endpoint, sizeof endpoint) != PINROUTE_OK)
                return false;
        return (size_t)snprintf(buf, size, "%s user=%s", endpoint, opt.user) < size;
}

/* This worker's entry for a node; NULL: nobody knows how to reach it.  pinroute: the endpoint is read from
 * shared memory, so it can be asked for at each use, and a connection to where the node no longer is gets
 * dropped. */
static struct node *node_find(const char *name)
{
        char conninfo[sizeof node->conninfo];
        struct node *n = node;
        if (!*name || !node_conninfo(name, conninfo, sizeof conninfo))
                return NULL;
        while (n < node + NODES_MAX && n->name[0] && strcmp(n->name, name) != 0)
                n++;
        if (n == node + NODES_MAX)
                return NULL;
        if (strcmp(n->conninfo, conninfo) != 0)
                node_drop(n);
        snprintf(n->name, sizeof n->name, "%s", name);
        snprintf(n->conninfo, sizeof n->conninfo, "%s", conninfo);
        return n;
}

/* Runs a statement on the node's open connection.  NULL: it failed, and the connection is closed. */
static PGresult *node_query(struct node *n, const char *sql, int n_args, const char *const *arg,
                            int64_t deadline)
{
        PGresult *r = db_run(n->conn, sql, n_args, arg, deadline);
        if (PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK)
                return r;
        fprintf(stderr, "worker %u: %s: %s", worker, n->name, r ? PQresultErrorMessage(r) : "no answer\n");
        PQclear(r);
        node_drop(n);
        return NULL;
}

/* On the primary.  A kept connection may have died since its last use, so `sql` must be one that may run
 * twice. */
static PGresult *primary_query(struct node *n, const char *sql, int n_args, const char *const *arg)
{
        int64_t deadline = now_ms() + DATABASE_MS;
        PGresult *r = n && n->conn ? node_query(n, sql, n_args, arg, deadline) : NULL;
        if (r || !n || !(n->conn = db_connect(n->conninfo, deadline)))
                return r;
        return node_query(n, sql, n_args, arg, deadline);
}

/* pinroute: reads of this request go by what this host knows of the person and by what the token says, which
 * may be of another host, of another session of theirs, or of a time when the daemon was away.  A token that
 * is refused changes nothing, and one that cannot be checked keeps the scope on the primary: no status to
 * look at. */
static void scope_of(const struct visit *v, struct pinroute_scope *scope)
{
        const char *key = v->new_person || opt.ignore_pins ? NULL : v->who; /* who is new has not written */
        pinroute_scope_begin(scope, pr, cluster, key, WHO_LEN);
        if (*v->token && !opt.ignore_pins)
                pinroute_token_accept(pr, cluster, v->token, scope);
}

/* One read of this request.  pinroute: connect first, decide after.  A replica that crashes comes back at an
 * older position, and a connection that was open when it was chosen tells of that by breaking: so no
 * reconnecting between decision and query.  When the replica cannot answer, the primary does, from here to
 * the end of the request. */
static PGresult *read_routed(struct visit *v, struct pinroute_scope *scope, const char *sql, const char *arg)
{
        int64_t deadline = now_ms() + DATABASE_MS;
        struct node *n;
        PGresult *r;
        do {
                scope_of(v, scope);
                pinroute_scope_read(scope, &v->from);
                n = node_find(v->from.node);
                if (v->from.role == PINROUTE_PRIMARY)
                        return primary_query(n, sql, 1, &arg);
                if (n && n->conn) {
                        if ((r = node_query(n, sql, 1, &arg, deadline)))
                                return r;
                        break;
                }
        } while (n && (n->conn = db_connect(n->conninfo, deadline)));
        snprintf(v->extra, sizeof v->extra, "X-Pinroute-Fallback: from %s\r\n", v->from.node);
        pinroute_scope_force_primary(scope);
        pinroute_scope_read(scope, &v->from);
        return primary_query(node_find(v->from.node), sql, 1, &arg);
}

enum outcome { SAVED, NOT_SAVED, UNKNOWN };

/* One transaction on the primary.  Only a COMMIT that was sent and not answered leaves its outcome unknown.
 */
static enum outcome save_post(struct node *primary, const char *who, const char *text, char id[32])
{
        const char *arg[] = {who, text};
        int64_t deadline = now_ms() + DATABASE_MS;
        enum outcome outcome = NOT_SAVED;
        PGresult *r = primary_query(primary, "begin", 0, NULL);
        if (!r)
                return NOT_SAVED;
        PQclear(r);
        r = db_run(primary->conn, "insert into guestbook (who, text) values ($1, $2) returning id", 2, arg,
                   deadline);
        if (PQresultStatus(r) == PGRES_TUPLES_OK) {
                snprintf(id, 32, "%s", PQgetvalue(r, 0, 0));
                PQclear(r);
                r = db_run(primary->conn, "commit", 0, NULL, now_ms() + DATABASE_MS);
                if (!r)
                        outcome = UNKNOWN;
                else if (strcmp(PQcmdStatus(r), "COMMIT") == 0) /* a transaction that failed says ROLLBACK */
                        outcome = SAVED;
        }
        PQclear(r);
        if (outcome != SAVED)
                node_drop(primary); /* ends the transaction, whatever its state */
        return outcome;
}

/* ---- The guest-book. ---- */

static void answer(const struct visit *v, const char *status, const char *type, const char *body)
{
        char headers[1024], from[256] = "", who[128] = "", pin[256] = "";
        if (v->from.reason)
                snprintf(from, sizeof from, "X-Pinroute-Node: %s\r\nX-Pinroute-Reason: %s\r\n", v->from.node,
                         pinroute_reason_name(v->from.reason));
        if (v->new_person)
                snprintf(who, sizeof who, "Set-Cookie: who=%s; Path=/; HttpOnly; SameSite=Lax\r\n", v->who);
        if (*v->pin) /* behind TLS, add Secure to both */
                snprintf(pin, sizeof pin,
                         "Set-Cookie: pin=%s; Max-Age=%d; Path=/; HttpOnly; SameSite=Lax\r\n", v->pin,
                         PIN_MAX_AGE);
        snprintf(headers, sizeof headers, "X-Pinroute-Worker: %u\r\n%s%s%s%s", worker, from, who, pin,
                 v->extra);
        http_answer(&v->q, status, type, headers, body);
}

/* Who asks: the cookie `who`, if it looks like one of ours, else a new person.  The cookie `pin` says what
 * reads need, not who asks. */
static void identify(struct visit *v)
{
        unsigned char bytes[WHO_LEN / 2];
        const char *cookie = http_cookie(&v->q, "who"), *pin = http_cookie(&v->q, "pin");
        if (pin)
                snprintf(v->token, sizeof v->token, "%.*s", (int)strcspn(pin, ";\r"), pin);
        v->new_person = !cookie || strspn(cookie, "0123456789abcdef") != WHO_LEN;
        if (!v->new_person) {
                snprintf(v->who, sizeof v->who, "%.*s", WHO_LEN, cookie);
                return;
        }
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
                abort(); /* so few bytes always come whole */
        for (size_t i = 0; i < sizeof bytes; i++)
                snprintf(v->who + 2 * i, 3, "%02x", bytes[i]);
}

static char *guestbook_page(const struct visit *v, const PGresult *r)
{
        char *page = NULL;
        size_t len = 0;
        FILE *f = open_memstream(&page, &len);
        if (!f)
                return NULL;
        fputs("<!doctype html><title>Guest-book</title><h1>Guest-book</h1>"
              "<style>body{font:16px sans-serif;max-width:40em;margin:2em auto}b{color:#067}</style>"
              "<form method=post action=/post><input name=text maxlength=500 required autofocus>"
              "<button>Sign</button></form><ul>\n",
              f);
        for (int i = 0; i < PQntuples(r); i++) {
                const char *by = *PQgetvalue(r, i, 1) == 't' ? "you" : "somebody";
                fprintf(f, "<li id=p%s>%s <b>%s</b>: ", PQgetvalue(r, i, 0), PQgetvalue(r, i, 2), by);
                html_put(f, PQgetvalue(r, i, 3));
                fputc('\n', f);
        }
        fprintf(f, "</ul><footer>Worker %u read this from %s: %s.</footer>\n", worker, v->from.node,
                pinroute_reason_name(v->from.reason));
        return fclose(f) == 0 ? page : NULL;
}

static void show_guestbook(struct visit *v)
{
        static const char sql[] = "select id, who = $1, to_char(at, 'HH24:MI:SS'), text from guestbook"
                                  " order by id desc limit 20";
        struct pinroute_scope scope;
        PGresult *r = read_routed(v, &scope, sql, v->who);
        char *page = r ? guestbook_page(v, r) : NULL;
        if (page)
                answer(v, "200 OK", "text/html", page);
        else
                answer(v, "503 Service Unavailable", "text/plain", CANNOT_READ);
        free(page);
        PQclear(r);
        pinroute_scope_end(&scope);
}

static void show_seen(struct visit *v)
{
        const char *id = v->q.query + 3;
        struct pinroute_scope scope;
        char body[256];
        if (strncmp(v->q.query, "id=", 3) != 0 || !*id || strlen(id) > 18 ||
            strspn(id, "0123456789") != strlen(id)) {
                answer(v, "400 Bad Request", "text/plain", "/seen?id=NUMBER");
                return;
        }
        PGresult *r = read_routed(v, &scope, "select count(*) from guestbook where id = $1", id);
        if (r) {
                snprintf(body, sizeof body,
                         "{\"worker\": %u, \"node\": \"%s\", \"reason\": \"%s\", \"pin_left_ms\": %u, "
                         "\"seen\": %s}\n",
                         worker, v->from.node, pinroute_reason_name(v->from.reason), v->from.pin_left_ms,
                         *PQgetvalue(r, 0, 0) == '0' ? "false" : "true");
                answer(v, "200 OK", "application/json", body);
        } else {
                answer(v, "503 Service Unavailable", "text/plain", CANNOT_READ);
        }
        PQclear(r);
        pinroute_scope_end(&scope);
}

/* pinroute: after the write is recorded, or could not be.  The next request may reach a host whose daemon
 * knows nothing of it: the token tells it, if both have the same key_file. */
static void give_token(struct visit *v)
{
        pinroute_token_issue(pr, cluster, v->who, WHO_LEN, v->pin, sizeof v->pin);
}

/* pinroute: COMMIT has returned; once this says OK, every process of the host knows of the write, and only
 * then the person is sent on to read it.  On any other status this process knows, and will tell the daemon;
 * others may not know for up to a second.  The write is safe all the same: say so and go on. */
static const char *record(const struct visit *v)
{
        struct pinroute_scope scope;
        pinroute_scope_begin(&scope, pr, cluster, v->who, WHO_LEN);
        pinroute_scope_wrote(&scope);
        int status = pinroute_scope_end(&scope);
        return status == PINROUTE_OK ? "yes" : pinroute_strerror(status);
}

static void take_post(struct visit *v)
{
        char id[32] = "", *text = http_form_field(v->q.body, "text");
        if (!text || !*text || strlen(text) > POST_MAX) {
                answer(v, "400 Bad Request", "text/plain", "text=, 1 to 500 bytes");
                return;
        }
        pinroute_route_write(pr, cluster, &v->from);
        /* pinroute: between COMMIT and record() nobody else knows of the write, and nobody ever will if this
         * process dies there.  Who cannot have that holds first, for longer than all of it takes. */
        if (opt.hold_ms)
                pinroute_hold(pr, cluster, v->who, WHO_LEN, opt.hold_ms);
        switch (save_post(node_find(v->from.node), v->who, text, id)) {
        case SAVED:
                snprintf(v->extra, sizeof v->extra,
                         "Location: /#p%s\r\nX-Guestbook-Post: %s\r\nX-Pinroute-Recorded: %s\r\n", id, id,
                         record(v));
                give_token(v);
                answer(v, "303 See Other", "text/plain", "");
                break;
        case NOT_SAVED:
                answer(v, "503 Service Unavailable", "text/plain",
                       "not saved: the primary cannot take it now");
                break;
        case UNKNOWN:
                /* pinroute: nobody knows whether and when this COMMIT takes effect.  Until it surely has or
                 * has not, nothing but the primary will do for this person. */
                pinroute_hold(pr, cluster, v->who, WHO_LEN, UNKNOWN_MS);
                give_token(v);
                answer(v, "504 Gateway Timeout", "text/plain",
                       "perhaps saved: look before you send it again");
        }
}

static void serve(struct visit *v)
{
        const char *refused = http_receive(&v->q);
        bool post = strcmp(v->q.path, "/post") == 0, seen = strcmp(v->q.path, "/seen") == 0;
        if (refused && *refused) {
                answer(v, refused, "text/plain", "this server cannot take that request");
                http_drain(v->q.client);
        }
        if (refused)
                return;
        identify(v);
        if (!post && !seen && strcmp(v->q.path, "/") != 0) {
                answer(v, "404 Not Found", "text/plain", "there are /, /post and /seen");
        } else if (post != (pinroute_http_method_writes(v->q.method) != 0)) {
                snprintf(v->extra, sizeof v->extra, "Allow: %s\r\n", post ? "POST" : "GET, HEAD");
                answer(v, "405 Method Not Allowed", "text/plain", "not that method here");
        } else if (post) {
                take_post(v);
        } else if (seen) {
                show_seen(v);
        } else {
                show_guestbook(v);
        }
}

/* ---- The processes. ---- */

static void on_stop(int number)
{
        (void)number;
        stopping = 1;
}

/* Serves one connection after another.  Signals are let in only while it waits: none is missed before that.
 */
static void worker_main(int listener)
{
        sigset_t none;
        sigemptyset(&none);
        while (!stopping) {
                struct pollfd p = {.fd = listener, .events = POLLIN};
                if (ppoll(&p, 1, NULL, &none) <= 0)
                        continue;
                struct visit v = {.q.client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)};
                if (v.q.client < 0)
                        continue; /* another worker was faster */
                serve(&v);
                close(v.q.client);
        }
        for (unsigned i = 0; i < NODES_MAX; i++)
                node_drop(&node[i]);
        pinroute_close(&pr);
}

static pid_t start_worker(unsigned number, int listener)
{
        pid_t parent = getpid(), child = fork();
        if (child != 0)
                return child;
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* a worker does not outlive its master */
        worker = number;
        if (getppid() == parent)
                worker_main(listener);
        exit(0);
}

/* Starts the workers and replaces those that end, at most one a second each, until told to stop. */
static void master(int listener)
{
        pid_t pid[WORKERS_MAX] = {0};
        int64_t born[WORKERS_MAX] = {0};
        sigset_t handled;
        sigemptyset(&handled);
        sigaddset(&handled, SIGTERM);
        sigaddset(&handled, SIGINT);
        sigaddset(&handled, SIGCHLD);
        sigprocmask(SIG_BLOCK, &handled, NULL);
        signal(SIGTERM, on_stop);
        signal(SIGINT, on_stop);
        signal(SIGCHLD, SIG_DFL);
        while (!stopping) {
                for (unsigned i = 0; i < opt.workers; i++) {
                        if (pid[i] > 0 && waitpid(pid[i], NULL, WNOHANG) == pid[i])
                                pid[i] = 0;
                        if (pid[i] <= 0 && (born[i] == 0 || now_ms() - born[i] >= 1000)) {
                                born[i] = now_ms();
                                pid[i] = start_worker(i + 1, listener);
                        }
                }
                int got = sigtimedwait(&handled, NULL, &(struct timespec){.tv_sec = 1});
                stopping = got == SIGTERM || got == SIGINT;
        }
        for (unsigned i = 0; i < opt.workers; i++) {
                if (pid[i] > 0 && kill(pid[i], SIGTERM) == 0)
                        waitpid(pid[i], NULL, 0);
        }
}

static bool options(int argc, char **argv)
{
        static const struct option known[] = {{"listen", required_argument, NULL, 'l'},
                                              {"workers", required_argument, NULL, 'w'},
                                              {"dir", required_argument, NULL, 'd'},
                                              {"cluster", required_argument, NULL, 'c'},
                                              {"user", required_argument, NULL, 'u'},
                                              {"node", required_argument, NULL, 'n'},
                                              {"ignore-pins", no_argument, NULL, 'i'},
                                              {"hold", required_argument, NULL, 'h'},
                                              {0}};
        int o;
        while ((o = getopt_long(argc, argv, "l:w:d:c:u:n:ih:", known, NULL)) != -1) {
                switch (o) {
                case 'l': opt.listen = optarg; break;
                case 'w': opt.workers = (unsigned)strtoul(optarg, NULL, 10); break;
                case 'd': opt.dir = optarg; break;
                case 'c': opt.cluster = optarg; break;
                case 'u': opt.user = optarg; break;
                case 'i': opt.ignore_pins = true; break;
                case 'h': opt.hold_ms = (unsigned)strtoul(optarg, NULL, 10); break;
                case 'n':
                        if (opt.n_given == NODES_MAX || !strchr(optarg, '='))
                                return false;
                        opt.given[opt.n_given++] = optarg;
                        break;
                default: return false;
                }
        }
        return optind == argc && opt.workers >= 1 && opt.workers <= WORKERS_MAX;
}

int main(int argc, char **argv)
{
        int status, listener;
        if (!options(argc, argv)) {
                fprintf(stderr,
                        "usage: %s [--listen 127.0.0.1:8080] [--workers 4] [--dir DIR] [--cluster main]\n"
                        "       [--user app] [--node NAME=CONNINFO]... [--ignore-pins] [--hold MS]\n",
                        argv[0]);
                return 2;
        }
        /* pinroute: the daemon need not run yet; until it does, every answer is "primary". */
        if ((status = pinroute_open(&pr, opt.dir)) != PINROUTE_OK ||
            ((status = pinroute_cluster(pr, opt.cluster, &cluster)) != PINROUTE_OK &&
             status != PINROUTE_E_CLUSTER)) {
                fprintf(stderr, "%s: pinroute: %s\n", argv[0], pinroute_strerror(status));
                return 1;
        }
        if ((listener = http_listen(opt.listen)) < 0) {
                fprintf(stderr, "%s: cannot listen on %s\n", argv[0], opt.listen);
                return 1;
        }
        master(listener);
        close(listener);
        pinroute_close(&pr);
        return 0;
}
