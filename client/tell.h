/* tell.h -- what the daemon is told, as far as scopes and tokens need it. */
#ifndef PINROUTE_TELL_H
#define PINROUTE_TELL_H

#include <stdbool.h>
#include <stdint.h>

#include "client/pinroute.h"
#include "proto/key.h"

/* pinroute_record_write() of a hashed key. */
int tell_record(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned seconds);

/* pinroute_record_send() of hashed keys, at most PINROUTE_BATCH_MAX; and a pending that has its status. */
int tell_send(struct pinroute *pr, unsigned cluster, const struct pnr_key *keys, unsigned n, unsigned seconds,
              struct pinroute_pending *ret);
int tell_done(struct pinroute_pending *p, int status);

/* Asks the daemon to pin the key for a token's write, and what its pin then carries.  false: no daemon, no
 * answer in time, or not this one. */
bool tell_token(struct pinroute *pr, unsigned cluster, struct pnr_key key, uint64_t stamp, uint32_t ms,
                uint64_t *generation);

#endif
