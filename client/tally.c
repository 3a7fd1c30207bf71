/* tally.c -- what this process has decided, counted where the daemon can read it.
 * The only file of the stub that writes to memory which another process may see, and that maps what it was handed. */
#include "client/tally.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define LAST     (PNR_COUNT_LANES - 1) /* the lane that all who come late share */
#define STRAYS   64
#define AGAIN_MS 10000

void tally_init(struct tally *t, struct tally_fresh *fresh, struct pnr_count_lane *own,
                _Atomic uint64_t *budget)
{
        t->fresh = fresh;
        t->own = own;
        t->budget = budget;
}

static void unmap(struct tally_memory *m)
{
        if (m->family)
                munmap(m->family, sizeof *m->family);
        if (m->common)
                munmap(m->common, sizeof *m->common);
        free(m);
}

void tally_fini(struct tally *t)
{
        for (struct tally_memory *m = atomic_load(&t->memory), *older; m; m = older) {
                older = m->older;
                unmap(m);
        }
        atomic_store(&t->memory, NULL);
}

static struct pnr_count_lane *lane_of(const struct tally *t)
{
        uintptr_t lane =
            atomic_load_explicit(&t->fresh->lane, memory_order_acquire) & ~(uintptr_t)TALLY_ALONE;
        return lane ? (struct pnr_count_lane *)lane : t->own;
}

/* ---- lanes ---- */

static unsigned take_lane(struct pnr_counts *family)
{
        _Atomic uint64_t *next = &family->lane[0].head.next_lane;
        uint64_t n = atomic_load_explicit(next, memory_order_relaxed);
        n = n <= LAST ? atomic_fetch_add(next, 1) : LAST;
        return n < LAST ? (unsigned)n : LAST;
}

static void use(struct pnr_count_lane *lane, uint64_t clusters)
{
        _Atomic uint64_t *used = &lane->head.used;
        if (clusters & ~atomic_load_explicit(used, memory_order_relaxed))
                atomic_fetch_or(used, clusters);
}

/* false: there was nothing. */
static bool carry(_Atomic uint64_t *from, _Atomic uint64_t *to, unsigned n)
{
        bool any = false;
        for (unsigned i = 0; i < n; i++)
                if (atomic_load_explicit(&from[i], memory_order_relaxed)) {
                        atomic_fetch_add(&to[i], atomic_exchange(&from[i], 0));
                        any = true;
                }
        return any;
}

/* What stands in the process's own lane, of these clusters, into the one that the daemon reads. */
static void carry_over(struct tally *t, struct pnr_count_lane *to, uint64_t clusters)
{
        carry(t->own->head.count, to->head.count, PNR_COUNT_REASONS);
        for (unsigned c = 0; c < PNR_CLUSTERS_MAX; c++)
                if (clusters >> c & 1 &&
                    carry(t->own->page[c].count[0], to->page[c].count[0], PNR_NODES_MAX * PNR_COUNT_REASONS))
                        use(to, 1ull << c);
}

/* A thread may have loaded the lane before this and add to it after: what it adds to the own lane is carried over
 * later, what it adds to a dead daemon's is lost with the rest of it. */
static void change_lane(struct tally *t, const struct tally_memory *m)
{
        struct tally_fresh *f = t->fresh;
        unsigned number = m ? take_lane(m->family) : 0;
        struct pnr_count_lane *lane = m ? &m->family->lane[number] : t->own;
        use(lane, atomic_load(&lane_of(t)->head.used));
        atomic_store_explicit(&f->lane, (uintptr_t)lane | (number == LAST ? 0 : TALLY_ALONE),
                              memory_order_release);
        atomic_store_explicit(&f->of, m, memory_order_release);
        if (!m)
                return;
        carry_over(t, lane, UINT64_MAX); /* a scope that was inherited repeats without saying what it uses */
        atomic_store(&f->strays, __libc_single_threaded ? 1 : STRAYS);
}

static bool is_settled(const struct tally_fresh *f, const struct tally_memory *m)
{
        return atomic_load_explicit(&f->lane, memory_order_acquire) &&
               atomic_load_explicit(&f->of, memory_order_acquire) == m &&
               !atomic_load_explicit(&f->strays, memory_order_relaxed);
}

/* One thread changes; the others count where they are. */
static void settle(struct tally *t, const struct tally_memory *m)
{
        struct tally_fresh *f = t->fresh;
        if (atomic_exchange(&f->entering, 1))
                return;
        if (!atomic_load(&f->lane) || atomic_load(&f->of) != m)
                change_lane(t, m);
        if (atomic_load(&f->strays)) {
                carry_over(t, lane_of(t), atomic_load(&t->own->head.used));
                atomic_fetch_sub(&f->strays, 1);
        }
        atomic_store(&f->entering, 0);
}

