/* handle.c -- the public calls: the door where arguments, fork and errno are looked after.
 * Owns: struct pinroute.  Joins view, choose, owed and ask; the only file that replaces a view. */
#include "client/handle.h"

#include <limits.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "client/ask.h"
#include "client/budget.h"
#include "client/choose.h"
#include "client/clock.h"
#include "client/guest.h"
#include "client/name.h"
#include "client/names.h"
#include "client/owed.h"
#include "client/recall.h"
#include "client/tally.h"
#include "client/view.h"

#define TRIES          8        /* snapshots, before the answer is "primary" */
#define LOOK_EVERY_MS  1000     /* for a new store */
#define LOOK_NS        20000000 /* and may take, where it must ask the daemon for its clock */
#define TIMEOUT_MS     50
#define TIMEOUT_MAX_MS 60000
#define STALE_AFTER_MS 1000 /* until a store has said otherwise */
#define DIR_DEFAULT    "/run/pinroute"

static_assert(PINROUTE_NODE_SIZE == PNR_NAME_SIZE && PINROUTE_KEY_MAX == PNR_KEY_MAX, "the store's limits");

/* Memory that a fork wipes: a child starts with a free lock, no connection, and no turn of its own yet. */
struct fresh {
        struct ask_fresh ask;
        struct lock table;      /* of cluster names and debts: held for memory only */
        _Atomic uint64_t start; /* this process's first turn * 2 + 1; 0: none yet */
        struct tally_fresh tally;
        struct walk_root top; /* of the snapshot that recall[] speaks of, or another */
        struct {
                alignas(64) struct recall recall;
                _Atomic uint64_t turn; /* steps since `start` */
        } of[PINROUTE_CLUSTERS_MAX];
        alignas(PNR_PAGE_SIZE) struct pnr_count_lane counts; /* while there is no daemon's memory for them */
};

/* A page that all descendants of the opener share. */
struct family {
        _Atomic uint64_t children;                 /* that have taken a turn */
        _Atomic uint64_t budget[PNR_CLUSTERS_MAX]; /* while no daemon has handed out the host's */
};

struct pinroute {
        char dir[sizeof((struct sockaddr_un *)0)->sun_path];
        char primary[PNR_NAME_SIZE]; /* $PINROUTE_PRIMARY */
        struct fresh *fresh;
        struct family *family;
        uint64_t base; /* the opener's turn */
        struct ask ask;
        struct tally tally;
        struct owed owed;           /* by our own clock, whatever we learn of the daemon's */
        struct view *_Atomic view;  /* NULL: none yet */
        _Atomic int64_t look_ms;    /* no look for a new store before this */
        atomic_uint stale_after_ms; /* as the store last said */
        atomic_uint timeout_ms;
        struct names names;                        /* of clusters */
        atomic_uint number[PINROUTE_CLUSTERS_MAX]; /* the store's number when last seen: a guess */
};

bool handle_has(const struct pinroute *pr, unsigned cluster)
{
        return pr && cluster < names_count(&pr->names);
}

bool handle_key_fits(const void *key, size_t len) { return key && len >= 1 && len <= PNR_KEY_MAX; }

void handle_unknown(const struct pinroute *pr, struct pinroute_decision *ret)
{
        memset(ret, 0, sizeof *ret);
        ret->role = PINROUTE_PRIMARY;
        ret->reason = PINROUTE_STORE_UNAVAILABLE;
        if (pr)
                memcpy(ret->node, pr->primary, sizeof ret->node);
}

/* The daemon's time, when it is `here` by our own clock. */
static struct mono there(const struct pinroute *pr, struct mono here)
{
        struct mono t = mono_plus(here, atomic_load_explicit(&pr->ask.clock_ahead_ms, memory_order_relaxed));
        return t.ms < 0 ? (struct mono){0} : t;
}

struct mono handle_now(const struct pinroute *pr) { return there(pr, clock_coarse()); }

