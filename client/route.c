/* route.c -- where does a read go?  The public calls that ask, from the quickest way to the longest.
 * Joins recall, choose and tally; goes to the store by handle_visit() alone. */
#include "client/handle_in.h"

#include "client/budget.h"
#include "client/choose.h"
#include "client/clock.h"
#include "client/name.h"

static uint64_t next_turn(struct pinroute *pr, unsigned cluster)
{
        return handle_start(pr) +
               atomic_fetch_add_explicit(&pr->fresh->of[cluster].turn, 1, memory_order_relaxed);
}

/* A choice, and the node of its pool that it is: where the scope has read before, else the next one in turn; -1: the
 * primary.
 *   turn  that this read already has, + 1; 0: it takes one */
struct pick {
        struct choice choice;
        int node;
};

static ALWAYS_INLINE struct pick pick(struct pinroute *pr, unsigned cluster, const struct pnr_cluster *c,
                                      struct choice choice, const char *stay, uint64_t *turn)
{
        struct pick p = {choice, stay && choice.pool ? view_node(c, stay) : -1};
        if (p.node >= 0 && choice.pool >> p.node & 1)
                return p;
        p.node = -1;
        if (!choice.pool)
                return p;
        *turn = *turn ? *turn : next_turn(pr, cluster) + 1;
        p.node = choose_next(c, choice.pool, *turn - 1);
        if (p.node < 0)
                p.choice.reason = PINROUTE_NO_REPLICA;
        return p;
}

/* place: where it is to be counted, once it holds. */
static ALWAYS_INLINE int put(const struct pinroute *pr, const struct pnr_cluster *c, uint32_t number,
                             struct pick p, uint64_t epoch, struct pinroute_decision *ret, uint32_t *place)
{
        unsigned at = p.node >= 0 ? (unsigned)p.node : *(const volatile uint16_t *)&c->primary;
        name_copy(ret->node, at < PNR_NODES_MAX ? c->node[at].name : pr->primary);
        *place = tally_place(number, at, p.choice.reason);
        ret->role = p.node >= 0 ? PINROUTE_REPLICA : PINROUTE_PRIMARY;
        ret->reason = (uint16_t)p.choice.reason;
        ret->pin_left_ms = p.choice.pin_left_ms;
        ret->epoch = epoch;
        for (unsigned i = 0; i < sizeof ret->reserved / sizeof *ret->reserved; i++)
                ret->reserved[i] = 0;
        if (p.choice.reason == PINROUTE_STORE_UNAVAILABLE)
                return PINROUTE_E_STORE;
        bool is_error = p.choice.reason == PINROUTE_NO_REPLICA && c->flags & PNR_CLUSTER_NO_REPLICA_ERROR;
        return is_error ? PINROUTE_E_NO_REPLICA : PINROUTE_OK;
}

/* Without key and replica: does the primary take one more?  Asked once, however often the snapshot has to be taken. */
static int within_budget(struct visit *v)
{
        const volatile struct pnr_cluster *c = v->facts.cluster;
        uint32_t most = c->primary_budget;
        if (!most || v->facts.keyed)
                return PINROUTE_OK;
        if (v->budget == BUDGET_UNASKED)
                v->budget = budget_take(tally_budget(&v->pr->tally, v->at.number), most, v->facts.now)
                                ? BUDGET_GRANTED
                                : BUDGET_REFUSED;
        if (v->budget == BUDGET_GRANTED)
                return PINROUTE_OK;
        ((struct pinroute_decision *)v->ret)->reason = PINROUTE_OVER_BUDGET;
        v->place += PINROUTE_OVER_BUDGET - PINROUTE_NO_REPLICA;
        return PINROUTE_E_NO_REPLICA;
}

/* A key's own replica is no matter of turns, and takes none from others. */
static struct pick own(struct choice choice) { return (struct pick){choice, __builtin_ctz(choice.pool)}; }

static int use_decision(struct visit *v)
{
        const struct pnr_cluster *c = v->facts.cluster;
        int stay = v->stay ? view_node(c, v->stay) : -1;
        v->facts.stay = stay >= 0 ? 1u << stay : 0;
        struct choice choice = choose(&v->facts);
        struct pick p = choice.reason == PINROUTE_AFFINITY
                            ? own(choice)
                            : pick(v->pr, v->cluster, c, choice, v->stay, &v->turn);
        int status = put(v->pr, c, v->at.number, p, v->at.epoch, v->ret, &v->place);
        return status == PINROUTE_OK && p.choice.reason == PINROUTE_NO_REPLICA ? within_budget(v) : status;
}

