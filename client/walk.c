/* walk.c -- reads LMDB's pages in a read-only map, without liblmdb and without trust.
 * Knows LMDB 0.9's data format, version 1, 64-bit little-endian; knows nothing of what the values mean. */
#include "client/walk.h"

#include <assert.h>
#include <string.h>

#include "proto/store.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored                                                                               \
    "-Wtsan" /* our fence orders us against another process, which TSan does not watch */
#endif
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the file is little-endian, and so must be its reader");

#define LMDB_MAGIC   0xBEEFC0DEu
#define LMDB_VERSION 1
#define HEADER_SIZE  16 /* of a page */
#define NODE_SIZE    8  /* of a node, without its key */
#define KEY_SIZE     8
#define DEPTH_MAX    32 /* LMDB's own CURSOR_STACK */
#define NO_PAGE      UINT64_MAX
#define WINDOW       4 /* nodes about a guess that are looked at together */

enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8, PAGE_LEAF2 = 32, PAGE_KINDS = 47 };
enum { NODE_BIG = 1 };
enum { DB_FREE = 0, DB_MAIN = 1 };

struct page {
        uint64_t number;
        uint16_t pad;
        uint16_t flags;
        union {
                struct {
                        uint16_t lower; /* end of the node offsets */
                        uint16_t upper;
                };
                uint32_t pages; /* overflow: how many */
        };
        uint16_t offset[]; /* of the nodes, from the page's start */
};
static_assert(sizeof(struct page) == HEADER_SIZE, "LMDB's MDB_page");

struct db {
        uint32_t pad; /* of DB_FREE: the page size */
        uint16_t flags;
        uint16_t depth;
        uint64_t branch_pages, leaf_pages, overflow_pages, entries;
        uint64_t root;
};

struct meta {
        uint32_t magic;
        uint32_t version;
        uint64_t address;
        uint64_t map_size;
        struct db db[2];
        uint64_t last_page;
        uint64_t txnid;
};
static_assert(sizeof(struct meta) == 136, "LMDB's MDB_meta");

/* One load of an unaligned number: it can neither tear the compiler's checks apart nor be read a second time
 * after them. */
#define LOAD(type, p) (((const volatile struct { type v; } __attribute__((packed)) *)(p))->v)

static const volatile struct meta *meta_at(const struct walk *w, unsigned i)
{
        return (const volatile struct meta *)(w->map + (size_t)i * PNR_PAGE_SIZE + HEADER_SIZE);
}

static uint64_t txnid_of(const struct walk *w, unsigned i)
{
        return __atomic_load_n(&meta_at(w, i)->txnid, __ATOMIC_ACQUIRE);
}

uint64_t walk_newest(const struct walk *w)
{
        uint64_t a = txnid_of(w, 0), b = txnid_of(w, 1);
        return a > b ? a : b;
}

bool walk_valid(const struct walk *w)
{
        if (w->pages < 2)
                return false;
        for (unsigned i = 0; i < 2; i++) {
                const volatile struct meta *m = meta_at(w, i);
                if (m->magic != LMDB_MAGIC || m->version != LMDB_VERSION ||
                    m->db[DB_FREE].pad != PNR_PAGE_SIZE || m->db[DB_MAIN].flags != 0 ||
                    m->map_size / PNR_PAGE_SIZE > w->pages)
                        return false;
        }
        return true;
}

bool walk_snap(const struct walk *w, struct walk_snap *ret)
{
        uint64_t a = txnid_of(w, 0), b = txnid_of(w, 1);
        ret->meta = b > a;
        ret->id = b > a ? b : a;
        const volatile struct db *d = &meta_at(w, ret->meta)->db[DB_MAIN];
        ret->root = d->root;
        ret->depth = d->depth;
        ret->top = NULL;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        return walk_newest(w) == ret->id && ret->id != 0 && ret->depth <= DEPTH_MAX;
}

/* The newest must be exactly id or id+1: a map that was meanwhile overlaid with zeros shows 0.  Root and
 * depth once more: nothing promises that a meta page's bytes become visible in their order. */
bool walk_holds(const struct walk *w, const struct walk_snap *s)
{
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        const volatile struct db *d = &meta_at(w, s->meta)->db[DB_MAIN];
        if (d->root != s->root || d->depth != s->depth)
                return false;
        if (s->top && !sequence_holds(&s->top->sequence, s->top_sequence))
                return false;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        uint64_t newest = walk_newest(w);
        return newest == s->id || newest == s->id + 1;
}

static const struct page *page_at(const struct walk *w, uint64_t number, unsigned kind)
{
        if (number - 2 >= w->pages - 2)
                return NULL;
        const struct page *p = (const void *)(w->map + number * PNR_PAGE_SIZE);
        return (LOAD(uint16_t, &p->flags) & PAGE_KINDS) == kind && LOAD(uint64_t, &p->number) == number
                   ? p
                   : NULL;
}

/* Number of nodes, 0: a page that LMDB does not write. */
static unsigned nodes_of(const struct page *p)
{
        unsigned room = LOAD(uint16_t, &p->lower) - (unsigned)HEADER_SIZE;
        return room > PNR_PAGE_SIZE - HEADER_SIZE ? 0 : room / 2;
}