/* No HELLO was answered quickly yet, say because the daemon came after us. */
static bool look_for_clock(struct pinroute *pr, int64_t deadline_ns)
{
        struct pnr_reply r;
        return !ask_knows_clock(&pr->ask) && clock_ns() < deadline_ns &&
               ask_hello(&pr->ask, deadline_ns, &r) == PINROUTE_OK && ask_knows_clock(&pr->ask);
}

/* Looks for another store than `old`, and for the daemon's clock where it is unknown, at most once a second,
 * in one thread: true if there is one now.  `usable`: only a file other than the one that is mapped will do.
 */
static bool look(struct pinroute *pr, struct view *old, bool usable, int64_t deadline_ns)
{
        int64_t now_ms = clock_coarse().ms, due_ms = atomic_load(&pr->look_ms);
        if (now_ms < due_ms && due_ms - now_ms <= LOOK_EVERY_MS)
                return false;
        if (!atomic_compare_exchange_strong(&pr->look_ms, &due_ms, now_ms + LOOK_EVERY_MS))
                return false;
        struct guest g = guest_enter();
        struct view *new = NULL;
        if (!usable || !view_is_linked(old, pr->dir))
                view_open(&new, pr->dir);
        if (new) {
                new->older = old;
                if (!atomic_compare_exchange_strong(&pr->view, &old, new))
                        view_close(&new);
                else if (old)
                        view_blank(old);
        }
        bool learned = look_for_clock(pr, deadline_ns);
        guest_leave(g);
        return new || learned;
}

/* A process's first read takes its start: one atomic add in memory that only its relatives share. */
static uint64_t start_of(struct pinroute *pr)
{
        _Atomic uint64_t *at = &pr->fresh->start;
        uint64_t start = atomic_load_explicit(at, memory_order_relaxed);
        if (start == 0) {
                uint64_t mine = (pr->base + atomic_fetch_add(&pr->family->children, 1)) << 1 | 1;
                if (atomic_compare_exchange_strong(at, &start, mine))
                        start = mine;
        }
        return start >> 1;
}

