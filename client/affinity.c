/* affinity.c -- weighted rendezvous hashing, in whole numbers: the stub has no libm.
 * Pure: no I/O, no clock, no memory of its own.  Bounds every number that it takes from a record. */
#include "client/affinity.h"

#include <stdbool.h>
#include <string.h>

/* Fractions of 2^64, of 2^62 and of 2^32. */
#define SQRT_HALF  0xb504f333f9de6484ull
#define ONE        (1ull << 62)
#define Q32(x)     ((uint64_t)((x)*4294967296.0 + 0.5))
#define TWO_BY_LN2 Q32(2.8853900817779268)

/* With u = m / 2^e and m from sqrt(1/2) to sqrt(2): -log2(u) = e - log2(m), and log2(m) = 2/ln(2) * atanh(s) of
 * s = (m - 1) / (m + 1), which is 0.172 at most: five terms of the series s + s^3/3 + s^5/5 + s^7/7 + s^9/9 do.  (The same
 * reduction as in fdlibm's e_log.c.)  Near u = 1, where the winners are, e is 0: nothing cancels out. */
uint64_t affinity_log(uint64_t hash)
{
        unsigned zeros = (unsigned)__builtin_clzll(hash | 1);
        uint64_t x = (hash | 1) << zeros;
        bool below = x < SQRT_HALF;
        uint64_t m = below ? x >> 1 : x >> 2;
        uint64_t s = ((m > ONE ? m - ONE : ONE - m) << 2) / ((m + ONE) >> 30);
        uint64_t square = s * s >> 32;
        uint64_t sum = Q32(1.0 / 7) + (square * Q32(1.0 / 9) >> 32);
        sum = Q32(1.0 / 5) + (square * sum >> 32);
        sum = Q32(1.0 / 3) + (square * sum >> 32);
        sum = Q32(1.0) + (square * sum >> 32);
        uint64_t log = (s * sum >> 32) * TWO_BY_LN2 >> 32;
        uint64_t e = (uint64_t)(zeros + below) << 32;
        return m > ONE ? e - log : e + log;
}

/* The last steps of SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014. */
static uint64_t mixed(uint64_t x)
{
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ x >> 27) * 0x94d049bb133111ebull;
        return x ^ x >> 31;
}

/* Most names end in their first two words: NULs follow. */
static uint64_t hash_of(const char name[PNR_NAME_SIZE], struct pnr_key key)
{
        uint64_t hash = key.w[1], word;
        for (unsigned at = 0; at < PNR_NAME_SIZE; at += sizeof word) {
                memcpy(&word, name + at, sizeof word);
                if (!word)
                        break;
                hash = mixed(hash ^ word);
        }
        return mixed(hash ^ key.w[0]);
}

static uint64_t weight_of(const struct pnr_node *node)
{
        uint32_t weight = *(const volatile uint32_t *)&node->weight;
        return weight < 1 ? 1 : weight > PNR_WEIGHT_MAX ? PNR_WEIGHT_MAX : weight;
}

uint32_t affinity_of(const struct pnr_cluster *cluster, uint32_t pool, struct pnr_key key)
{
        uint32_t best = 0;
        uint64_t best_log = 0, best_weight = 1;
        for (uint32_t rest = pool; rest; rest &= rest - 1) {
                const struct pnr_node *node = &cluster->node[__builtin_ctz(rest)];
                uint64_t log = affinity_log(hash_of(node->name, key)), weight = weight_of(node);
                if (best && log * best_weight >= best_log * weight)
                        continue;
                best = rest & -rest;
                best_log = log;
                best_weight = weight;
        }
        return best;
}
