/* explain.h -- how far a generation's release has come: its fence, and where each node stands.  For `why`.
 *
 *   "generation":41,
 *   "fence":{"state":"fenced","position":"0/5A4000"}     open: writes still carry it; closed: the primary has yet to be
 *                                                        asked; asked: its answer is awaited; off: early_release is
 *   "fence_interval_ms":100,
 *   "nodes":[{"name":"shadow-2","role":"replica","state":"UP","admin":"ready","why":"...","since_ms":...,"weight":1,
 *             "scheduled":true,"caught_up":40,"position":"0/5A3F10","gap_bytes":240}]    gap null: no fence, or unknown
 *
 * Reads, changes nothing. */
#ifndef PINROUTED_EXPLAIN_H
#define PINROUTED_EXPLAIN_H

#include "daemon/cluster.h"
#include "daemon/json.h"

/* generation 0: of no pin; only the nodes say something then. */
void explain(const struct cluster *c, uint64_t generation, struct mono now, struct json *j);

#endif
