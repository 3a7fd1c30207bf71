/* resolve.c -- names of servers to addresses, without blocking.
 * The only file that includes <event2/dns.h>.  Owns: struct resolver, struct lookup. */
#include "daemon/resolve.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/log.h"

/* A file as it was when it was last read. */
struct seen {
        const char *path;
        struct timespec changed;
        ino_t ino;
};

struct resolver {
        struct evdns_base *dns;
        struct seen resolv_conf, hosts;
};

struct lookup {
        struct resolver *resolver;
        void (*done)(void *arg);
        void *arg;
        char *name;
        struct evdns_getaddrinfo_request *request;
        bool running;
        bool starting; /* inside lookup_start(): its caller takes the answer itself */
        bool closed;   /* freed when evdns lets go of it */
        unsigned count;
        char address[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_SIZE];
        char error[96];
};

static bool has_changed(struct seen *s)
{
        struct stat st = {0}; /* a missing file is a state as any other */

        (void)stat(s->path, &st);
        bool same = st.st_ino == s->ino && st.st_mtim.tv_sec == s->changed.tv_sec &&
                    st.st_mtim.tv_nsec == s->changed.tv_nsec;
        s->ino = st.st_ino;
        s->changed = st.st_mtim;
        return !same;
}

/* Ours, not the file's: a check has a fraction of a second, and the next one asks again. */
static void set_options(struct evdns_base *dns)
{
        static const char *const option[][2] = {
            {"timeout:", "1"},
            {"attempts:", "2"},
            {"max-inflight:", "4096"}, /* names that nobody answers must not queue up before others */
            {"getaddrinfo-allow-skew:", "0.05"}, /* A came: how long AAAA may take, and the reverse */
            {"randomize-case:", "0"},            /* some servers answer in lower case, and evdns drops that */
        };

        for (size_t i = 0; i < sizeof option / sizeof option[0]; i++)
                (void)evdns_base_set_option(dns, option[i][0], option[i][1]);
}

static void read_files(struct resolver *r)
{
        if (has_changed(&r->resolv_conf)) {
                evdns_base_clear_nameservers_and_suspend(r->dns);
                (void)evdns_base_resolv_conf_parse(
                    r->dns, DNS_OPTION_SEARCH | DNS_OPTION_NAMESERVERS | DNS_OPTION_MISC,
                    r->resolv_conf.path);
                set_options(r->dns);
                evdns_base_resume(r->dns);
        }
        if (has_changed(&r->hosts)) {
                evdns_base_clear_host_addresses(r->dns);
                (void)evdns_base_load_hosts(r->dns, r->hosts.path);
        }
}

static void ignore_log(int is_warning, const char *message)
{
        (void)is_warning;
        (void)message;
}

struct resolver *resolver_open(struct event_base *base, const char *resolv_conf, const char *hosts)
{
        struct resolver *r = calloc(1, sizeof *r);

        MUST(r);
        evdns_set_log_fn(ignore_log);
        r->dns = evdns_base_new(base, EVDNS_BASE_DISABLE_WHEN_INACTIVE);
        MUST(r->dns);
        r->resolv_conf = (struct seen){.path = resolv_conf, .ino = (ino_t)-1};
        r->hosts = (struct seen){.path = hosts, .ino = (ino_t)-1};
        read_files(r);
        return r;
}

void resolver_close(struct resolver **r)
{
        evdns_base_free((*r)->dns, 1);
        free(*r);
        *r = NULL;
}

struct lookup *lookup_open(struct resolver *r, const char *name, void (*done)(void *arg), void *arg)
{
        struct lookup *l = calloc(1, sizeof *l);

        MUST(l);
        *l = (struct lookup){.resolver = r, .done = done, .arg = arg, .name = strdup(name)};
        MUST(l->name);
        return l;
}

static void lookup_free(struct lookup *l)
{
        free(l->name);
        free(l);
}

/* evdns calls back for a cancelled request, too, but later. */
void lookup_close(struct lookup **ret)
{
        struct lookup *l = *ret;

        *ret = NULL;
        if (!l)
                return;
        l->closed = true;
        if (!l->running)
                lookup_free(l);
        else if (l->request)
                evdns_getaddrinfo_cancel(l->request);
}

static void keep(struct lookup *l, const struct evutil_addrinfo *list)
{
        unsigned n = 0;

        for (; list && n < RESOLVE_ADDRESSES_MAX; list = list->ai_next)
                if (getnameinfo(list->ai_addr, list->ai_addrlen, l->address[n], RESOLVE_ADDRESS_SIZE, NULL, 0,
                                NI_NUMERICHOST) == 0)
                        n++;
        l->count = n;
}

static void on_answer(int result, struct evutil_addrinfo *list, void *arg)
{
        struct lookup *l = arg;

        l->running = false;
        l->request = NULL;
        l->error[0] = '\0';
        if (result == 0 && list)
                keep(l, list);
        else
                snprintf(l->error, sizeof l->error, "%s",
                         result ? evutil_gai_strerror(result) : "no address for this name");
        if (list)
                evutil_freeaddrinfo(list);
        if (l->closed)
                lookup_free(l);
        else if (!l->starting)
                l->done(l->arg);
}

bool lookup_start(struct lookup *l)
{
        struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

        if (l->running)
                return false;
        read_files(l->resolver);
        l->running = l->starting = true;
        struct evdns_getaddrinfo_request *request =
            evdns_getaddrinfo(l->resolver->dns, l->name, NULL, &hints, on_answer, l);
        l->starting = false;
        if (l->running)
                l->request = request;
        return !l->running;
}

const char *lookup_name(const struct lookup *l) { return l->name; }
unsigned lookup_count(const struct lookup *l) { return l->count; }
const char *lookup_address(const struct lookup *l, unsigned i) { return i < l->count ? l->address[i] : ""; }
const char *lookup_error(const struct lookup *l) { return l->error; }
