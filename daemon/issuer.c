/* issuer.c -- what tokens need of a daemon: the stamps of its writes, and the keys in force.
 * Draws random numbers; knows neither store nor file.  Says how many keys there are, never which. */
#include "daemon/issuer.h"

#include <sodium.h>
#include <string.h>

#include "daemon/log.h"
#include "proto/token.h"

static uint32_t random_issuer(void)
{
        uint32_t issuer;
        do {
                randombytes_buf(&issuer, sizeof issuer);
                issuer >>= 32 - PNR_ISSUER_BITS;
        } while (!issuer);
        return issuer;
}

static void make_key(struct pnr_token_keys *ret)
{
        memset(ret, 0, sizeof *ret);
        randombytes_buf(ret->key[0], sizeof ret->key[0]);
        ret->n = 1;
}

void issuer_init(struct issuer *is, const struct pnr_token_keys *found)
{
        *is = (struct issuer){.keys = *found, .dirty = true};
        is->keys.issuer = random_issuer();
}

void issuer_configure(struct issuer *is, const struct pnr_token_keys *configured)
{
        if (!configured->n && is->keys.n)
                return;
        struct pnr_token_keys keys = *configured;
        if (!keys.n) {
                make_key(&keys);
                log_info("tokens: signed with a key of this host's own, no other host takes them; see "
                         "key_file");
        }
        keys.issuer = is->keys.issuer;
        if (memcmp(&keys, &is->keys, sizeof keys) != 0) {
                if (configured->n)
                        log_info("tokens: keys of key_file in force: %u, the first one signs", keys.n);
                is->keys = keys;
                is->dirty = true;
        }
        explicit_bzero(&keys, sizeof keys);
}

void issuer_fingerprint(const struct issuer *is, unsigned key, char ret[ISSUER_FINGERPRINT_SIZE])
{
        uint8_t hash[crypto_generichash_BYTES_MIN];
        MUST(key < is->keys.n);
        crypto_generichash(hash, sizeof hash, is->keys.key[key], PNR_TOKEN_KEY_SIZE, NULL, 0);
        sodium_bin2hex(ret, ISSUER_FINGERPRINT_SIZE, hash, (ISSUER_FINGERPRINT_SIZE - 1) / 2);
}

uint64_t issuer_next(struct issuer *is)
{
        if (++is->count >> PNR_STAMP_COUNT_BITS) { /* begun again, it would be covered by its own past */
                is->keys.issuer = random_issuer();
                is->count = 1;
                is->dirty = true;
        }
        return pnr_stamp(is->keys.issuer, is->count);
}
