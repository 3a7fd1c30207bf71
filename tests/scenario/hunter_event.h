/* hunter_event.h -- one line of the hunter's history: what a player did, when, and what came of it.
 * hunter_play.h writes them, hunter_check.h judges them; test_hunter.py makes some up. */
#ifndef SCENARIO_HUNTER_EVENT_H
#define SCENARIO_HUNTER_EVENT_H

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>

#include "crew.h"

#define HUNT_HOSTS   2
#define HUNT_NODES   8
#define HUNT_NO_KEY  UINT32_MAX
#define HUNT_NOTHING (-1) /* no node; no value, since nobody was asked or nobody answered */

enum hunt_op {
        HUNT_READ = 1, /* a decision for `key`, and the value that its node then gave */
        HUNT_UNKEYED,  /* a decision without a key */
        HUNT_RECORD,   /* record_write after the commit that made `value` */
        HUNT_HOLD,     /* hold for `ms` */
        HUNT_ISSUE,    /* token number `token`, of `key`, which had `value` */
        HUNT_ACCEPT,   /* of that token, for the scope of the HUNT_SCOPE events that follow */
        HUNT_SCOPE,    /* as HUNT_READ, by a scope that accepted `token` */
        HUNT_OPS
};

/* By one player, in its own file; files are told apart by their names only. */
struct hunt_event {
        int64_t began_us, ended_us; /* CLOCK_MONOTONIC around the call of libpinroute, no query included */
        int64_t read_us;            /* the value was there; 0: nobody was asked */
        uint32_t key;
        int32_t value;
        uint32_t ms; /* of the pin or hold */
        uint32_t token;
        uint8_t op, host, status, reason;
        uint8_t role;
        int8_t node;
        uint8_t keyed; /* HUNT_SCOPE: the scope has the key, too */
        uint8_t spare;
};
static_assert(sizeof(struct hunt_event) == 48, "test_hunter.py packs them");

static const char *const hunt_op_name[HUNT_OPS] = {"-",    "read",  "unkeyed", "record",
                                                   "hold", "issue", "accept",  "scope"};

#endif
