/* resolve.h -- names of servers to addresses, without blocking; a name's last good answer is kept.
 * The only user of evdns.  Honours resolv.conf and the hosts file, also when they change later. */
#ifndef PINROUTED_RESOLVE_H
#define PINROUTED_RESOLVE_H

#include <stdbool.h>
#include <event2/event.h>

#define RESOLVE_ADDRESSES_MAX 8
#define RESOLVE_ADDRESS_SIZE  64 /* an IPv6 literal with its zone */

/* What the names of one process are looked up with. */
struct resolver;
struct resolver *resolver_open(struct event_base *base, const char *resolv_conf, const char *hosts);
void resolver_close(struct resolver **r); /* after the last lookup_close() */

/* One name and what is known of it. */
struct lookup;

/* `done` is called from the loop when a look-up that lookup_start() left running has ended. */
struct lookup *lookup_open(struct resolver *r, const char *name, void (*done)(void *arg), void *arg);
void lookup_close(struct lookup **l);

/* Asks for the name, or joins the question that is under way.  True: the answer is there already. */
bool lookup_start(struct lookup *l);

const char *lookup_name(const struct lookup *l);
/* The addresses of the last answer that had any; "" beyond them. */
unsigned lookup_count(const struct lookup *l);
const char *lookup_address(const struct lookup *l, unsigned i);
/* Why the last look-up gave no address; "" when it did. */
const char *lookup_error(const struct lookup *l);

#endif
