/* http.c -- the HTTP server: which paths there are, who is answered, for how long.
 * The only file that knows evhttp.  Everything in a request is hostile. */
#include "daemon/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "daemon/address.h"
#include "daemon/clock.h"
#include "daemon/hosts.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/page.h"
#include "daemon/trouble.h"
#include "daemon/turn.h"

#define HEAD_MAX_BYTES 8192 /* request line and headers */
#define BODY_MAX_BYTES 4096 /* nobody needs one; one that comes with a POST is read before that is refused */
#define BACKLOG        64
#define LOOK_MS        50
#define AGAIN_MS       60000 /* after a socket that could not be made anew */
#define CHEAP_US       2000  /* a page that takes less is made for each who asks */
#define SHARE          9     /* a page made anew is good for so many times of what that took */
#define MISDIRECTED    421
#define LISTENER       (LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC)

/* All but CONNECT, which evhttp answers with 501: it would take what follows for a tunnel. */
#define METHODS                                                                                              \
        (EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |           \
         EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_PATCH)

#define TEXT "text/plain; charset=utf-8"
#define BARE "default-src 'none'; frame-ancestors 'none'" /* what is no page shows nothing and runs nothing */

/* ---- pages ---- */

static void add_line(void *arg, const char *sentence) { evbuffer_add_printf(arg, "%s\n", sentence); }

/* "ok", or "degraded" and why.  Alone it tells whether the daemon serves; ?strict, whether all is well besides. */
static int fill_health(const struct http_ask *ask, struct evbuffer *out)
{
        struct evbuffer *why = evbuffer_new();
        if (!why)
                return HTTP_SERVUNAVAIL;
        unsigned troubles = trouble_tell(ask->core, ask->now, add_line, why);
        bool serves = core_serves(ask->core, ask->now);
        evbuffer_add_printf(out, "%s\n", !serves ? "not serving" : troubles ? "degraded" : "ok");
        evbuffer_add_buffer(out, why);
        evbuffer_free(why);
        return serves && (!troubles || strcmp(ask->query, "strict") != 0) ? HTTP_OK : HTTP_SERVUNAVAIL;
}

static int fill_metrics(const struct http_ask *ask, struct evbuffer *out)
{
        return metrics_fill(ask->core, ask->conns, ask->now, out) ? HTTP_OK : HTTP_SERVUNAVAIL;
}

static int fill_status(const struct http_ask *ask, struct evbuffer *out)
{
        page_fill(ask->core, ask->conns->n, ask->now, clock_ms(CLOCK_REALTIME), out);
        return HTTP_OK;
}

static const char *bare(void) { return BARE; }

static const struct page {
        const char *path, *type;
        const char *(*policy)(void);
        int (*fill)(const struct http_ask *ask, struct evbuffer *out); /* returns the status */
        bool asks; /* it reads the query: made for each who asks, so cheap */
} pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", bare, fill_metrics, false},
    {"/healthz", TEXT, bare, fill_health, true},
    {"/", "text/html; charset=utf-8", page_policy, fill_status, false},
};

#define N_PAGES (sizeof pages / sizeof *pages)
static_assert(N_PAGES <= HTTP_PAGES_MAX, "each has a place in struct http");

/* NULL: there is none. */
static const struct page *find_page(const char *path, size_t n)
{
        for (const struct page *p = pages; p < pages + N_PAGES; p++)
                if (strlen(p->path) == n && !strncmp(p->path, path, n))
                        return p;
        return NULL;
}

/* Into the place of the one that was there. */
static void make(const struct page *p, const struct http_ask *ask, struct http_made *made)
{
        int64_t began_us = clock_us(CLOCK_MONOTONIC);
        struct evbuffer *body = evbuffer_new();
        made->status = body ? p->fill(ask, body) : HTTP_SERVUNAVAIL;
        if (made->body)
                evbuffer_free(made->body);
        made->body = body;
        int64_t ended_us = clock_us(CLOCK_MONOTONIC), took_us = ended_us - began_us;
        made->good_until_us = took_us < CHEAP_US ? 0 : ended_us + SHARE * took_us;
}