static int read_store(struct visit *v, int (*use)(struct visit *v))
{
        int status = handle_visit(v, use);
        if (status == NO_STORE || status == PINROUTE_E_CLUSTER) {
                handle_unknown(v->pr, v->ret);
                v->place = tally_place(0, PNR_NO_NODE, PINROUTE_STORE_UNAVAILABLE);
                tally_enter(&v->pr->tally, PNR_CLUSTERS_MAX);
        }
        return status == NO_STORE ? PINROUTE_E_STORE : status;
}

/* ---- the read that nearly every read is: the snapshot is the one that the last read saw, the daemon is alive, nothing
 * is owed.  Anything else is found out the long way. ---- */

#define NOT_QUICK (-2)

/* Without a key, or of a key that has no pin.  What is owed is looked at before the snapshot: once it is paid, only a
 * later snapshot has the pin. */
static ALWAYS_INLINE bool quick_begin(struct pinroute *pr, unsigned cluster, struct recalled *last,
                                      struct facts *f)
{
        struct mono here = clock_coarse();
        if (owed_any(&pr->owed, here))
                return false;
        const struct view *v = atomic_load_explicit(&pr->view, memory_order_acquire);
        if (!recall_get(&pr->fresh->of[cluster].recall, last) || last->view != v ||
            walk_newest(&v->walk) != last->snap.id)
                return false;
        /* Field by field: to clear all at once costs as much as the rest of a read. */
        f->now = handle_there(pr, here);
        f->age_ms = view_age_ms(last->heartbeat_ms, f->now);
        f->stale_after_ms = last->stale_after_ms;
        f->stale_limit_ms = last->stale_limit_ms;
        f->pin = f->local = (struct need){0};
        f->cluster = last->cluster;
        return !choose_is_stale(f);
}

/* A turn is taken when it was used.  A locked instruction costs a third of a read: alone, a process does without. */
static ALWAYS_INLINE bool quick_take_turn(_Atomic uint64_t *at, uint64_t turn)
{
        if (!__libc_single_threaded)
                return atomic_compare_exchange_strong_explicit(at, &turn, turn + 1, memory_order_relaxed,
                                                               memory_order_relaxed);
        atomic_store_explicit(at, turn + 1, memory_order_relaxed);
        return true;
}

static int quick_own(const struct pinroute *pr, const struct recalled *last, struct choice choice,
                     struct pinroute_decision *ret, uint32_t *place)
{
        int status = put(pr, last->cluster, last->number, own(choice), last->epoch, ret, place);
        return walk_holds(&last->view->walk, &last->snap) ? status : NOT_QUICK;
}

/* Picks before it looks for the pin, which nearly no key has: the two need not wait for each other.  The hash comes
 * first, since all of the look-up waits for it. */
static ALWAYS_INLINE int quick_read(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                                    const struct pnr_key *hashed, bool forced, struct bound bound,
                                    struct pinroute_decision *ret, uint32_t *place)
{
        struct recalled last;
        struct facts f;
        struct pnr_key k = key ? pnr_key_of(key, len) : hashed ? *hashed : (struct pnr_key){0};
        if (!quick_begin(pr, cluster, &last, &f))
                return NOT_QUICK;
        _Atomic uint64_t *at = &pr->fresh->of[cluster].turn;
        uint64_t taken = atomic_load_explicit(at, memory_order_relaxed), turn = handle_start(pr) + taken + 1;
        f.keyed = key || hashed;
        f.forced = forced;
        struct pick p = pick(pr, cluster, last.cluster, last.plain, NULL, &turn);
        bool plain = !forced && !bound.given;
        if (f.keyed) {
                struct need none = {0};
                struct pnr_slot slot = pnr_slot_of(k, last.number, &last.spread);
                walk_root_use(&pr->fresh->top, &last.view->walk, &last.snap);
                if (view_pin(last.view, &last.snap, slot, &f.pin) == WALK_BAD)
                        return NOT_QUICK;
                plain = plain && f.now.ms >= last.floor_end_ms && !need_add(&none, &f.pin, f.now);
        }
        if (!plain) {
                f.bound = bound;
                f.key = k;
                f.stay = 0;
                struct choice choice = choose(&f);
                if (choice.reason == PINROUTE_AFFINITY)
                        return quick_own(pr, &last, choice, ret, place);
                p = pick(pr, cluster, last.cluster, choice, NULL, &turn);
        }
        int status = put(pr, last.cluster, last.number, p, last.epoch, ret, place);
        bool good = walk_holds(&last.view->walk, &last.snap) && (p.node < 0 || quick_take_turn(at, taken));
        return good ? status : NOT_QUICK;
}

