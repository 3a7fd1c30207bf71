/* key.c -- the two SipHash stages between a caller's key and its place in the store.
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

struct pnr_slot pnr_slot_of(struct pnr_key key, unsigned cluster, const uint8_t seed[16])
{
        uint64_t h[2];
        crypto_shorthash_siphashx24((unsigned char *)h, (const unsigned char *)key.w, sizeof key.w, seed);
        uint32_t tag = (uint32_t)h[1];
        return (struct pnr_slot){
            .place = h[0] >> 1 | PNR_KEY_PINS,
            .ident = (h[0] & ~0xffffull) | (cluster & 0xffffu),
            .tag = tag ? tag : 1,
        };
}
