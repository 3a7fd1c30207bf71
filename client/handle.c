/* handle.c -- a handle from open to close, and its way to the store: the newest snapshot, again until it holds.
 * Owns: struct pinroute.  Joins view, choose, owed and ask; the only file that replaces a view. */
#include "client/handle_in.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "client/choose.h"
#include "client/clock.h"
#include "client/guest.h"

#define TRIES          8        /* snapshots, before the answer is "primary" */
#define LOOK_EVERY_MS  1000     /* for a new store */
#define LOOK_NS        20000000 /* and may take, where it must ask the daemon for its clock */
#define MEET_NS        2000000  /* a read may take, to ask a new daemon for its memory */
#define TIMEOUT_MS     50
#define TIMEOUT_MAX_MS 60000
#define STALE_AFTER_MS 1000 /* until a store has said otherwise */
#define DIR_DEFAULT    "/run/pinroute"

static_assert(PINROUTE_NODE_SIZE == PNR_NAME_SIZE && PINROUTE_KEY_MAX == PNR_KEY_MAX, "the store's limits");

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

struct mono handle_now(const struct pinroute *pr) { return handle_there(pr, clock_coarse()); }

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

/* A daemon that came after the one whose memory we count in hands out its own; a read asks for it, if that is quick. */
static void meet(struct visit *v)
{
        struct pinroute *pr = v->pr;
        struct pnr_reply r;
        if (v->hurried || !tally_may_meet(&pr->tally, v->at.epoch, v->here.ms))
                return;
        int64_t until_ns = look_until(v), soon_ns = clock_ns() + MEET_NS;
        ask_hello_now(&pr->ask, soon_ns < until_ns ? soon_ns : until_ns, &r);
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
                v->facts =
                    (struct facts){.now = handle_there(pr, v->here), .forced = v->forced, .bound = v->bound};
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
        handle_start(pr);
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
