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
#define STEPS_MAX    8 /* from the guess, before halving */

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
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        uint64_t newest = walk_newest(w);
        return newest == s->id || newest == s->id + 1;
}

static const struct page *page_at(const struct walk *w, uint64_t number, unsigned kind)
{
        if (number < 2 || number >= w->pages)
                return NULL;
        const struct page *p = (const void *)(w->map + number * PNR_PAGE_SIZE);
        return (LOAD(uint16_t, &p->flags) & PAGE_KINDS) == kind && LOAD(uint64_t, &p->number) == number
                   ? p
                   : NULL;
}

/* Number of nodes, 0: a page that LMDB does not write. */
static int nodes_of(const struct page *p)
{
        unsigned lower = LOAD(uint16_t, &p->lower);
        return lower < HEADER_SIZE || lower > PNR_PAGE_SIZE || lower & 1 ? 0 : (int)(lower - HEADER_SIZE) / 2;
}

/* Node i with `room` bytes after its start; NULL: outside of the page. */
static const uint8_t *node_at(const struct page *p, int i, unsigned room)
{
        unsigned offset = LOAD(uint16_t, &p->offset[i]);
        return offset < HEADER_SIZE || offset > PNR_PAGE_SIZE - room || offset & 1
                   ? NULL
                   : (const uint8_t *)p + offset;
}

/* Key of node i; of a bad node, any number: it steers the search within the page, and whoever ends up on a
 * bad node finds that out. */
static uint64_t key_at(const struct page *p, int i)
{
        const uint8_t *n = node_at(p, i, NODE_SIZE + KEY_SIZE);
        return n ? __builtin_bswap64(LOAD(uint64_t, n + NODE_SIZE)) : 0;
}

/* Index of the greatest key not above `key` among nodes lo..hi-1, or lo-1.  Keys of pins are hashes: guess by
 * proportion and step; where that does not end soon, halve. */
static int floor_of(const struct page *p, int lo, int hi, uint64_t key)
{
        if (lo >= hi)
                return lo - 1;
        uint64_t first = key_at(p, lo), last = key_at(p, hi - 1);
        if (key < first)
                return lo - 1;
        if (key >= last)
                return hi - 1;
        uint64_t span = (last - first) >> 32, off = (key - first) >> 32;
        int i = lo + (span ? (int)(off * (uint64_t)(hi - 1 - lo) / span) : 0);
        if (i > hi - 1)
                i = hi - 1;
        for (int steps = 0; steps < STEPS_MAX; steps++) {
                if (key_at(p, i) > key) {
                        hi = i--;
                        if (i < lo)
                                return lo - 1;
                } else if (i + 1 < hi && key_at(p, i + 1) <= key)
                        lo = ++i;
                else
                        return i;
        }
        while (lo < hi) {
                int middle = lo + (hi - lo) / 2;
                if (key_at(p, middle) <= key)
                        lo = middle + 1;
                else
                        hi = middle;
        }
        return lo - 1;
}

static uint64_t child_of(const struct page *p, int i)
{
        const uint8_t *n = node_at(p, i, NODE_SIZE);
        if (!n)
                return NO_PAGE;
        return LOAD(uint32_t, n) | (uint64_t)LOAD(uint16_t, n + 4) << 32;
}

/* Value of node i of a leaf. */
static int value_of(const struct walk *w, const struct page *p, int i, struct walk_value *ret)
{
        const uint8_t *n = node_at(p, i, NODE_SIZE + KEY_SIZE);
        if (!n || LOAD(uint16_t, n + 6) != KEY_SIZE)
                return WALK_BAD;
        const uint8_t *value = n + NODE_SIZE + KEY_SIZE;
        size_t room = (size_t)((const uint8_t *)p + PNR_PAGE_SIZE - value);
        unsigned flags = LOAD(uint16_t, n + 4);
        ret->key = __builtin_bswap64(LOAD(uint64_t, n + NODE_SIZE));
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

/* A leaf may begin above the separator that leads to it, since LMDB deletes a leaf's first key without
 * touching its parents.  Then the floor is the last key of the leaf before: the deepest turn that could have
 * gone further left is taken again, and from there always the rightmost. */
int walk_floor(const struct walk *w, const struct walk_snap *s, uint64_t key, struct walk_value *ret)
{
        const struct page *fork = NULL;
        int fork_index = 0;
        unsigned fork_level = 0, level = s->depth;
        uint64_t number = s->root;
        if (number == NO_PAGE)
                return level == 0 ? WALK_ABSENT : WALK_BAD;
        for (; level > 0; level--) {
                const struct page *p = page_at(w, number, level == 1 ? PAGE_LEAF : PAGE_BRANCH);
                int n = p ? nodes_of(p) : 0;
                if (n == 0)
                        return WALK_BAD;
                int i = floor_of(p, level > 1, n, key);
                if (level == 1 && i >= 0)
                        return value_of(w, p, i, ret);
                if (level == 1) {
                        if (!fork)
                                return WALK_ABSENT;
                        number = child_of(fork, fork_index - 1);
                        level = fork_level;
                        key = UINT64_MAX;
                        continue;
                }
                if (i > 0) {
                        fork = p;
                        fork_index = i;
                        fork_level = level;
                }
                number = child_of(p, i);
        }
        return WALK_BAD;
}

int walk_get(const struct walk *w, const struct walk_snap *s, uint64_t key, struct walk_value *ret)
{
        int st = walk_floor(w, s, key, ret);
        return st == WALK_FOUND && ret->key != key ? WALK_ABSENT : st;
}