/* Returns the status. */
static int take_page(struct http *h, const struct page *p, const char *query, struct evbuffer *out)
{
        struct http_ask ask = {h->core, h->conns, clock_mono(), query};
        if (p->asks)
                return p->fill(&ask, out);
        struct http_made *made = &h->made[p - pages];
        if (!made->body || clock_us(CLOCK_MONOTONIC) > made->good_until_us)
                make(p, &ask, made);
        bool taken = made->body && !evbuffer_add_buffer_reference(out, made->body);
        return taken ? made->status : HTTP_SERVUNAVAIL;
}

/* ---- answers ---- */

static const char *word_of(int status)
{
        switch (status) {
        case HTTP_OK: return "OK";
        case HTTP_BADREQUEST: return "Bad Request";
        case HTTP_NOTFOUND: return "Not Found";
        case HTTP_BADMETHOD: return "Method Not Allowed";
        case MISDIRECTED: return "Misdirected Request";
        default: return "Service Unavailable";
        }
}

static void answer(struct evhttp_request *r, int status, const char *type, const char *policy,
                   struct evbuffer *body)
{
        char length[24];
        struct evkeyvalq *headers = evhttp_request_get_output_headers(r);
        snprintf(length, sizeof length, "%zu", evbuffer_get_length(body));
        evhttp_add_header(headers, "Content-Type", type);
        evhttp_add_header(headers, "Content-Length", length);
        evhttp_add_header(headers, "Cache-Control", "no-store");
        evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
        evhttp_add_header(headers, "Content-Security-Policy", policy);
        evhttp_add_header(headers, "Connection", "close");
        if (evhttp_request_get_command(r) == EVHTTP_REQ_HEAD) /* evhttp would send the body */
                evbuffer_drain(body, evbuffer_get_length(body));
        evhttp_send_reply(r, status, word_of(status), body);
}

static void refuse(struct evhttp_request *r, int status, const char *sentence, struct evbuffer *body)
{
        evbuffer_add_printf(body, "%s\n", sentence);
        answer(r, status, TEXT, BARE, body);
}

/* ---- requests ---- */

/* The Host header's value, "" without one; NULL: there are two of them. */
static const char *host_of(struct evhttp_request *r)
{
        const char *host = "";
        struct evkeyval *header;
        TAILQ_FOREACH (header, evhttp_request_get_input_headers(r), next) {
                if (strcasecmp(header->key, "Host") != 0)
                        continue;
                if (*host)
                        return NULL;
                host = header->value;
        }
        return host;
}

/* Without a name nobody was led here by it: browsers always say one, what speaks HTTP/1.0 may not. */
static bool admits(const struct http *h, const char *host)
{
        return h->where[0] == '/' || !*host || hosts_admit(host, h->core->conf->http_host);
}

static void answer_in(struct http *h, struct evhttp_request *r, struct evbuffer *body)
{
        const char *uri = evhttp_request_get_uri(r), *host = host_of(r);
        enum evhttp_cmd_type method = evhttp_request_get_command(r);
        if (!uri || uri[0] != '/' || !host) {
                refuse(r, HTTP_BADREQUEST, "A request names a path, beginning with /, and one Host.", body);
                return;
        }
        if (!admits(h, host)) {
                refuse(
                    r, MISDIRECTED,
                    "The Host of this request is none that this server knows: ask for localhost, or for an "
                    "address, or say http_host = NAME in [pinrouted] of its config.",
                    body);
                return;
        }
        if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
                evhttp_add_header(evhttp_request_get_output_headers(r), "Allow", "GET, HEAD");
                refuse(r, HTTP_BADMETHOD, "Here is nothing but to read: GET or HEAD.", body);
                return;
        }
        size_t n = strcspn(uri, "?#");
        const struct page *p = find_page(uri, n);
        if (!p) {
                for (p = pages; p < pages + N_PAGES; p++)
                        evbuffer_add_printf(body, "%s ", p->path);
                refuse(r, HTTP_NOTFOUND, "is all that there is here.", body);
                return;
        }
        int status = take_page(h, p, uri[n] == '?' ? uri + n + 1 : "", body);
        answer(r, status, p->type, p->policy(), body);
}