static uint64_t next_turn(struct pinroute *pr, unsigned cluster)
{
        return start_of(pr) +
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

static void set_if_changed(atomic_uint *at, unsigned to)
{
        if (atomic_load_explicit(at, memory_order_relaxed) != to)
                atomic_store_explicit(at, to, memory_order_relaxed);
}

/* A snapshot that held, of a live store, is what the next read starts from. */
static void remember(const struct visit *v)
{
        struct recalled had;
        struct recall *at = &v->pr->fresh->of[v->cluster].recall;
        if (recall_get(at, &had) && had.view == v->view && had.snap.id == v->at.snap.id)
                return;
        const volatile struct pnr_cluster *c = v->facts.cluster;
        struct facts f = v->facts;
        f.keyed = f.forced = f.bound.given = false;
        int64_t until_ms = c->floor_until_ms, hold_ms = c->floor_hold_ms;
        const struct recalled r = {
            .plain = choose(&f),
            .floor_end_ms = c->flags & PNR_CLUSTER_AFFINITY ? INT64_MAX
                            : until_ms > hold_ms            ? until_ms
                                                            : hold_ms,
            .view = v->view,
            .snap = v->at.snap,
            .cluster = v->facts.cluster,
            .epoch = v->at.epoch,
            .heartbeat_ms = v->at.heartbeat_ms,
            .stale_after_ms = v->facts.stale_after_ms,
            .stale_limit_ms = v->facts.stale_limit_ms,
            .number = v->at.number,
            .spread = v->at.spread,
        };
        if (r.plain.reason == PINROUTE_NO_REPLICA && c->primary_budget)
                return; /* each such read has to ask */
        walk_root_put(&v->pr->fresh->top, &v->view->walk, &v->at.snap);
        if (view_holds(v->view, &v->at))
                recall_put(at, &r);
}

/* One span for all that a read may ask. */
static int64_t look_until(struct visit *v)
{
        if (!v->look_until_ns)
                v->look_until_ns = clock_ns() + (v->hurried ? 0 : LOOK_NS);
        return v->look_until_ns;
}

/* A daemon that came after the one whose memory we count in hands out its own; a read asks for it. */
static void meet(struct visit *v)
{
        struct pinroute *pr = v->pr;
        struct pnr_reply r;
        if (!v->hurried && tally_may_meet(&pr->tally, v->at.epoch, v->here.ms))
                ask_hello(&pr->ask, look_until(v), &r);
}

int handle_visit(struct visit *v, int (*use)(struct visit *v))
{
        struct pinroute *pr = v->pr;
        for (int tries = 0; tries < TRIES; tries++) {
                v->view = atomic_load_explicit(&pr->view, memory_order_acquire);
                if (!v->view) {
                        if (!look(pr, NULL, false, look_until(v)))
                                break;
                        continue;
                }
                bool clock_known = ask_knows_clock(&pr->ask);
                v->here = clock_coarse();
                v->facts = (struct facts){.now = there(pr, v->here), .forced = v->forced, .bound = v->bound};
                if (v->key) {
                        v->facts.key = *v->key;
                        v->facts.local = owed_need(&pr->owed, v->cluster, *v->key, v->here);
                }
                if (v->facts.local.until_ms)
                        v->facts.local.until_ms += mono_since(v->facts.now, v->here);
                v->at.number = atomic_load_explicit(&pr->number[v->cluster], memory_order_relaxed);
                int st = view_facts(v->view, pr->names.name[v->cluster], v->key, &v->facts, &v->at);
                if (!clock_known && !choose_is_stale(&v->facts))
                        v->facts.age_ms = v->facts.stale_after_ms;
                int status = st == VIEW_OK ? use(v) : PINROUTE_E_CLUSTER;
                if (st == VIEW_AGAIN || !view_holds(v->view, &v->at))
                        continue;
                bool usable = st != VIEW_UNUSABLE;
                if ((!usable || choose_is_stale(&v->facts)) && look(pr, v->view, usable, look_until(v)))
                        continue;
                if (!usable || (st == VIEW_NO_CLUSTER && choose_is_void(&v->facts)))
                        break; /* a store that is only just being made has no clusters yet */
                set_if_changed(&pr->number[v->cluster], v->at.number);
                set_if_changed(&pr->stale_after_ms, v->facts.stale_after_ms);
                tally_enter(&pr->tally, v->at.number);
                if (st == VIEW_OK && !choose_is_stale(&v->facts)) {
                        remember(v);
                        meet(v);
                }
                return status;
        }
        return NO_STORE;
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
        f->now = there(pr, here);
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
        uint64_t taken = atomic_load_explicit(at, memory_order_relaxed), turn = start_of(pr) + taken + 1;
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

struct ask *handle_ask(struct pinroute *pr) { return &pr->ask; }
struct owed *handle_owed(struct pinroute *pr) { return &pr->owed; }
struct lock *handle_table(struct pinroute *pr) { return &pr->fresh->table; }
const char *handle_name(const struct pinroute *pr, unsigned cluster) { return pr->names.name[cluster]; }

struct view_pulse handle_pulse(const struct pinroute *pr)
{
        return view_pulse(atomic_load_explicit(&pr->view, memory_order_acquire));
}

int64_t handle_deadline(const struct pinroute *pr)
{
        return clock_ns() + atomic_load(&pr->timeout_ms) * CLOCK_NS_PER_MS;
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

int pinroute_set_timeout(struct pinroute *pr, unsigned ms)
{
        if (!pr || ms < 1 || ms > TIMEOUT_MAX_MS)
                return PINROUTE_E_INVALID;
        atomic_store(&pr->timeout_ms, ms);
        return PINROUTE_OK;
}

static int use_nothing(struct visit *v)
{
        (void)v;
        return PINROUTE_OK;
}

int pinroute_cluster(struct pinroute *pr, const char *name, unsigned *ret)
{
        char padded[PNR_NAME_SIZE] = {0};
        if (!ret)
                return PINROUTE_E_INVALID;
        *ret = UINT_MAX;
        if (!pr || !name)
                return PINROUTE_E_INVALID;
        memcpy(padded, name, strnlen(name, sizeof padded));
        if (!pnr_name_valid(padded))
                return PINROUTE_E_INVALID;
        *ret = names_number(&pr->names, &pr->fresh->table, padded);
        if (*ret == UINT_MAX)
                return PINROUTE_E_INVALID;
        struct visit v = {.pr = pr, .cluster = *ret};
        return handle_visit(&v, use_nothing) == PINROUTE_E_CLUSTER ? PINROUTE_E_CLUSTER : PINROUTE_OK;
}

/* Where this process's turns start: the daemon hands it out; without one, chance does. */
static void take_base(struct pinroute *pr, int64_t deadline_ns)
{
        struct pnr_reply r;
        if (ask_hello(&pr->ask, deadline_ns, &r) == PINROUTE_OK)
                pr->base = r.turn;
        else if (getrandom(&pr->base, sizeof pr->base, GRND_NONBLOCK) != sizeof pr->base)
                pr->base = (uint64_t)clock_ns();
}

static void set_primary(struct pinroute *pr)
{
        const char *name = secure_getenv("PINROUTE_PRIMARY");
        if (name && strlen(name) < sizeof pr->primary)
                strcpy(pr->primary, name);
}

static const char *dir_of(const char *dir)
{
        const char *env = secure_getenv("PINROUTE_DIR");
        return dir ? dir : env && *env ? env : DIR_DEFAULT;
}

static void *pages(size_t size, int sharing)
{
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
}

static int open_handle(struct pinroute *pr, const char *dir)
{
        pr->fresh = pages(sizeof *pr->fresh, MAP_PRIVATE);
        pr->family = pages(sizeof *pr->family, MAP_SHARED);
        if (!pr->fresh || !pr->family || madvise(pr->fresh, sizeof *pr->fresh, MADV_WIPEONFORK) != 0)
                return PINROUTE_E_MEMORY;
        if (!*dir || !ask_init(&pr->ask, &pr->fresh->ask, dir))
                return PINROUTE_E_INVALID;
        tally_init(&pr->tally, &pr->fresh->tally, &pr->fresh->counts, pr->family->budget);
        pr->ask.tally = &pr->tally;
        strcpy(pr->dir, dir);
        set_primary(pr);
        atomic_init(&pr->timeout_ms, TIMEOUT_MS);
        atomic_init(&pr->stale_after_ms, STALE_AFTER_MS);
        int64_t deadline_ns = clock_ns() + TIMEOUT_MS * CLOCK_NS_PER_MS;
        take_base(pr, deadline_ns);
        start_of(pr);
        look(pr, NULL, false, deadline_ns);
        return PINROUTE_OK;
}

int pinroute_open(struct pinroute **ret, const char *dir)
{
        if (!ret)
                return PINROUTE_E_INVALID;
        struct guest g = guest_enter();
        *ret = calloc(1, sizeof **ret);
        int status = *ret ? open_handle(*ret, dir_of(dir)) : PINROUTE_E_MEMORY;
        if (status != PINROUTE_OK)
                pinroute_close(ret);
        guest_leave(g);
        return status;
}

void pinroute_close(struct pinroute **pr)
{
        if (!pr || !*pr)
                return;
        struct guest g = guest_enter();
        struct pinroute *p = *pr;
        if (p->ask.fresh)
                ask_fini(&p->ask);
        tally_fini(&p->tally);
        for (struct view *v = atomic_load(&p->view), *older; v; v = older) {
                older = v->older;
                view_close(&v);
        }
        if (p->fresh)
                munmap(p->fresh, sizeof *p->fresh);
        if (p->family)
                munmap(p->family, sizeof *p->family);
        free(p);
        *pr = NULL;
        guest_leave(g);
}
