/* known.h -- what is known of a key: its pin, this process's debts, and what its cluster's tokens are made
 * with.  Copied out of one snapshot, in times of our own clock, for what outlives that. */
#ifndef PINROUTE_KNOWN_H
#define PINROUTE_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "client/handle.h"
#include "proto/token.h"

struct known {
        struct mono now;
        bool is_fresh;          /* the heartbeat, and the daemon's clock is known: times are what they say */
        bool is_void;           /* the heartbeat is too old for anything */
        struct need pin, owed;  /* of the key; zeros: none */
        struct need floor;      /* of the cluster, which stands in for pins that may be missing */
        uint64_t stamp;         /* of the pin */
        uint64_t token_cluster; /* pnr_token_cluster() */
        uint32_t pin_ms, max_pin_ms;
        bool has_keys;
        struct pnr_token_keys keys;
};

/* key  NULL: nothing of a key is asked.  Returns PINROUTE_OK | PINROUTE_E_STORE | PINROUTE_E_CLUSTER, and
 * then *ret is zeros but for the time.  Waits and costs as a read. */
int known_get(struct pinroute *pr, unsigned cluster, const struct pnr_key *key, struct known *ret);

/* What reads need where nothing could be learned: the primary, for longer than a request takes. */
struct need known_nothing(void);

/* What reads of the key need now, whoever makes them; on any doubt the primary. */
struct need known_need(struct pinroute *pr, unsigned cluster, struct pnr_key key);

#endif
