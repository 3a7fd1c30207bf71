/* token.c -- a pin as text: signed, expiring, good on every host that has the key.
 * The only file that signs.  Believes no field before the MAC is right, and no date after it. */
#include "proto/token.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define VERSION  1
#define VARIANT  sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define MAC_SIZE 16

/* As it is signed, little-endian like all that we write. */
struct frame {
        uint32_t version;
        uint64_t cluster;
        uint64_t key[2];
        uint64_t stamp;
        int64_t issued_ms;
        uint32_t left_ms;
        uint8_t mac[MAC_SIZE];
} __attribute__((packed));

#define SIGNED_SIZE offsetof(struct frame, mac)

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "struct frame is the bytes of a token");
static_assert(sizeof(struct frame) == 64 && SIGNED_SIZE == 48,
              "in tokens that are on their way: bump VERSION");
static_assert(sodium_base64_ENCODED_LEN(sizeof(struct frame), VARIANT) == PNR_TOKEN_CHARS + 1, "and as text");
static_assert(crypto_auth_hmacsha256_KEYBYTES == PNR_TOKEN_KEY_SIZE, "a key of the store is an HMAC key");

static void mac_of(const struct frame *f, const uint8_t key[PNR_TOKEN_KEY_SIZE], uint8_t ret[MAC_SIZE])
{
        uint8_t whole[crypto_auth_hmacsha256_BYTES];
        crypto_auth_hmacsha256(whole, (const unsigned char *)f, SIGNED_SIZE, key);
        memcpy(ret, whole, MAC_SIZE);
}

static void encode(const struct frame *f, char ret[PNR_TOKEN_CHARS + 1])
{
        sodium_bin2base64(ret, PNR_TOKEN_CHARS + 1, (const unsigned char *)f, sizeof *f, VARIANT);
}

uint64_t pnr_token_cluster(const char name[PNR_NAME_SIZE]) { return pnr_key_of(name, PNR_NAME_SIZE).w[0]; }

void pnr_token_sign(const struct pnr_token *t, const struct pnr_token_keys *keys,
                    char ret[PNR_TOKEN_CHARS + 1])
{
        struct frame f = {.version = VERSION,
                          .cluster = t->cluster,
                          .key = {t->key.w[0], t->key.w[1]},
                          .stamp = t->stamp,
                          .issued_ms = t->issued_ms,
                          .left_ms = t->left_ms};
        mac_of(&f, keys->key[0], f.mac);
        encode(&f, ret);
}

/* One token has one text: libsodium takes a byte of 0xff for an underscore (1.0.18).  It sets errno. */
static bool decode(const char *text, size_t len, struct frame *ret)
{
        int saved = errno;
        size_t n = 0;
        char again[PNR_TOKEN_CHARS + 1];
        bool good = len == PNR_TOKEN_CHARS && sodium_base642bin((unsigned char *)ret, sizeof *ret, text, len,
                                                                NULL, &n, NULL, VARIANT) == 0;
        errno = saved;
        if (!good || n != sizeof *ret)
                return false;
        encode(ret, again);
        return memcmp(again, text, PNR_TOKEN_CHARS) == 0;
}

/* Tries all keys, also after the right one. */
static bool is_signed(const struct frame *f, const struct pnr_token_keys *keys)
{
        bool good = false;
        for (uint32_t i = 0; i < keys->n && i < PNR_TOKEN_KEYS_MAX; i++) {
                uint8_t mac[MAC_SIZE];
                mac_of(f, keys->key[i], mac);
                good |= sodium_memcmp(mac, f->mac, MAC_SIZE) == 0;
        }
        return good;
}

bool pnr_token_read(const char *text, size_t len, const struct pnr_token_keys *keys, struct pnr_token *ret)
{
        struct frame f;
        *ret = (struct pnr_token){0};
        if (!decode(text, len, &f) || !is_signed(&f, keys) || f.version != VERSION || f.stamp == 0)
                return false;
        *ret = (struct pnr_token){.cluster = f.cluster,
                                  .key = {{f.key[0], f.key[1]}},
                                  .stamp = f.stamp,
                                  .issued_ms = f.issued_ms,
                                  .left_ms = f.left_ms};
        return true;
}

/* Dates in a token can be any: at the end of the range a later one stays there. */
static int64_t later(int64_t date_ms, uint32_t by_ms)
{
        int64_t s;
        return __builtin_add_overflow(date_ms, by_ms, &s) ? INT64_MAX : s;
}

enum pnr_token_verdict pnr_token_judge(const struct pnr_token *t, uint64_t cluster, int64_t wall_ms,
                                       uint32_t max_pin_ms, uint32_t *left_ms)
{
        *left_ms = 0;
        if (t->cluster != cluster)
                return PNR_TOKEN_FOREIGN;
        int64_t ahead_ms = later(wall_ms, PNR_TOKEN_AHEAD_MS + PNR_TOKEN_SLACK_MS);
        int64_t deadline_ms = later(t->issued_ms, t->left_ms);
        if (deadline_ms > ahead_ms)
                return PNR_TOKEN_FORGED;
        int64_t end_ms = later(deadline_ms, PNR_TOKEN_SLACK_MS);
        uint32_t most_ms = t->left_ms < max_pin_ms ? t->left_ms : max_pin_ms;
        if (wall_ms >= end_ms || most_ms == 0)
                return PNR_TOKEN_EXPIRED;
        int64_t here_ms = end_ms - wall_ms; /* at most AHEAD and two SLACKs: see above */
        *left_ms = here_ms < most_ms ? (uint32_t)here_ms : most_ms;
        return PNR_TOKEN_GOOD;
}

bool pnr_token_keys_valid(const struct pnr_token_keys *keys)
{
        static const struct pnr_token_keys none;
        uint32_t n = keys->n;
        return n >= 1 && n <= PNR_TOKEN_KEYS_MAX && keys->issuer >> PNR_ISSUER_BITS == 0 &&
               memcmp((const uint8_t *)keys->key + n * PNR_TOKEN_KEY_SIZE, none.key,
                      (PNR_TOKEN_KEYS_MAX - n) * PNR_TOKEN_KEY_SIZE) == 0 &&
               memcmp(keys->reserved, none.reserved, sizeof none.reserved) == 0;
}
