/* history.h -- the last minutes, second by second: lag, share and state of each node, pins of each cluster.
 * No I/O and no clock: the time is passed in.  Owns: struct history. */
#ifndef PINROUTED_HISTORY_H
#define PINROUTED_HISTORY_H

#include "daemon/cluster.h"

#define HISTORY_SECONDS 300

/* A lag, a number of pins: not known for this second. */
#define HISTORY_UNKNOWN UINT32_MAX

enum history_state {
        HISTORY_ABSENT = 0, /* the daemon was not there, or stood still, or did not have this node */
        HISTORY_UP,
        HISTORY_DOWN,
        HISTORY_UNSURE, /* UNKNOWN in the node's own words */
        HISTORY_DRAIN,
        HISTORY_MAINT,
        HISTORY_STATES
};

/* Values of second s stand at s % HISTORY_SECONDS; after history_read() the oldest stands first. */
struct history_node {
        char name[PNR_NAME_SIZE];
        uint32_t lag_ms[HISTORY_SECONDS];
        uint16_t share[HISTORY_SECONDS]; /* of the schedule, in thousandths */
        uint8_t state[HISTORY_SECONDS];  /* enum history_state */
        uint64_t decided;                /* decisions that named it, in all */
        uint32_t per_second;             /* of them, as of the last second */
};

/* 95 kB, and 2.2 kB for each node: 4.6 MB for 64 clusters of 32 nodes. */
struct history {
        int64_t second;                                      /* the newest one; 0: none yet */
        int64_t passed;                                      /* seconds from the one before to it */
        uint32_t stored[HISTORY_SECONDS];                    /* pins in the store */
        uint32_t waiting[PNR_CLUSTERS_MAX][HISTORY_SECONDS]; /* pins that no replica has caught up with yet */
        struct history_node *node[PNR_CLUSTERS_MAX][PNR_NODES_MAX]; /* NULL: no node, or no memory */
};

void history_fini(struct history *h);

/* Another second has begun since the last call.  Seconds that were missed stay absent. */
bool history_is_due(const struct history *h, struct mono now);
void history_begin(struct history *h, struct mono now, uint64_t stored);

/* How a cluster and its nodes are in the second that was begun; `decided`: decisions that named each, in all.  A node
 * that has the slot anew starts anew. */
void history_take(struct history *h, const struct cluster *c, const uint64_t decided[PNR_NODES_MAX]);

/* The last minutes of a node, of the store, of a cluster, oldest first: always HISTORY_SECONDS values. */
void history_read(const struct history *h, unsigned cluster, unsigned slot, struct history_node *ret);
void history_read_stored(const struct history *h, uint32_t ret[HISTORY_SECONDS]);
void history_read_waiting(const struct history *h, unsigned cluster, uint32_t ret[HISTORY_SECONDS]);

#endif
