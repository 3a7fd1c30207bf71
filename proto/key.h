/* key.h -- from a caller's key to its place in the store, in two stages.
 * Pure, no malloc, no state: any thread, any process, before and after fork.
 *
 * Stage 1, in the stub: SipHash-2-4-128 of the key under a fixed, public SipHash key.  It is the same on
 * every host and in every store, so a scope, a record that waits to be sent again, and the socket carry 16
 * bytes that stay right when the store is replaced. Stage 2, in stub and daemon: SipHash-2-4-128 of those 16
 * bytes under the store's random seed.  It spreads the pins over the pages in a way that nobody who chooses
 * keys can steer. SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; libsodium's
 * siphashx24. */
#ifndef PNR_KEY_H
#define PNR_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/store.h"

#define PNR_KEY_MAX 4096 /* bytes of a caller's key; at least 1 */

struct pnr_key {
        uint64_t w[2];
};

/* Where in the store a key's pin lives. */
struct pnr_slot {
        uint64_t place; /* LMDB key that the page's range must contain; at least PNR_KEY_PINS */
        uint64_t ident; /* struct pnr_pin's */
        uint32_t tag;   /* never 0 */
};

/* Stage 1.  len: 1..PNR_KEY_MAX, the caller checks. */
struct pnr_key pnr_key_of(const void *key, size_t len);

/* Stage 2.  cluster: the store's number of the cluster, below PNR_CLUSTERS_MAX. */
struct pnr_slot pnr_slot_of(struct pnr_key key, unsigned cluster, const uint8_t seed[16]);

/* The LMDB key of the range that a pin on a page belongs to, good to 47 bits: enough to halve a page. */
static inline uint64_t pnr_ident_place(uint64_t ident) { return (ident & ~0xffffull) >> 1 | PNR_KEY_PINS; }
static inline unsigned pnr_ident_cluster(uint64_t ident) { return (unsigned)(ident & 0xffffu); }

/* First slot that a tag may stand in; leaves a sixteenth of the page as run-out at its end. */
static inline unsigned pnr_tag_home(uint32_t tag)
{
        return (unsigned)((uint64_t)tag * (PNR_SLOTS - PNR_SLOTS / 16) >> 32);
}

#endif
