/* metrics.h -- /metrics: what metric_rows.h lists, in Prometheus' text format.  Reads, changes nothing. */
#ifndef PINROUTED_METRICS_H
#define PINROUTED_METRICS_H

#include "daemon/conn.h"
#include "daemon/core.h"

struct evbuffer;

/* False: out of memory; nothing was added. */
bool metrics_fill(const struct core *core, const struct conns *conns, struct mono now, struct evbuffer *out);

#endif
