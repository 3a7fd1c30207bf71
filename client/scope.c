/* scope.c -- one request's view: its key, its decision, forced or not, did it write.
 * Knows the handle only through handle.h; the scope itself is the caller's memory. */
#include "client/scope.h"

#include <assert.h>
#include <string.h>

#include "client/clock.h"
#include "client/handle.h"
#include "client/known.h"
#include "client/name.h"
#include "client/tell.h"

static_assert(sizeof(struct pinroute_decision) == 112, "public: libpinroute.so.0 for life");
static_assert(sizeof(struct pinroute_scope) == 256 + 112, "public: libpinroute.so.0 for life");

enum { KEYED = 1, WROTE = 2, DECIDED = 4, NEEDS = 8 };

void pinroute_scope_begin(struct pinroute_scope *s, struct pinroute *pr, unsigned cluster, const void *key,
                          size_t len)
{
        if (!s)
                return;
        memset(s, 0, sizeof *s);
        s->pr = pr;
        s->cluster = cluster;
        if (!handle_has(pr, cluster) || (key && !handle_key_fits(key, len))) {
                s->status = PINROUTE_E_INVALID;
        } else if (key) {
                struct pnr_key k = pnr_key_of(key, len);
                memcpy(s->key, k.w, sizeof s->key);
                s->flags = KEYED;
        }
}

static struct pnr_key key_of(const struct pinroute_scope *s)
{
        return (struct pnr_key){{s->key[0], s->key[1]}};
}

static struct need need_of(const struct pinroute_scope *s)
{
        return (struct need){s->need[0], (int64_t)s->need[1], (int64_t)s->need[2]};
}

void scope_add_need(struct pinroute_scope *s, const struct need *need)
{
        struct mono now = clock_coarse();
        struct need all = {0}, had = need_of(s);
        need_add(&all, &had, now);
        if (!need_add(&all, need, now))
                return;
        s->need[0] = all.generation;
        s->need[1] = (uint64_t)all.until_ms;
        s->need[2] = (uint64_t)all.hold_ms;
        s->flags = (s->flags | NEEDS) & (unsigned)~DECIDED;
}

int pinroute_scope_rekey(struct pinroute_scope *s, const void *key, size_t len)
{
        if (!s || s->status != PINROUTE_OK || (key && !handle_key_fits(key, len)))
                return PINROUTE_E_INVALID;
        struct pnr_key k = key ? pnr_key_of(key, len) : (struct pnr_key){0};
        bool was_keyed = s->flags & KEYED;
        if (was_keyed == (key != NULL) && memcmp(s->key, k.w, sizeof s->key) == 0)
                return PINROUTE_OK;
        if (was_keyed) {
                struct need need = known_need(s->pr, s->cluster, key_of(s));
                scope_add_need(s, &need);
        }
        memcpy(s->key, k.w, sizeof s->key);
        s->flags = (s->flags & (unsigned)~(KEYED | DECIDED)) | (key ? KEYED : 0);
        return PINROUTE_OK;
}

/* Is there something to record? */
static bool end(struct pinroute_scope *s)
{
        bool owes = s->flags & KEYED && s->flags & WROTE;
        s->flags &= (unsigned)~(WROTE | DECIDED);
        return s->status == PINROUTE_OK && owes;
}

int pinroute_scope_end(struct pinroute_scope *s)
{
        if (!s)
                return PINROUTE_E_INVALID;
        return end(s) ? tell_record(s->pr, s->cluster, key_of(s), 0) : s->status;
}

int pinroute_scope_end_send(struct pinroute_scope *s, struct pinroute_pending *ret)
{
        if (!ret)
                return PINROUTE_E_INVALID;
        if (!s)
                return tell_done(ret, PINROUTE_E_INVALID);
        struct pnr_key key = key_of(s);
        return end(s) ? tell_send(s->pr, s->cluster, &key, 1, 0, ret) : tell_done(ret, s->status);
}

static bool is_forced(const struct pinroute_scope *s) { return s->forced || s->flags & WROTE; }

static int decide(const struct pinroute_scope *s, struct bound bound, struct pinroute_decision *ret,
                  uint32_t *place)
{
        struct pnr_key key = key_of(s);
        const struct pnr_key *k = s->flags & KEYED ? &key : NULL;
        bool has_read = s->decision.role == PINROUTE_REPLICA, needs = s->flags & NEEDS;
        if (!has_read && !needs)
                return handle_read(s->pr, s->cluster, k, 0, bound, ret, place);
        struct need need = need_of(s);
        char node[PNR_NAME_SIZE]; /* ret may be the scope's own decision */
        memcpy(node, s->decision.node, sizeof node);
        return handle_read_again(s->pr, s->cluster, k, needs ? &need : NULL, has_read ? node : NULL, bound,
                                 ret, place);
}

/* What is known of a replica grows old by itself: under a bound only the primary is repeated. */
static ALWAYS_INLINE bool repeats(const struct pinroute_scope *s, struct bound bound)
{
        return s->flags & DECIDED && (!bound.given || s->decision.role == PINROUTE_PRIMARY) &&
               handle_repeats(s->pr, (struct mono){s->decided_ms}, s->counted);
}

static ALWAYS_INLINE int read_within(struct pinroute_scope *s, struct bound bound,
                                     struct pinroute_decision *ret)
{
        if (!ret)
                return PINROUTE_E_INVALID;
        if (!s || s->status != PINROUTE_OK) {
                handle_unknown(s ? s->pr : NULL, ret);
                return PINROUTE_E_INVALID;
        }
        uint32_t place;
        if (is_forced(s))
                return handle_read(s->pr, s->cluster, NULL, PINROUTE_FORCED, bound, ret, &place);
        if (repeats(s, bound)) {
                *ret = s->decision;
                return PINROUTE_OK;
        }
        s->decided_ms = handle_now(s->pr).ms;
        int status = decide(s, bound, ret, &place);
        s->counted = place;
        s->decision = *ret;
        s->flags = status == PINROUTE_OK ? s->flags | DECIDED : s->flags & (unsigned)~DECIDED;
        return status;
}

int pinroute_scope_read(struct pinroute_scope *s, struct pinroute_decision *ret)
{
        return read_within(s, (struct bound){0}, ret);
}

int pinroute_scope_read_within(struct pinroute_scope *s, unsigned ms, struct pinroute_decision *ret)
{
        return read_within(s, (struct bound){true, ms}, ret);
}

void pinroute_scope_wrote(struct pinroute_scope *s)
{
        if (s)
                s->flags |= WROTE;
}

void pinroute_scope_force_primary(struct pinroute_scope *s)
{
        if (s)
                s->forced++;
}

void pinroute_scope_unforce(struct pinroute_scope *s)
{
        if (s && s->forced)
                s->forced--;
}

int pinroute_http_method_writes(const char *method)
{
        static const char *const reads[] = {"GET", "HEAD", "OPTIONS", "TRACE"};
        for (unsigned i = 0; method && i < sizeof reads / sizeof *reads; i++)
                if (strcmp(method, reads[i]) == 0)
                        return 0;
        return 1;
}
