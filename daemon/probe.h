/* probe.h -- one node's connection: connects, asks, and says what came of it.
 * Nothing here blocks, whatever the server, the network or the resolver does. */
#ifndef PINROUTED_PROBE_H
#define PINROUTED_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <event2/event.h>

#include "daemon/prober.h"
#include "daemon/resolve.h"

struct probe;

/* What all probes of a process share. */
struct probe_host {
        struct event_base *base;
        struct resolver *resolver;
        const char
            *user; /* who logs in where the conninfo names nobody; NULL: libpq finds out, which may block */
        void (*result)(void *arg, const struct prober_result *result);
        void *arg;
};

/* A bad conninfo is no error here: each check then says so. */
struct probe *probe_open(const struct probe_host *host, uint32_t node, const char *conninfo);
void probe_close(struct probe **p); /* gives no result */

const char *probe_conninfo(const struct probe *p);

/* May the password go out in clear text, in TLS that was verified?  Not unless this says so; never else. */
void probe_let_cleartext(struct probe *p, bool may);

/* Exactly one result with this number follows, at the latest timeout_ms from now; it may come inside this
 * call. A check under way then fails as overtaken. */
void probe_check(struct probe *p, uint64_t number, uint32_t timeout_ms);

#endif
