/* walk.h -- reads LMDB's pages in a read-only map, without liblmdb and without trust.
 * Any bytes may lie in the map: no input makes these functions leave it, loop or crash. */
#ifndef PINROUTE_WALK_H
#define PINROUTE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/sequence.h"

struct walk {
        const uint8_t *map; /* page-aligned, readable for pages * PNR_PAGE_SIZE bytes */
        uint64_t pages;
};

/* One committed state of the tree.  Pages of snapshot N stay as they are until transaction N+3 begins, and
 * that begins after N+2 was published: what was read is good if walk_holds() says so afterwards. */
struct walk_snap {
        uint64_t id; /* of the transaction, from 1 */
        uint64_t root;
        unsigned depth;
        unsigned meta;               /* which of the two meta pages said so */
        const struct walk_root *top; /* NULL: none, else of this snapshot */
        uint64_t top_sequence;
};

/* The root page of a snapshot, laid out for searching: saves each walk a tenth of a read.  Zeros hold nothing. */
#define WALK_ROOT_MAX 232 /* nodes of a branch page with keys of 8 bytes are 226 at most */
struct walk_root {
        struct sequence sequence;
        const uint8_t *_Atomic map;
        _Atomic uint64_t id; /* of the snapshot; 0: nothing */
        _Atomic uint32_t n;
        _Atomic uint64_t first[WALK_ROOT_MAX]; /* key of each child, but for the first child */
        _Atomic uint64_t child[WALK_ROOT_MAX];
};

enum walk_status {
        WALK_FOUND = 0,
        WALK_ABSENT, /* the tree is sound, as far as it was walked, and has no such key */
        WALK_BAD,    /* torn or damaged: if the snapshot still holds, damaged */
};

/* A value in place: read it, then ask walk_holds().  In a leaf it is 2-byte aligned, else 16. */
struct walk_value {
        const void *at;
        size_t size;
        uint64_t key;
};

/* LMDB data version 1, our page size, a plain main database, and no page beyond the map? */
bool walk_valid(const struct walk *w);

/* The newest snapshot; false: it changed meanwhile, try again. */
bool walk_snap(const struct walk *w, struct walk_snap *ret);
bool walk_holds(const struct walk *w, const struct walk_snap *s);

/* The newest transaction, without anything else. */
uint64_t walk_newest(const struct walk *w);

/* Lays the snapshot's root out, if it is a branch; where two threads come at once, one of them does. */
void walk_root_put(struct walk_root *r, const struct walk *w, const struct walk_snap *s);

/* From here on the snapshot is walked from r, if that is its root; walk_holds() then watches that, too. */
static inline void walk_root_use(const struct walk_root *r, const struct walk *w, struct walk_snap *s)
{
        s->top_sequence = SEQUENCE_LOAD(r->sequence.n);
        bool ours = sequence_is_whole(s->top_sequence) && SEQUENCE_LOAD(r->map) == w->map &&
                    SEQUENCE_LOAD(r->id) == s->id;
        s->top = ours ? r : NULL;
}

int walk_get(const struct walk *w, const struct walk_snap *s, uint64_t key, struct walk_value *ret);

/* The greatest key that is not above `key`. */
int walk_floor(const struct walk *w, const struct walk_snap *s, uint64_t key, struct walk_value *ret);

#endif
