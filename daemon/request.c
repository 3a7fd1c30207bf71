/* request.c -- what one request of a worker does to the store, and what it is answered.
 * Inside a transaction of core.c's, which counts and answers it once that is committed.  No state. */
#include "daemon/request.h"

#include "client/pinroute.h"
#include "daemon/floor.h"
#include "proto/token.h"

static struct pnr_slot slot_of(const struct core *core, const struct cluster *c, const uint64_t words[2])
{
        struct pnr_key key = {{words[0], words[1]}};
        return pnr_slot_of(key, c->number, store_spread(core->store));
}

/* Has the key a pin that was made for the token's write, too? */
static int look_for_cover(struct core *core, const struct cluster *c, struct core_item *it, struct mono now)
{
        struct pin pin;
        int rc = store_get_pin(core->store, slot_of(core, c, it->request.key), &pin);
        if (rc == STORE_ABSENT)
                return STORE_OK;
        it->covered =
            rc == STORE_OK && pin.until_ms > now.ms && pnr_stamp_covers(pin.stamp, it->request.stamp);
        if (it->covered)
                it->reply.generation = pin.generation;
        return rc;
}

/* A token of an earlier write of our own brings the newest stamp all the same: with its own, the pin would
 * pass for one that lacks the writes recorded since, and their tokens would carry it to hosts that know it.
 */
static uint64_t stamp_of(const struct core *core, const struct pnr_request *q)
{
        bool ours = q->stamp >> PNR_STAMP_COUNT_BITS == core->stamp >> PNR_STAMP_COUNT_BITS;
        if (q->op == PNR_OP_TOKEN && !ours)
                return q->stamp;
        return q->op == PNR_OP_HOLD ? 0 : core->stamp;
}

static int pin_keys(struct core *core, const struct cluster *c, const struct core_item *it,
                    const struct pin *add, struct mono now)
{
        bool many = it->request.op == PNR_OP_RECORDS;
        unsigned n = many ? it->request.n : 1;
        int rc = STORE_OK;
        for (unsigned i = 0; i < n && rc == STORE_OK; i++) {
                struct pnr_slot slot = slot_of(core, c, many ? it->keys[i] : it->request.key);
                rc = store_merge_pin(core->store, slot, add, now, NULL);
        }
        return rc;
}

/* Pins the request's keys, or the whole cluster where the table takes no more. */
static int pin(struct core *core, struct cluster *c, struct core_item *it, int64_t ms, bool as_floor,
               struct mono now)
{
        const struct pnr_request *q = &it->request;
        bool hold = q->op == PNR_OP_HOLD;
        struct mono until = mono_plus(now, ms);
        struct pin add = {
            .generation = cluster_pin(c, now, ms),
            .until_ms = until.ms,
            .hold_ms = hold ? until.ms : 0,
            .stamp = stamp_of(core, q),
            .cluster = c->number,
        };
        it->reply.generation = add.generation;
        it->cluster = as_floor ? NULL : c;
        it->until = until;
        if (hold)
                cluster_hold(c, until);
        if (!as_floor)
                return pin_keys(core, c, it, &add, now);
        floor_raise(c, now, ms, "the pin table is full");
        if (hold)
                floor_hold_until(c, until);
        it->reply.generation = 0;
        return STORE_OK;
}

static bool lacks_something(const struct pnr_request *q)
{
        bool records = q->op == PNR_OP_RECORD || q->op == PNR_OP_RECORDS;
        return (!records && !q->ms) || (q->op == PNR_OP_TOKEN && !q->stamp);
}

int request_apply(struct core *core, struct core_item *it, bool as_floor, struct mono now)
{
        const struct pnr_request *q = &it->request;
        it->reply = (struct pnr_reply){
            .magic = PNR_WIRE_MAGIC,
            .version = PNR_WIRE_VERSION,
            .op = q->op,
            .number = q->number,
            .status = PINROUTE_OK,
            .epoch = core->epoch,
            .now_ms = now.ms,
        };
        it->covered = false;
        it->cluster = NULL;
        if (q->op == PNR_OP_HELLO) {
                it->reply.turn = core->cursor++;
                it->reply.records_max = PNR_RECORDS_MAX;
                it->reply.features = core->counts ? PNR_FEATURE_COUNTS : 0;
                core->header_dirty = true;
                return STORE_OK;
        }
        if (q->op == PNR_OP_COUNTS) /* conn.c has what is handed out */
                return STORE_OK;
        struct cluster *c = core_find_cluster(core, q->cluster);
        if (!c || lacks_something(q)) {
                it->reply.status = c ? PINROUTE_E_INVALID : PINROUTE_E_CLUSTER;
                return STORE_OK;
        }
        int rc = q->op == PNR_OP_TOKEN ? look_for_cover(core, c, it, now) : STORE_OK;
        if (rc != STORE_OK || it->covered)
                return rc;
        return pin(core, c, it, cluster_pin_ms(c, q->ms), as_floor, now);
}