static int long_read(struct pinroute *pr, unsigned cluster, const struct pnr_key *key, bool forced,
                     struct bound bound, struct pinroute_decision *ret, uint32_t *place)
{
        struct visit v = {
            .pr = pr, .cluster = cluster, .key = key, .forced = forced, .bound = bound, .ret = ret};
        int status = read_store(&v, use_decision);
        *place = v.place;
        return status;
}

static ALWAYS_INLINE void count(struct pinroute *pr, uint32_t place)
{
        tally_add(&pr->tally, &pr->fresh->tally, place);
}

int handle_read(struct pinroute *pr, unsigned cluster, const struct pnr_key *key, enum pinroute_reason forced,
                struct bound bound, struct pinroute_decision *ret, uint32_t *place)
{
        int status = quick_read(pr, cluster, NULL, 0, key, forced != 0, bound, ret, place);
        if (status == NOT_QUICK)
                status = long_read(pr, cluster, key, forced != 0, bound, ret, place);
        if (ret->reason == PINROUTE_FORCED) {
                ret->reason = (uint16_t)forced;
                *place += (uint32_t)forced - PINROUTE_FORCED;
        }
        count(pr, *place);
        return status;
}

/* Where there is a live need, even a read without a key is one that the floor and a stale store concern.  By
 * the offset that facts.now was made with: another thread may learn another meanwhile. */
static int use_needing(struct visit *v)
{
        struct need need = *v->need;
        int64_t ahead_ms = mono_since(v->facts.now, v->here);
        need.until_ms += ahead_ms;
        need.hold_ms += ahead_ms;
        if (need_add(&v->facts.local, &need, v->facts.now))
                v->facts.keyed = true;
        return use_decision(v);
}

int handle_read_again(struct pinroute *pr, unsigned cluster, const struct pnr_key *key,
                      const struct need *need, const char *stay, struct bound bound,
                      struct pinroute_decision *ret, uint32_t *place)
{
        struct visit v = {
            .pr = pr, .cluster = cluster, .key = key, .need = need, .stay = stay, .bound = bound, .ret = ret};
        int status = read_store(&v, need ? use_needing : use_decision);
        count(pr, *place = v.place);
        return status;
}

bool handle_repeats(struct pinroute *pr, struct mono then, uint32_t place)
{
        int64_t age_ms = mono_since(handle_now(pr), then);
        if (age_ms < 0 || age_ms > atomic_load_explicit(&pr->stale_after_ms, memory_order_relaxed))
                return false;
        if (place < TALLY_WORDS)
                count(pr, place);
        return true;
}

int pinroute_route_read(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                        struct pinroute_decision *ret)
{
        if (!ret)
                return PINROUTE_E_INVALID;
        if (!handle_has(pr, cluster) || (key && !handle_key_fits(key, len))) {
                handle_unknown(pr, ret);
                return PINROUTE_E_INVALID;
        }
        uint32_t place;
        int status = quick_read(pr, cluster, key, len, NULL, false, (struct bound){0}, ret, &place);
        if (status == NOT_QUICK) {
                struct pnr_key k = key ? pnr_key_of(key, len) : (struct pnr_key){0};
                status = long_read(pr, cluster, key ? &k : NULL, false, (struct bound){0}, ret, &place);
        }
        count(pr, place);
        return status;
}

int pinroute_route_read_within(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                               unsigned ms, struct pinroute_decision *ret)
{
        if (!ret)
                return PINROUTE_E_INVALID;
        if (!handle_has(pr, cluster) || (key && !handle_key_fits(key, len))) {
                handle_unknown(pr, ret);
                return PINROUTE_E_INVALID;
        }
        struct pnr_key k = key ? pnr_key_of(key, len) : (struct pnr_key){0};
        uint32_t place;
        return handle_read(pr, cluster, key ? &k : NULL, 0, (struct bound){true, ms}, ret, &place);
}

int pinroute_route_write(struct pinroute *pr, unsigned cluster, struct pinroute_decision *ret)
{
        if (!ret)
                return PINROUTE_E_INVALID;
        if (!handle_has(pr, cluster)) {
                handle_unknown(pr, ret);
                return PINROUTE_E_INVALID;
        }
        uint32_t place;
        return handle_read(pr, cluster, NULL, PINROUTE_WRITE, (struct bound){0}, ret, &place);
}