/* Node i of the page, with a key.  One that lies outside of it is taken to lie at its end: any bytes steer the search
 * within the page, and whoever ends up on a bad node finds that out. */
static const uint8_t *node_at(const struct page *p, unsigned i)
{
        const unsigned last = PNR_PAGE_SIZE - NODE_SIZE - KEY_SIZE;
        unsigned offset = LOAD(uint16_t, &p->offset[i]);
        return (const uint8_t *)p + (offset < last ? offset : last);
}

/* The first node of a branch has none. */
static const uint8_t *keyless_at(const struct page *p)
{
        const unsigned last = PNR_PAGE_SIZE - NODE_SIZE;
        unsigned offset = LOAD(uint16_t, &p->offset[0]);
        return (const uint8_t *)p + (offset < last ? offset : last);
}

static uint64_t key_of(const uint8_t *node) { return __builtin_bswap64(LOAD(uint64_t, node + NODE_SIZE)); }

static uint64_t child_of(const uint8_t *node)
{
        return LOAD(uint32_t, node) | (uint64_t)LOAD(uint16_t, node + 4) << 32;
}

/* The first of the page's nodes lo..hi-1 whose key is above `key`; hi: none. */
static unsigned halve(const struct page *p, unsigned lo, unsigned hi, uint64_t key)
{
        while (lo < hi) {
                unsigned middle = lo + (hi - lo) / 2;
                if (key_of(node_at(p, middle)) <= key)
                        lo = middle + 1;
                else
                        hi = middle;
        }
        return lo;
}

/* Where `key` lies between two others, in 65536ths: a hint, so all answers are good.  Asked of the page above, since a
 * division takes as long as it takes to fetch a page's header. */
static uint32_t part_of(uint64_t key, uint64_t from, uint64_t to)
{
        uint32_t width = (uint32_t)((to - from) >> 40), off = (uint32_t)((key - from) >> 40);
        return (uint32_t)(((uint64_t)off << 16) / (width | 1)) & 0xffff;
}

/* As halve().  Keys of pins are hashes, so they are spread evenly: the four nodes about the place where `key` would then be
 * are looked at together, and without a branch that the keys decide, which costs more where it is predicted wrongly. */
static inline __attribute__((always_inline)) unsigned floor_of(const struct page *p, unsigned lo, unsigned hi,
                                                               uint64_t key, uint32_t part)
{
        unsigned n = hi - lo, i = n * part >> 16, most = n - WINDOW, below = 0;
        if (n < WINDOW)
                return halve(p, lo, hi, key);
        i = i > 1 ? i - 1 : 0;
        i = lo + (i < most ? i : most);
        for (unsigned j = 0; j < WINDOW; j++)
                below += key_of(node_at(p, i + j)) <= key;
        if (below == 0)
                return halve(p, lo, i, key);
        if (below == WINDOW)
                return halve(p, i + WINDOW, hi, key);
        return i + below;
}

/* Value of a leaf's node. */
static inline __attribute__((always_inline)) int value_of(const struct walk *w, const struct page *p,
                                                          const uint8_t *n, struct walk_value *ret)
{
        const uint8_t *value = n + NODE_SIZE + KEY_SIZE;
        size_t room = (size_t)((const uint8_t *)p + PNR_PAGE_SIZE - value);
        if (n < (const uint8_t *)p + HEADER_SIZE || LOAD(uint16_t, n + 6) != KEY_SIZE)
                return WALK_BAD;
        unsigned flags = LOAD(uint16_t, n + 4);
        ret->key = key_of(n);
        ret->size = LOAD(uint32_t, n);
        if (flags == NODE_BIG && room >= sizeof(uint64_t)) {
                const struct page *o = page_at(w, LOAD(uint64_t, value), PAGE_OVERFLOW);
                ret->at = o ? o + 1 : NULL;
                return o && ret->size <= PNR_PAGE_VALUE && LOAD(uint32_t, &o->pages) == 1 ? WALK_FOUND
                                                                                          : WALK_BAD;
        }
        ret->at = value;
        return flags == 0 && ret->size <= room ? WALK_FOUND : WALK_BAD;
}

static uint64_t child_at(const struct page *p, unsigned i)
{
        return child_of(i > 0 ? node_at(p, i) : keyless_at(p));
}

/* A leaf may begin above the separator that leads to it, since LMDB deletes a leaf's first key without touching its
 * parents.  Then the floor is the last key of the leaf before: the deepest turn that could have gone further left is
 * taken again, and from there always the rightmost. */
