/* view.h -- one mapped store: what it says about a read.
 * A view is read-only and shared by all threads; it never changes but by view_blank(). */
#ifndef PINROUTE_VIEW_H
#define PINROUTE_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/choose.h"
#include "client/walk.h"
#include "proto/key.h"
#include "proto/store.h"

struct view {
        struct walk walk;
        dev_t dev;
        ino_t ino;
        struct view *older; /* the handle's: views that were replaced, unmapped when it closes */
};

enum view_status {
        VIEW_OK = 0,
        VIEW_AGAIN,      /* torn: take another snapshot */
        VIEW_UNUSABLE,   /* retired, of another layout, damaged: look for another store */
        VIEW_NO_CLUSTER, /* a sound store that has no such cluster */
};

/* Of which snapshot, and what came with it.  All pointers in the facts are good for this snapshot only. */
struct view_at {
        struct walk_snap snap;
        uint64_t epoch;
        int64_t heartbeat_ms;
        unsigned number; /* in: a guess at the store's number of the cluster; out: that number */
        struct pnr_spread spread;
        struct pnr_slot slot; /* of the key, when one was given */
};

/* Maps DIR/data.mdb if it is a live store of this boot, this layout, whole, and not a copy.
 * Returns PINROUTE_OK | PINROUTE_E_STORE | PINROUTE_E_MEMORY. */
int view_open(struct view **ret, const char *dir);
void view_close(struct view **v);

/* Is the file at DIR/data.mdb still the one that this view maps? */
bool view_is_linked(const struct view *v, const char *dir);

/* Lays zeros over the map, in place: gives the file back, while a reader that is still inside finds that its
 * snapshot does not hold. */
void view_blank(struct view *v);

/* Fills f (but for `now`, `forced` and `local`, which the caller sets first) from one snapshot, in place: use
 * it, then ask view_holds(), and throw everything away if it says no.  VIEW_AGAIN needs no asking.
 *   name  PNR_NAME_SIZE bytes
 *   key   NULL: an unkeyed read
 * f->cluster is set with VIEW_OK only. */
int view_facts(const struct view *v, const char *name, const struct pnr_key *key, struct facts *f,
               struct view_at *at);
bool view_holds(const struct view *v, const struct view_at *at);

/* The pin at `slot` in a snapshot, zeros: none; as view_facts.  WALK_FOUND | WALK_ABSENT | WALK_BAD. */
int view_pin(const struct view *v, const struct walk_snap *snap, struct pnr_slot slot, struct need *ret);

/* The node's number in the cluster; -1: none of this name. */
int view_node(const struct pnr_cluster *cluster, const char *name);

/* Copies the endpoint record out; as view_facts, whose snapshot it goes on with. */
int view_endpoint(const struct view *v, const struct view_at *at, unsigned node, struct pnr_endpoint *ret);

/* The stamp of the pin of the key that view_facts() was given, 0: it has none; as view_endpoint. */
uint64_t view_stamp(const struct view *v, const struct view_at *at);

/* Copies the keys of tokens out; false: there are none that are any good.  As view_endpoint. */
bool view_token_keys(const struct view *v, const struct view_at *at, struct pnr_token_keys *ret);

/* How long ago a heartbeat was, in whichever direction; INT64_MAX: there was none. */
static inline int64_t view_age_ms(int64_t heartbeat_ms, struct mono now)
{
        if (heartbeat_ms <= 0)
                return INT64_MAX;
        return now.ms >= heartbeat_ms ? now.ms - heartbeat_ms : heartbeat_ms - now.ms;
}

/* The newest epoch and heartbeat, for the breaker; zeros: unreadable. */
struct view_pulse {
        uint64_t epoch;
        int64_t heartbeat_ms;
};
struct view_pulse view_pulse(const struct view *v);

#endif
