/* carry.c -- tokens: issued and accepted for a handle and a scope.
 * Decides what a token means here; knows nothing of how one is written. */
#include <string.h>

#include "client/clock.h"
#include "client/known.h"
#include "client/scope.h"
#include "client/tell.h"

static_assert(PINROUTE_TOKEN_SIZE > PNR_TOKEN_CHARS, "public: for life");

/* A stamp of our own, which no daemon's pin covers.  Never 0, and never twice: a tick of the coarse clock is
 * long enough for a token to arrive elsewhere and for the next write. */
static uint64_t fresh_stamp(void)
{
        uint64_t stamp = pnr_stamp(0, (uint64_t)clock_wall_us());
        return stamp ? stamp : 1;
}

/* Where the table was full the floor took the write, while the key's pin kept the stamp of the one before. */
static bool is_floored(const struct known *k)
{
        return k->now.ms < k->floor.until_ms && k->floor.generation >= k->pin.generation;
}

/* May a write of the key be missing from its pin?  A hold stands for a COMMIT that is not recorded yet. */
static bool may_lack_a_write(const struct known *k)
{
        return k->now.ms < k->owed.until_ms || k->now.ms < k->pin.hold_ms || is_floored(k);
}

/* The pin's own stamp will do where this host's daemon gave it: that pin has all that was recorded here
 * before. A pin that took a token's stamp may hold a write of ours that the token's issuer never heard of. */
static uint64_t stamp_for(const struct known *k)
{
        bool pinned = k->now.ms < k->pin.until_ms;
        bool ours = k->keys.issuer != 0 && k->stamp >> PNR_STAMP_COUNT_BITS == k->keys.issuer;
        return k->is_fresh && pinned && ours && !may_lack_a_write(k) ? k->stamp : fresh_stamp();
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

/* What the write's pin lasts still; where that is not known for sure, as long as a new one would. */
static uint32_t left_for(const struct known *k, bool is_ours)
{
        int64_t end_ms = later(k->pin.until_ms, k->owed.until_ms);
        if (is_floored(k))
                end_ms = later(end_ms, k->floor.until_ms);
        if (!is_ours && k->now.ms >= k->owed.until_ms)
                end_ms = later(end_ms, k->now.ms + k->pin_ms);
        int64_t left_ms = end_ms - k->now.ms;
        return left_ms < k->max_pin_ms ? (uint32_t)left_ms : k->max_pin_ms;
}

int pinroute_token_issue(struct pinroute *pr, unsigned cluster, const void *key, size_t len, char *buf,
                         size_t size)
{
        if (buf && size > 0)
                *buf = '\0';
        if (!handle_has(pr, cluster) || !handle_key_fits(key, len) || !buf || size <= PNR_TOKEN_CHARS)
                return PINROUTE_E_INVALID;
        struct pnr_key k = pnr_key_of(key, len);
        struct known known;
        int status = known_get(pr, cluster, &k, &known);
        if (status != PINROUTE_OK || !known.has_keys)
                return status != PINROUTE_OK ? status : PINROUTE_E_STORE;
        uint64_t stamp = stamp_for(&known);
        struct pnr_token t = {.cluster = known.token_cluster,
                              .key = k,
                              .stamp = stamp,
                              .issued_ms = clock_wall_coarse_ms(),
                              .left_ms = left_for(&known, stamp == known.stamp)};
        pnr_token_sign(&t, &known.keys, buf);
        return PINROUTE_OK;
}

static int status_of(enum pnr_token_verdict verdict)
{
        switch (verdict) {
        case PNR_TOKEN_GOOD: return PINROUTE_OK;
        case PNR_TOKEN_FORGED: return PINROUTE_E_TOKEN_FORGED;
        case PNR_TOKEN_EXPIRED: return PINROUTE_E_TOKEN_EXPIRED;
        case PNR_TOKEN_FOREIGN: return PINROUTE_E_TOKEN_FOREIGN;
        }
        return PINROUTE_E_TOKEN_FORGED;
}

static int check(const struct known *k, const char *text, struct pnr_token *t, uint32_t *left_ms)
{
        if (!pnr_token_read(text, strnlen(text, PNR_TOKEN_CHARS + 1), &k->keys, t))
                return PINROUTE_E_TOKEN_FORGED;
        return status_of(
            pnr_token_judge(t, k->token_cluster, clock_wall_coarse_ms(), k->max_pin_ms, left_ms));
}

/* What this host's pin of the token's key asks for, which is made if it has not heard of the write; the
 * primary where nobody can make it. */
static struct need need_for(struct pinroute *pr, unsigned cluster, const struct pnr_token *t,
                            uint32_t left_ms)
{
        struct known k;
        bool known = known_get(pr, cluster, &t->key, &k) == PINROUTE_OK && k.is_fresh;
        if (known && k.now.ms < k.pin.until_ms && pnr_stamp_covers(k.stamp, t->stamp))
                return k.pin;
        uint64_t generation = CHOOSE_NOBODY;
        if (known && !tell_token(pr, cluster, t->key, t->stamp, left_ms, &generation))
                generation = CHOOSE_NOBODY;
        return (struct need){.generation = generation, .until_ms = mono_plus(clock_coarse(), left_ms).ms};
}

int pinroute_token_accept(struct pinroute *pr, unsigned cluster, const char *token, struct pinroute_scope *s)
{
        if (!token || !s || s->status != PINROUTE_OK || s->pr != pr || s->cluster != cluster ||
            !handle_has(pr, cluster))
                return PINROUTE_E_INVALID;
        struct known known;
        int status = known_get(pr, cluster, NULL, &known);
        if (status == PINROUTE_OK && (known.is_void || !known.has_keys))
                status = PINROUTE_E_STORE;
        if (status != PINROUTE_OK) {
                struct need need = known_nothing();
                scope_add_need(s, &need);
                return status;
        }
        struct pnr_token t;
        uint32_t left_ms;
        status = check(&known, token, &t, &left_ms);
        if (status != PINROUTE_OK)
                return status;
        struct need need = need_for(pr, cluster, &t, left_ms);
        scope_add_need(s, &need);
        return PINROUTE_OK;
}
