/* rhythm.h -- when a node of a cluster is next to be asked.  Pure. */
#ifndef PINROUTED_RHYTHM_H
#define PINROUTED_RHYTHM_H

#include "daemon/cluster.h"

#define PROBER_GRACE_MS 250 /* the prober keeps the deadlines; this much later it is not believed in */

/* Do pins wait that an answer could end early? */
bool rhythm_releases(const struct cluster *c, struct mono now);

/* When this node is next to be asked, whatever for. */
struct mono rhythm_due(const struct cluster *c, const struct cluster_node *n, struct mono now);

/* When time alone brings something about in the cluster. */
struct mono rhythm_next_due(const struct cluster *c, struct mono now);

/* Is the question that is asked now a health check?  Then sets when the next one is due, keeping the rhythm:
 * an interval after this one was. */
bool rhythm_take_turn(const struct cluster *c, struct cluster_node *n, struct mono now);

#endif
