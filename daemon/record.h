/* record.h -- a cluster as stubs, and the next daemon, find it in the store.  Pure. */
#ifndef PINROUTED_RECORD_H
#define PINROUTED_RECORD_H

#include "daemon/cluster.h"

void record_fill(const struct cluster *c, struct pnr_cluster *ret);

#endif