static int floor_before(const struct walk *w, const struct walk_snap *s, uint64_t key, struct walk_value *ret)
{
        const struct page *fork = NULL;
        unsigned fork_at = 0, fork_level = 0, level = s->depth;
        uint64_t number = s->root;
        for (; level > 1; level--) {
                const struct page *p = page_at(w, number, PAGE_BRANCH);
                unsigned n = p ? nodes_of(p) : 0;
                if (n == 0)
                        return WALK_BAD;
                unsigned at = halve(p, 1, n, key) - 1;
                if (at > 0) {
                        fork = p;
                        fork_at = at;
                        fork_level = level;
                }
                number = child_at(p, at);
        }
        if (!fork)
                return WALK_ABSENT;
        number = child_at(fork, fork_at - 1);
        for (level = fork_level - 1; level > 0; level--) {
                const struct page *p = page_at(w, number, level == 1 ? PAGE_LEAF : PAGE_BRANCH);
                unsigned n = p ? nodes_of(p) : 0;
                if (n == 0)
                        return WALK_BAD;
                if (level == 1)
                        return value_of(w, p, node_at(p, n - 1), ret);
                number = child_at(p, n - 1);
        }
        return WALK_BAD;
}

/* Where a walk has come to: a page, and what its keys lie between, as far as the pages above say. */
struct way {
        uint64_t number;
        unsigned level;
        uint64_t from, to;
};

/* The step from the root, in its copy, where the keys beyond the last are the greatest there is. */
static inline __attribute__((always_inline)) void step_from_top(const struct walk_root *r, uint64_t key,
                                                                struct way *at)
{
        unsigned most = SEQUENCE_LOAD(r->n), n = most < WALK_ROOT_MAX - WINDOW ? most : 0;
        unsigned i = (unsigned)((key << 1 >> 32) * n >> 32), below = 0;
        i = i > 1 ? i - 1 : 1;
        for (unsigned j = 0; j < WINDOW; j++)
                below += SEQUENCE_LOAD(r->first[i + j]) <= key;
        if ((below == 0 && i > 1) || below == WINDOW)
                for (i = 1, below = 0; i < n && SEQUENCE_LOAD(r->first[i]) <= key;)
                        i++;
        i += below;
        at->number = SEQUENCE_LOAD(r->child[i - 1]);
        at->from = i > 1 ? SEQUENCE_LOAD(r->first[i - 1]) : at->from;
        at->to = SEQUENCE_LOAD(r->first[i]);
        at->level--;
}

static inline __attribute__((always_inline)) bool step_down(const struct walk *w, uint64_t key,
                                                            struct way *at)
{
        const struct page *p = page_at(w, at->number, PAGE_BRANCH);
        unsigned n = p ? nodes_of(p) : 0;
        if (n == 0)
                return false;
        unsigned after = floor_of(p, 1, n, key, part_of(key, at->from, at->to));
        at->number = child_at(p, after - 1);
        at->from = after > 1 ? key_of(node_at(p, after - 1)) : at->from;
        at->to = after < n ? key_of(node_at(p, after)) : at->to;
        at->level--;
        return true;
}

int walk_floor(const struct walk *w, const struct walk_snap *s, uint64_t key, struct walk_value *ret)
{
        struct way at = {s->root, s->depth, key & 1ull << 63, key | ((1ull << 63) - 1)};
        if (at.number == NO_PAGE || at.level == 0)
                return at.number == NO_PAGE && at.level == 0 ? WALK_ABSENT : WALK_BAD;
        if (s->top)
                step_from_top(s->top, key, &at);
        while (at.level > 1)
                if (!step_down(w, key, &at))
                        return WALK_BAD;
        uint32_t part = part_of(key, at.from, at.to);
        const struct page *leaf = page_at(w, at.number, PAGE_LEAF);
        unsigned n = leaf ? nodes_of(leaf) : 0;
        if (n == 0)
                return WALK_BAD;
        unsigned after = floor_of(leaf, 0, n, key, part);
        return after ? value_of(w, leaf, node_at(leaf, after - 1), ret) : floor_before(w, s, key, ret);
}

void walk_root_put(struct walk_root *r, const struct walk *w, const struct walk_snap *s)
{
        uint64_t at;
        const struct page *p = s->depth > 1 ? page_at(w, s->root, PAGE_BRANCH) : NULL;
        unsigned n = p ? nodes_of(p) : 0;
        bool has = SEQUENCE_LOAD(r->map) == w->map && SEQUENCE_LOAD(r->id) == s->id;
        if (n == 0 || n >= WALK_ROOT_MAX - WINDOW || has || !sequence_begin(&r->sequence, &at))
                return;
        for (unsigned i = 0; i < n; i++) {
                SEQUENCE_STORE(r->first[i], i ? key_of(node_at(p, i)) : 0);
                SEQUENCE_STORE(r->child[i], child_at(p, i));
        }
        for (unsigned i = n; i < n + WINDOW; i++)
                SEQUENCE_STORE(r->first[i], UINT64_MAX);
        SEQUENCE_STORE(r->n, n);
        SEQUENCE_STORE(r->map, w->map);
        SEQUENCE_STORE(r->id, walk_holds(w, s) ? s->id : 0);
        sequence_end(&r->sequence, at);
}

int walk_get(const struct walk *w, const struct walk_snap *s, uint64_t key, struct walk_value *ret)
{
        int st = walk_floor(w, s, key, ret);
        return st == WALK_FOUND && ret->key != key ? WALK_ABSENT : st;
}
