/* handle.h -- the handle behind pinroute.h, as far as the scope needs it.
 * handle.c is the only file that knows what lies in it. */
#ifndef PINROUTE_HANDLE_H
#define PINROUTE_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/pinroute.h"
#include "proto/key.h"
#include "proto/units.h"

/* Is this a number that the handle gave out?  A key that may be hashed? */
bool handle_has(const struct pinroute *pr, unsigned cluster);
bool handle_key_fits(const void *key, size_t len);

/* pinroute_route_read() of a hashed key, NULL: unkeyed.  `forced`: the scope is, or wrote. */
int handle_read(struct pinroute *pr, unsigned cluster, const struct pnr_key *key, bool forced,
                struct pinroute_decision *ret);

/* pinroute_record_write() of a hashed key. */
int handle_record(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned seconds);

/* The answer when nothing is known: $PINROUTE_PRIMARY or "", STORE_UNAVAILABLE.  pr may be NULL. */
void handle_unknown(const struct pinroute *pr, struct pinroute_decision *ret);

/* The daemon's time, coarsely. */
struct mono handle_now(const struct pinroute *pr);

/* Is a decision of `then` still one that a scope may repeat? */
bool handle_is_fresh(const struct pinroute *pr, struct mono then);

#endif
