/* verdict.h -- how things are, in sentences: what is wrong, and what it means for reads.
 * Pure: reads core, changes nothing.  What counts as degraded is as trouble.h has it; a unit test holds both to that. */
#ifndef PINROUTED_VERDICT_H
#define PINROUTED_VERDICT_H

#include "daemon/core.h"

#define VERDICT_TEXT_MAX 512

enum verdict_weight {
        VERDICT_NOTE,    /* an operator's own doing, or what passes by itself: nothing is wrong */
        VERDICT_TROUBLE, /* `pinroutectl status` says degraded */
        VERDICT_ALARM,   /* somebody has to do something now */
};

/* Calls `say` with each finding of this weight; returns how many those are. */
typedef void verdict_say_fn(void *arg, const char *text);
unsigned verdict_each(const struct core *core, struct mono now, enum verdict_weight weight,
                      verdict_say_fn *say, void *arg);

/* Where reads go while nothing is wrong: "Reads are spread over 4 replicas of 2 clusters." */
void verdict_of_good(const struct core *core, char ret[VERDICT_TEXT_MAX]);

/* "2 of 3 good checks so far", for a node that has yet to show itself. */
void verdict_of_progress(const struct cluster *c, const struct cluster_node *n, char ret[VERDICT_TEXT_MAX]);

/* Where the cluster's reads go while there is no replica to read from: "all its reads go to the primary". */
void verdict_of_no_replica(const struct cluster *c, char ret[VERDICT_TEXT_MAX]);

/* Does the floor that is raised keep reads from replicas now?  In words in `ret`, as far as the cost goes. */
bool verdict_of_cost(const struct cluster *c, struct mono now, char ret[VERDICT_TEXT_MAX]);

/* Does a floor keep reads from replicas now?  In words in `ret`, "none" without one. */
bool verdict_of_floor(const struct cluster *c, struct mono now, char ret[VERDICT_TEXT_MAX]);

struct verdict_replicas {
        unsigned all, read; /* configured; in the schedule */
};
struct verdict_replicas verdict_count(const struct cluster *c);

#endif
