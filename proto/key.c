/* key.c -- what SipHash does between a caller's key and its place in the store.
 * The only file that calls crypto_shorthash. */
#include "proto/key.h"

#include <sodium.h>
#include <string.h>

static_assert(crypto_shorthash_siphashx24_BYTES == sizeof(struct pnr_key), "a key is one SipHash-128");
static_assert(crypto_shorthash_siphashx24_KEYBYTES == 16, "the seed in the header is one SipHash key");

/* Any fixed 16 bytes will do; changing them orphans every pin and token, so they are for life. */
static const unsigned char stage1_key[16] = "pinroute key id1";

struct pnr_key pnr_key_of(const void *key, size_t len)
{
        struct pnr_key k;
        crypto_shorthash_siphashx24((unsigned char *)k.w, key, len, stage1_key);
        return k;
}

struct pnr_spread pnr_spread_of(const uint8_t seed[16])
{
        static const unsigned char number[3] = {1, 2, 3};
        uint64_t w[3][2];
        for (unsigned i = 0; i < 3; i++)
                crypto_shorthash_siphashx24((unsigned char *)w[i], &number[i], 1, seed);
        return (struct pnr_spread){.place = {w[0][0] | 1, w[0][1] | 1, w[2][0] | 1},
                                   .tag = {w[1][0] | 1, w[1][1] | 1, w[2][1] | 1}};
}
