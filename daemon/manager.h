/* manager.h -- what a service manager (systemd) hears of a daemon that serves: how it is, that it turns, that it
 * reloads.  Without one nothing is sent. */
#ifndef PINROUTED_MANAGER_H
#define PINROUTED_MANAGER_H

#include "daemon/core.h"

#define MANAGER_STATUS_MAX 400

struct manager {
        struct mono pet_due, status_due;
        int64_t pet_ms; /* a third of what it waits for before it kills us; 0: it does not watch */
        char said[MANAGER_STATUS_MAX];
};

/* Reads the environment: WATCHDOG_USEC, and WATCHDOG_PID, which may name another process. */
void manager_init(struct manager *m, struct mono now);

/* From the loop, at each turn: a loop that stands still is not petted.  One datagram each third of the time that the
 * manager waits, and another when the status has changed, at most once a second, but at once when we begin to serve. */
void manager_turn(struct manager *m, const struct core *core, struct mono now);

/* Around a reload, whatever comes of it. */
void manager_reloading(struct mono now);
void manager_reloaded(void);

/* "2 of 2 replicas of main in rotation, 12 pins".  Too many clusters for it end in "...". */
void manager_status(const struct core *core, struct mono now, char status[MANAGER_STATUS_MAX]);

#endif
