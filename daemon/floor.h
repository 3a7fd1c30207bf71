/* floor.h -- when a cluster's floor begins and ends, said once each.
 * Reads the cluster; changes nothing of it but what has been said. */
#ifndef PINROUTED_FLOOR_H
#define PINROUTED_FLOOR_H

#include "proto/units.h"

struct cluster;

/* Does it still send keyed reads to the primary that a replica of the schedule could have?  It does until its
 * deadline, or until every replica of the schedule has caught up with it. */
bool floor_stands(const struct cluster *c, struct mono now);

/* The floor was raised.  Says so, unless it stood already; one of the same cause within 10 s is not said again. */
void floor_say_raised(struct cluster *c, struct mono now);

/* Once per turn: says that a floor that was said to be raised stands no longer. */
void floor_look(struct cluster *c, struct mono now);

#endif
