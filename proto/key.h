/* key.h -- from a caller's key to its place in the store, in two stages.
 * Pure, no malloc, no state: any thread, any process, before and after fork.
 *
 * Stage 1, in the stub: SipHash-2-4-128 of the key under a fixed, public SipHash key.  It is the same on
 * every host and in every store, so a scope, a record that waits to be sent again, and the socket carry 16
 * bytes that stay right when the store is replaced.  SipHash: Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF", 2012; libsodium's siphashx24.
 *
 * Stage 2, in stub and daemon: those 16 bytes, and the cluster's number, times multipliers that the store's random seed
 * makes.  It spreads the pins over the pages in a way that nobody can steer who chooses keys and does not know the seed:
 * for any two keys that differ, the chance over the multipliers that they fall into one of 2^n ranges is about 2 in 2^n
 * (multiply-shift: Dietzfelbinger, Hagerup, Katajainen, Penttonen, "A Reliable Randomized Algorithm for the Closest-Pair
 * Problem", 1997); keys whose stage 1 is alike in its low bits, where that bound is weak, cannot be made in numbers.
 * A worker knows the seed, and can make keys that crowd together: that raises a floor, as other things do that it can
 * do, and the table sees to it that it does no more (daemon/table.c).  A second SipHash here took a tenth of a read. */
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
        uint32_t tag;   /* never 0 */
};

/* Stage 1.  len: 1..PNR_KEY_MAX, the caller checks. */
struct pnr_key pnr_key_of(const void *key, size_t len);

/* What a seed makes of stage 2: odd numbers. */
#define PNR_SPREAD_TERMS 3 /* two words of a key, and the cluster's number */
struct pnr_spread {
        uint64_t place[PNR_SPREAD_TERMS], tag[PNR_SPREAD_TERMS];
};
struct pnr_spread pnr_spread_of(const uint8_t seed[16]);

/* Stage 2.  cluster: the store's number of the cluster, below PNR_CLUSTERS_MAX; a key's slots in two clusters have
 * nothing in common.  The high bits of a sum of products are the ones that depend on all bits of the key. */
static inline struct pnr_slot pnr_slot_of(struct pnr_key key, unsigned cluster, const struct pnr_spread *by)
{
        uint64_t place = key.w[0] * by->place[0] + key.w[1] * by->place[1] + cluster * by->place[2];
        uint64_t tag = (key.w[0] * by->tag[0] + key.w[1] * by->tag[1] + cluster * by->tag[2]) >> 32;
        return (struct pnr_slot){.place = place >> 1 | PNR_KEY_PINS, .tag = tag ? (uint32_t)tag : 1};
}

/* The 32 bits of a place that tell pins with one tag apart, and the 16 after them: enough to halve a page. */
static inline uint32_t pnr_slot_hash(uint64_t place) { return (uint32_t)(place >> 31); }
static inline uint16_t pnr_slot_low(uint64_t place) { return (uint16_t)(place >> 15); }

/* The place again, to those 48 bits; the others are 0. */
static inline uint64_t pnr_slot_place(uint32_t hash, uint16_t low)
{
        return PNR_KEY_PINS | (uint64_t)hash << 31 | (uint64_t)low << 15;
}

/* Those 48 bits, as people see them, with the tag behind. */
static inline uint64_t pnr_slot_shown(uint64_t place) { return place << 1 >> 16; }

/* The group that a pin is first looked for in; the word of the page's filter that knows of it, and its bits there. */
static inline unsigned pnr_tag_home(uint32_t tag) { return (unsigned)((uint64_t)tag * PNR_GROUPS >> 32); }
static inline unsigned pnr_tag_word(uint32_t tag) { return tag % PNR_FILTER; }
static inline uint64_t pnr_tag_bits(uint32_t tag)
{
        return 1ull << (tag >> 2 & 63) | 1ull << (tag >> 8 & 63) | 1ull << (tag >> 14 & 63);
}

#endif
