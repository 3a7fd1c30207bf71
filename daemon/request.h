/* request.h -- what one request of a worker does to the store, and what it is answered. */
#ifndef PINROUTED_REQUEST_H
#define PINROUTED_REQUEST_H

#include "daemon/core.h"

/* Fills it->reply, and pins what it->request says; as_floor: by its whole cluster's floor, for want of room.  Returns a
 * store_status: STORE_OK also for what is refused. */
int request_apply(struct core *core, struct core_item *it, bool as_floor, struct mono now);

#endif
