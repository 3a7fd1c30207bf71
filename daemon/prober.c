/* prober.c -- the process that asks the nodes: orders in, results out, and what it may not do.
 * Owns: the probes, and results that the core has no room for. */
#include "daemon/prober.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/probe.h"
#include "daemon/resolve.h"
#include "daemon/user.h"

#define MEMORY_MAX      (512ul << 20)
#define MEMORY_ROOM     (24ul << 20) /* beyond what is in use when a check begins */
#define MEMORY_PER_NODE (2ul << 20)  /* TLS with the system's root certificates needs about one */
#define ORDERS_PER_TURN 64           /* then the nodes' sockets have their turn */
#define GSS_UNAVAILABLE (16u << 16)  /* GSS_S_UNAVAILABLE (RFC 2744) */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

struct seat {
        struct probe *probe;
        bool waits; /* result has not been sent yet */
        struct prober_result result;
};

static struct {
        struct probe_host host;
        struct event orders, room;
        char user[64];
        unsigned waiting;
        unsigned n_nodes;
        struct seat seat[PROBER_NODES_MAX];
} prober;

/* Results */

/* The core has gone, or speaks another language: there is nobody left to work for. */
static void end(const char *why)
{
        if (why)
                log_error("%s", why);
        exit(why ? 1 : 0);
}

/* False: no room. */
static bool put(const struct prober_result *r)
{
        ssize_t n = send(PROBER_FD, r, sizeof *r, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n == (ssize_t)sizeof *r)
                return true;
        if (errno == EPIPE || errno == ECONNRESET)
                end(NULL);
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS && errno != EINTR)
                end("cannot send a result to the core");
        return false;
}

/* The newest result of a node replaces one that still waits.  A break does not hide that a check had a
 * result: it takes its number, and the answer, which is no longer worth anything, is gone. */
static void keep(struct seat *s, const struct prober_result *r)
{
        uint64_t number = s->waits && r->number == 0 ? s->result.number : r->number;

        if (!s->waits)
                prober.waiting++;
        s->waits = true;
        s->result = *r;
        s->result.number = number;
        if (number != 0 && r->kind == PROBER_BROKEN)
                s->result.kind = PROBER_FAILED;
        event_add(&prober.room, NULL);
}

static void on_result(void *arg, const struct prober_result *r)
{
        (void)arg;
        if (prober.waiting > 0 || !put(r))
                keep(&prober.seat[r->node], r);
}

static void forget_result(struct seat *s)
{
        if (s->waits)
                prober.waiting--;
        s->waits = false;
}

static void on_room(evutil_socket_t fd, short what, void *arg)
{
        (void)fd;
        (void)what;
        (void)arg;
        for (unsigned i = 0; i < PROBER_NODES_MAX && prober.waiting > 0; i++) {
                struct seat *s = &prober.seat[i];
                if (s->waits && !put(&s->result))
                        return;
                forget_result(s);
        }
        event_del(&prober.room);
}

/* Orders */

/* libpq makes room for whatever length a server claims, and then reads in one call as long as more comes: 137
 * MB were seen, and every other node waiting for it.  Without the room it gives up at once. */
static void limit_memory(void)
{
        struct rlimit memory = {.rlim_max = MEMORY_MAX};
        char pages[32] = "";

        if (SANITIZED)
                return;
        int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, pages, sizeof pages - 1) <= 0)
                snprintf(pages, sizeof pages, "%lu", MEMORY_MAX);
        if (fd >= 0)
                close(fd);
        size_t used = strtoul(pages, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
        size_t limit = used + MEMORY_ROOM + prober.n_nodes * MEMORY_PER_NODE;
        memory.rlim_cur = limit < MEMORY_MAX ? limit : MEMORY_MAX;
        setrlimit(RLIMIT_AS, &memory);
}

static void drop(uint32_t node)
{
        struct seat *s = &prober.seat[node];

        if (s->probe)
                prober.n_nodes--;
        probe_close(&s->probe);
        forget_result(s);
}

static void set(uint32_t node, const char *conninfo, bool cleartext)
{
        struct seat *s = &prober.seat[node];

        if (!s->probe || strcmp(probe_conninfo(s->probe), conninfo) != 0) {
                drop(node);
                s->probe = probe_open(&prober.host, node, conninfo);
                prober.n_nodes++;
        }
        probe_let_cleartext(s->probe, cleartext);
}

static void check(const struct prober_order *o)
{
        struct prober_result r = {
            .kind = PROBER_FAILED, .node = o->node, .number = o->number, .text = "not defined"};

        limit_memory();
        if (prober.seat[o->node].probe)
                probe_check(prober.seat[o->node].probe, o->number, o->timeout_ms);
        else
                on_result(NULL, &r);
}