static void on_request(struct evhttp_request *r, void *arg)
{
        turn_woke();
        struct evbuffer *body = evbuffer_new();
        if (!body) {
                evhttp_send_error(r, HTTP_SERVUNAVAIL, NULL);
                return;
        }
        answer_in(arg, r, body);
        evbuffer_free(body);
}

/* ---- connections ---- */

/* evhttp has given it up: nobody is told of that. */
static bool is_over(struct bufferevent *b)
{
        bufferevent_data_cb on_read, on_write;
        bufferevent_event_cb on_event;
        void *arg;
        bufferevent_getcb(b, &on_read, &on_write, &on_event, &arg);
        return !on_event;
}

static void forget(struct http *h, unsigned i)
{
        bufferevent_decref(h->client[i].b);
        h->client[i] = h->client[--h->n];
}

static void take_nobody(struct http *h)
{
        h->rests = true;
        evconnlistener_disable(h->listener);
}

/* Of those that are there, lets go who is over, and cuts off who takes too long: evhttp then sees its end. */
static void look_at_clients(struct http *h, struct mono now)
{
        int64_t patience_ms = h->rests ? HTTP_CROWDED_MS : HTTP_PATIENCE_MS;
        for (unsigned i = h->n; i-- > 0;) {
                struct http_client *c = &h->client[i];
                if (is_over(c->b))
                        forget(h, i);
                else if (mono_since(now, c->since) > patience_ms)
                        shutdown(bufferevent_getfd(c->b), SHUT_RDWR);
        }
}

static void look_soon(struct http *h)
{
        static const struct timeval pause = {.tv_usec = LOOK_MS * 1000};
        if (!event_pending(h->look, EV_TIMEOUT, NULL))
                event_add(h->look, &pause);
}

/* As long as anybody is there. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
        (void)fd, (void)what;
        struct http *h = arg;
        turn_woke();
        look_at_clients(h, clock_mono());
        if (h->rests && h->n < HTTP_CLIENTS_MAX && !evconnlistener_enable(h->listener))
                h->rests = false;
        if (h->n || h->rests)
                look_soon(h);
}

/* Before evhttp parses what has come. */
static void on_bytes(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
        (void)in, (void)info, (void)arg;
        turn_woke();
}

/* Somebody was accepted: what evhttp is to speak to him over.  NULL: one that we do not look at, but evhttp's own
 * timeout ends it. */
static struct bufferevent *on_client(struct event_base *base, void *arg)
{
        struct http *h = arg;
        turn_woke();
        struct bufferevent *b = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
        if (!b || h->n == HTTP_CLIENTS_MAX)
                return b;
        evbuffer_add_cb(bufferevent_get_input(b), on_bytes, NULL);
        bufferevent_incref(b);
        h->client[h->n++] = (struct http_client){.b = b, .since = clock_mono()};
        if (h->n == HTTP_CLIENTS_MAX)
                take_nobody(h);
        look_soon(h);
        return b;
}

static struct http *listening; /* the one server of the process: a listener's argument is evhttp's own */

/* No descriptor: a level-triggered listener would spin. */
static void on_accept_failure(struct evconnlistener *listener, void *arg)
{
        (void)listener, (void)arg;
        turn_woke();
        take_nobody(listening);
        look_soon(listening);
}

/* ---- setup ---- */

static bool fail(const struct http *h, const char *mend)
{
        log_error("http_listen: %s: %s%s", h->where, strerror(errno), mend);
        return false;
}

