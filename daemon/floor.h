/* floor.h -- a pin of a whole cluster, for keyed reads: raised, held, and its beginning and end said once each. */
#ifndef PINROUTED_FLOOR_H
#define PINROUTED_FLOOR_H

#include "proto/units.h"

struct cluster;

/* Does it still send keyed reads to the primary that a replica of the schedule could have?  It does until its
 * deadline, or until every replica of the schedule has caught up with it. */
bool floor_stands(const struct cluster *c, struct mono now);

/* Pins may be missing: for `ms` from now all keys count as pinned, until replicas have caught up.  Says so, unless it
 * stood already; one of the same cause within 10 s is not said again. */
void floor_raise(struct cluster *c, struct mono now, int64_t ms, const char *why);

/* A hold may be missing: until then nothing but the primary satisfies any key.  Raise the floor as well. */
void floor_hold_until(struct cluster *c, struct mono until);

/* Once per turn: says that a floor that was said to be raised stands no longer. */
void floor_look(struct cluster *c, struct mono now);

#endif
