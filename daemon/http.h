/* http.h -- the HTTP server: a few pages about the daemon, read-only, over libevent's evhttp.  One in a process.
 *
 * GET and HEAD of the paths in http.c's table; one request per connection.  Who may ask: whoever can reach http_listen,
 * which is this machine alone unless http_remote = allow; a Host header must be one that hosts.h admits (not on a Unix
 * socket, where no browser comes).  A client has HTTP_PATIENCE_MS from connecting to the last byte of its answer, and
 * HTTP_CROWDED_MS while others wait for its place.  A page that takes long to make is made for a tenth of the
 * time, however many ask for it: where that took 5 ms, all get the same for 45 ms. */
#ifndef PINROUTED_HTTP_H
#define PINROUTED_HTTP_H

#include <sys/types.h>

#include "daemon/conn.h"
#include "daemon/core.h"
#include "daemon/listen.h"

#define HTTP_CLIENTS_MAX 16 /* connections at once; CONN_SPARE_FDS has room for them */
#define HTTP_PATIENCE_MS 5000
#define HTTP_CROWDED_MS  250
#define HTTP_PAGES_MAX   8

/* What a page is made of. */
struct http_ask {
        const struct core *core;
        const struct conns *conns;
        struct mono now;
        const char *query; /* behind the ?, as it came: hostile */
};

struct bufferevent;
struct evbuffer;
struct evconnlistener;
struct event;
struct event_base;
struct evhttp;
struct evhttp_bound_socket;

struct http {
        const struct core *core;
        const struct conns *conns;
        struct event_base *base;
        struct evhttp *server; /* NULL: http_listen is empty */
        struct evconnlistener *listener;
        struct evhttp_bound_socket *bound; /* the server's hold on it */
        struct event *look;
        char where[CONF_WORD_MAX]; /* http_listen; a reload does not change it */
        struct listen_name name;   /* ino 0: it listens on an address */
        gid_t group;
        struct mono
            mind_due; /* a lost socket could not be made anew: no other try, and no other complaint, before this */
        bool rests; /* takes nobody: every place is in use, or no descriptor is left */
        unsigned n;
        struct http_client {
                struct bufferevent *b; /* ours and evhttp's */
                struct mono since;
        } client[HTTP_CLIENTS_MAX];
        struct http_made { /* a page as it was last made, by its place in the table */
                struct evbuffer *body;
                int status;
                int64_t good_until_us; /* CLOCK_MONOTONIC */
        } made[HTTP_PAGES_MAX];
};

/* core, conns and base are set, and may come alive later: listens as conf says, and is heard with event_base_loop().
 * `group` as listen_at().  False after logging why not and how to mend it. */
bool http_init(struct http *h, const struct conf *conf, gid_t group);

/* Once in a while: makes a socket anew whose file was removed. */
void http_mind(struct http *h);
void http_fini(struct http *h); /* also of one that was never initialised but is all 0 */

#endif