static const char *mend_of(int error)
{
        switch (error) {
        case EADDRINUSE: return " by another program: stop it, or name another port";
        case EACCES: return ": name a port above 1023";
        case EADDRNOTAVAIL: return ": name an address of this machine";
        default: return "";
        }
}

static bool listen_on_address(struct http *h)
{
        struct sockaddr_storage at;
        socklen_t size = address_read(h->where, &at);
        MUST(size > 0); /* value.c checks it */
        h->listener = evconnlistener_new_bind(h->base, NULL, NULL, LISTENER | LEV_OPT_REUSEABLE, BACKLOG,
                                              (struct sockaddr *)&at, (int)size);
        return h->listener || fail(h, mend_of(errno));
}

/* NULL after logging. */
static struct evconnlistener *listener_at_path(struct http *h)
{
        h->name.path = h->where;
        int fd = listen_at(&h->name, h->group);
        if (fd < 0)
                return NULL;
        struct evconnlistener *listener = evconnlistener_new(h->base, NULL, NULL, LISTENER, 0, fd);
        if (!listener) {
                close(fd);
                fail(h, "");
        }
        return listener;
}

static bool listen_on_path(struct http *h)
{
        h->listener = listener_at_path(h);
        return h->listener != NULL;
}

static bool take_listener(struct http *h, struct evconnlistener *listener)
{
        struct evhttp_bound_socket *bound = evhttp_bind_listener(h->server, listener);
        if (!bound)
                return false;
        listening = h;
        evconnlistener_set_error_cb(listener, on_accept_failure);
        h->listener = listener;
        h->bound = bound;
        return true;
}

static bool set_up_server(struct http *h)
{
        const struct timeval patience = {.tv_sec = HTTP_PATIENCE_MS / 1000};
        h->server = evhttp_new(h->base);
        h->look = event_new(h->base, -1, 0, on_look, h);
        if (!h->server || !h->look)
                return false;
        evhttp_set_gencb(h->server, on_request, h);
        evhttp_set_bevcb(h->server, on_client, h);
        evhttp_set_timeout_tv(h->server, &patience);
        evhttp_set_max_headers_size(h->server, HEAD_MAX_BYTES);
        evhttp_set_max_body_size(h->server, BODY_MAX_BYTES);
        evhttp_set_allowed_methods(h->server, METHODS);
        return take_listener(h, h->listener);
}

bool http_init(struct http *h, const struct conf *conf, gid_t group)
{
        snprintf(h->where, sizeof h->where, "%s", conf->http_listen);
        if (!h->where[0])
                return true;
        h->group = group;
        if (!(h->where[0] == '/' ? listen_on_path(h) : listen_on_address(h)))
                return false;
        if (!set_up_server(h)) {
                errno = ENOMEM;
                return fail(h, "");
        }
        log_info("http: listening on %s", h->where);
        return true;
}

void http_mind(struct http *h)
{
        struct evhttp_bound_socket *lost = h->bound;
        if (!h->name.ino || !mono_reached(clock_mono(), h->mind_due) || !listen_lost(&h->name))
                return;
        struct evconnlistener *listener = listener_at_path(h);
        h->mind_due = mono_plus(clock_mono(), listener ? 0 : AGAIN_MS);
        if (!listener)
                return;
        if (!take_listener(h, listener)) {
                evconnlistener_free(listener);
                return;
        }
        evhttp_del_accept_socket(h->server, lost);
        if (h->rests)
                evconnlistener_disable(h->listener);
        log_warning("%s: the socket was removed there; listening on a new one", h->where);
}

void http_fini(struct http *h)
{
        if (h->name.ino)
                listen_unname(&h->name);
        if (h->look)
                event_free(h->look);
        if (h->server)
                evhttp_free(h->server); /* and the listener */
        while (h->n)
                forget(h, h->n - 1);
        for (unsigned i = 0; i < HTTP_PAGES_MAX; i++)
                if (h->made[i].body)
                        evbuffer_free(h->made[i].body);
}
