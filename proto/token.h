/* token.h -- a pin as text: signed, expiring, good on every host that has the key.
 * Pure: no clock, no state, no malloc: any thread, any process, before and after fork.
 *
 * A token says: reads that carry it need this write of this key.  It travels in a cookie, a header or a job's
 * payload, so whatever comes back is hostile text until its MAC is right.
 *
 * 64 bytes, little-endian, written as 86 characters of URL-safe base64 (RFC 4648 section 5) without padding:
 *      0  version, 1 (4)      12  the key, stage 1 (16)     36  issued_ms (8)      48  MAC (16)
 *      4  cluster (8)         28  stamp (8)                 44  left_ms (4)
 * The MAC is HMAC-SHA-256 (RFC 2104; libsodium's crypto_auth_hmacsha256) of the first 48 bytes, cut to its
 * first 128 bits (RFC 2104 section 5 allows half). */
#ifndef PNR_TOKEN_H
#define PNR_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/key.h"
#include "proto/store.h"

#define PNR_TOKEN_CHARS    86
#define PNR_TOKEN_SLACK_MS 60000    /* by which the clocks of two hosts may differ without a loss */
#define PNR_TOKEN_AHEAD_MS 86400000 /* more than this ahead of our clock is no honest host's */

/* A stamp names a write.  40 bits count the writes of one issuer, 24 bits above them tell issuers apart:
 * random at each start of a daemon, 0 where a stub made the stamp because the daemon did not answer.  Two
 * hosts' clocks say nothing about which of two writes came first, so stamps are compared within one issuer
 * only. */
#define PNR_STAMP_COUNT_BITS 40
#define PNR_ISSUER_BITS      (64 - PNR_STAMP_COUNT_BITS)

static inline uint64_t pnr_stamp(uint32_t issuer, uint64_t count)
{
        return (uint64_t)issuer << PNR_STAMP_COUNT_BITS | (count & ((1ull << PNR_STAMP_COUNT_BITS) - 1));
}

/* A pin that last took `have`: was the write `want` among all that it was made for?  Then a token with `want`
 * does nothing; a newer one, and one of an issuer that it does not know, merges. */
static inline bool pnr_stamp_covers(uint64_t have, uint64_t want)
{
        uint64_t issuer = want >> PNR_STAMP_COUNT_BITS;
        return have == want || (issuer != 0 && have >> PNR_STAMP_COUNT_BITS == issuer && have > want);
}

struct pnr_token {
        uint64_t cluster; /* pnr_token_cluster() */
        struct pnr_key key;
        uint64_t stamp;    /* not 0 */
        int64_t issued_ms; /* wall clock of the issuer */
        uint32_t left_ms;  /* of the pin at that moment: the deadline is the sum of both */
};

/* A cluster's name as tokens carry it; the same on every host.  NULs to the end of the name's bytes. */
uint64_t pnr_token_cluster(const char name[PNR_NAME_SIZE]);

/* Signs with the first key.  ret: PNR_TOKEN_CHARS characters and a NUL. */
void pnr_token_sign(const struct pnr_token *t, const struct pnr_token_keys *keys,
                    char ret[PNR_TOKEN_CHARS + 1]);

/* Takes a text apart.  false: not ours, whatever is wrong with it; *ret is then zeros.  The MACs are compared
 * in constant time. */
bool pnr_token_read(const char *text, size_t len, const struct pnr_token_keys *keys, struct pnr_token *ret);

enum pnr_token_verdict {
        PNR_TOKEN_GOOD,
        PNR_TOKEN_FORGED,  /* issued or ending more than PNR_TOKEN_AHEAD_MS from now */
        PNR_TOKEN_EXPIRED, /* its deadline is past by more than the slack */
        PNR_TOKEN_FOREIGN, /* of another cluster */
};

/* Is a token that was read of use now?  left_ms: how long its pin has to last here, at most max_pin_ms: never
 * less than what is left by an issuer's clock that differs by the slack, and never more than left_ms said. */
enum pnr_token_verdict pnr_token_judge(const struct pnr_token *t, uint64_t cluster, int64_t wall_ms,
                                       uint32_t max_pin_ms, uint32_t *left_ms);

/* Between 1 and PNR_TOKEN_KEYS_MAX keys, and the rest zeros? */
bool pnr_token_keys_valid(const struct pnr_token_keys *keys);

#endif
