/* issuer.h -- what tokens need of a daemon: the stamps of its writes, and the keys in force.
 * Draws random numbers; no other I/O, no clock. */
#ifndef PINROUTED_ISSUER_H
#define PINROUTED_ISSUER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/store.h"

#define ISSUER_FINGERPRINT_SIZE 9

struct issuer {
        uint64_t count;
        struct pnr_token_keys keys; /* keys.issuer is never 0: that is the stubs' own */
        bool dirty;                 /* keys are not in the store as they stand here */
};

/* found: the keys of an earlier daemon's store, n is 0 where there were none. */
void issuer_init(struct issuer *is, const struct pnr_token_keys *found);

/* configured: those of key_file; without any (n is 0) the keys stay as they are, or a random one is made. */
void issuer_configure(struct issuer *is, const struct pnr_token_keys *configured);

/* Eight digits that tell one key in force from another, and nothing else of it: for hosts to be compared. */
void issuer_fingerprint(const struct issuer *is, unsigned key, char ret[ISSUER_FINGERPRINT_SIZE]);

/* The stamp of the writes that the next commit acknowledges; that has to publish the keys if they are dirty.
 */
uint64_t issuer_next(struct issuer *is);

#endif