/* Whose page it is in; in the head: none's. */
static unsigned cluster_of(uint32_t place)
{
        unsigned page = place / (PNR_PAGE_SIZE / sizeof(uint64_t));
        return page ? page - 1 : PNR_CLUSTERS_MAX;
}

void tally_enter(struct tally *t, unsigned number)
{
        const struct tally_memory *m = atomic_load_explicit(&t->memory, memory_order_acquire);
        if (!is_settled(t->fresh, m))
                settle(t, m);
        if (number < PNR_CLUSTERS_MAX)
                use(lane_of(t), 1ull << number);
}

/* A child may repeat what its parent decided before it asks for itself. */
void tally_add_shared(struct tally *t, uint32_t place)
{
        if (place >= TALLY_WORDS)
                return;
        if (!atomic_load_explicit(&t->fresh->lane, memory_order_relaxed))
                tally_enter(t, cluster_of(place));
        atomic_fetch_add_explicit((_Atomic uint64_t *)lane_of(t) + place, 1, memory_order_relaxed);
}

/* ---- daemons ---- */

bool tally_may_meet(struct tally *t, uint64_t epoch, int64_t now_ms)
{
        if (atomic_load_explicit(&t->met, memory_order_relaxed) == epoch)
                return false;
        int64_t due_ms = atomic_load(&t->again_ms);
        if (now_ms < due_ms && due_ms - now_ms <= AGAIN_MS)
                return false;
        return atomic_compare_exchange_strong(&t->again_ms, &due_ms, now_ms + AGAIN_MS);
}

/* Late children may have a family of their own, too. */
static bool shares_lane(const struct tally_fresh *f)
{
        uintptr_t lane = atomic_load(&f->lane);
        return lane && !(lane & TALLY_ALONE);
}

bool tally_wants(struct tally *t, uint64_t epoch, int64_t now_ms)
{
        const struct tally_memory *m = atomic_load(&t->memory);
        int64_t refused_ms = atomic_load(&t->fresh->refused_ms);
        if (refused_ms && now_ms >= refused_ms && now_ms - refused_ms < AGAIN_MS)
                return false;
        if (atomic_load(&t->fresh->asking) == epoch || (m && m->epoch == epoch && !shares_lane(t->fresh)))
                return false;
        atomic_store(&t->fresh->asking, epoch);
        return true;
}

bool tally_is_refused(const struct tally *t) { return atomic_load(&t->fresh->refused_ms) != 0; }

void tally_met(struct tally *t, uint64_t epoch)
{
        atomic_store(&t->met, epoch);
        atomic_store(&t->again_ms, 0); /* the next daemon is another matter */
}

/* NULL: not what it ought to be. */
static void *map(int fd, size_t size)
{
        const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
        struct stat st;
        int has = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
        if (has < 0 || (has & seals) != seals || fstat(fd, &st) || st.st_size != (off_t)size)
                return NULL;
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return p == MAP_FAILED ? NULL : p;
}

/* NULL: not both are what they ought to be. */
static struct tally_memory *take(uint64_t epoch, int family, int common)
{
        struct tally_memory *m = calloc(1, sizeof *m);
        if (!m)
                return NULL;
        m->epoch = epoch;
        m->family = map(family, sizeof *m->family);
        m->common = map(common, sizeof *m->common);
        if (m->family && m->common)
                return m;
        unmap(m);
        return NULL;
}

void tally_have(struct tally *t, uint64_t epoch, int family, int common, int64_t now_ms)
{
        struct tally_memory *m = take(epoch, family, common);
        atomic_store(&t->fresh->asking, 0);
        atomic_store(&t->fresh->refused_ms, m ? 0 : now_ms);
        if (!m) {
                atomic_store(&t->again_ms, now_ms + AGAIN_MS);
                return;
        }
        m->older = atomic_load(&t->memory);
        while (!atomic_compare_exchange_weak(&t->memory, &m->older, m))
                ;
        settle(t, m);
}

void tally_give_up(struct tally *t) { atomic_store(&t->fresh->asking, 0); }

_Atomic uint64_t *tally_budget(struct tally *t, unsigned number)
{
        const struct tally_memory *m = atomic_load_explicit(&t->memory, memory_order_acquire);
        return m ? &m->common->of[number].budget : &t->budget[number];
}