static void obey(const struct prober_order *o)
{
        if (o->node >= PROBER_NODES_MAX)
                end("an order for a node beyond the last");
        switch ((enum prober_order_kind)o->kind) {
        case PROBER_NODE_SET:
                if (!memchr(o->conninfo, '\0', sizeof o->conninfo))
                        end("an order with an endless conninfo");
                set(o->node, o->conninfo, o->cleartext != 0);
                return;
        case PROBER_NODE_DROP: drop(o->node); return;
        case PROBER_CHECK: check(o); return;
        }
        end("an order of an unknown kind");
}

static void on_orders(evutil_socket_t fd, short what, void *arg)
{
        struct prober_order o;

        (void)what;
        (void)arg;
        for (int i = 0; i < ORDERS_PER_TURN; i++) {
                ssize_t n = recv(fd, &o, sizeof o, MSG_DONTWAIT | MSG_TRUNC);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        break;
                if (n == 0 || (n < 0 && errno == ECONNRESET))
                        end(NULL);
                if (n != (ssize_t)sizeof o)
                        end("an order of another size");
                obey(&o);
        }
        explicit_bzero(&o, sizeof o);
}

/* Kerberos */

/* In front of the GSS library's own (libpq looks here first): libpq's way to GSSAPI begins with it, and the
 * library goes on to ask the name service, a key centre or a broker of tickets, and waits for each.  A server
 * needs only to ask for GSSAPI: it would stop the checks of all. */
__attribute__((visibility("default"))) uint32_t gss_import_name(uint32_t *minor, const void *text,
                                                                const void *type, void **ret);

uint32_t gss_import_name(uint32_t *minor, const void *text, const void *type, void **ret)
{
        (void)text;
        (void)type;
        *minor = 0;
        *ret = NULL;
        return GSS_UNAVAILABLE;
}

/* The process */

/* libpq would take defaults from there. */
static void clear_environment(void)
{
        char name[64];

        for (char **e = environ; *e;) {
                snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
                if (strncmp(name, "PG", 2) == 0 && unsetenv(name) == 0)
                        e = environ;
                else
                        e++;
        }
}

/* Once, here: the name service may block, and libpq would ask it for each connection. */
static void learn_user(void)
{
        const struct passwd *me = getpwuid(geteuid());

        if (!me)
                return;
        snprintf(prober.user, sizeof prober.user, "%s", me->pw_name);
        prober.host.user = prober.user;
        setenv("HOME", me->pw_dir, 0);
}

static void limit_process(void)
{
        const struct rlimit no_core = {0, 0};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        close_range(PROBER_FD + 1, ~0u, 0);
        if (SANITIZED)
                return;
        mallopt(M_MMAP_THRESHOLD, 128 << 10); /* fixed: else what was large once stays ours */
        setrlimit(RLIMIT_CORE, &no_core);
        prctl(PR_SET_DUMPABLE, 0);
}

/* A terminal's signals reach the whole group; the core decides when we end. */
static void ignore_signals(void)
{
        static const int ignored[] = {SIGPIPE, SIGINT, SIGHUP};

        for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
                signal(ignored[i], SIG_IGN);
}

static struct event_base *open_base(void)
{
        struct event_config *config = event_config_new();

        MUST(config);
        event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
        event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
        struct event_base *base = event_base_new_with_config(config);
        event_config_free(config);
        MUST(base);
        return base;
}

/* PINROUTE_RESOLV_CONF: another file than the system's, for hosts where it lies elsewhere, and for tests. */
static const char *resolv_conf(void)
{
        const char *path = getenv("PINROUTE_RESOLV_CONF");

        return path && path[0] ? path : "/etc/resolv.conf";
}

int prober_main(void)
{
        limit_process();
        log_init("prober");
        user_write_nothing();
        ignore_signals();
        clear_environment();
        learn_user();

        struct event_base *base = open_base();
        prober.host.base = base;
        prober.host.resolver = resolver_open(base, resolv_conf(), "/etc/hosts");
        prober.host.result = on_result;
        event_assign(&prober.orders, base, PROBER_FD, EV_READ | EV_PERSIST, on_orders, NULL);
        event_assign(&prober.room, base, PROBER_FD, EV_WRITE | EV_PERSIST, on_room, NULL);
        event_add(&prober.orders, NULL);
        event_base_dispatch(base);
        log_error("the event loop ended");
        return 1;
}
