/* units.h -- one type per unit, so that mixing two does not compile.
 * Pure: no I/O, no clock of its own.  Every other file may include it. */
#ifndef PNR_UNITS_H
#define PNR_UNITS_H

#include <stdbool.h>
#include <stdint.h>

struct mono {
        int64_t ms; /* CLOCK_MONOTONIC, milliseconds */
};

struct lsn {
        uint64_t
            bytes; /* PostgreSQL WAL position, bytes since the start of the WAL; 0 is InvalidXLogRecPtr */
};

static inline struct mono mono_plus(struct mono t, int64_t ms) { return (struct mono){t.ms + ms}; }
static inline int64_t mono_since(struct mono now, struct mono then) { return now.ms - then.ms; }
static inline bool mono_reached(struct mono now, struct mono due) { return now.ms >= due.ms; }
static inline struct mono mono_later(struct mono a, struct mono b) { return a.ms >= b.ms ? a : b; }
static inline struct mono mono_sooner(struct mono a, struct mono b) { return a.ms <= b.ms ? a : b; }

static inline bool lsn_reached(struct lsn have, struct lsn want) { return have.bytes >= want.bytes; }

#endif
