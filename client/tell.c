/* tell.c -- what the daemon is told: writes, holds, tokens, and what it could not be told before.
 * Decides what becomes of a record that fails; knows nothing of frames on the wire but what they say. */
#include "client/tell.h"

#include <string.h>

#include "client/ask.h"
#include "client/clock.h"
#include "client/handle.h"
#include "client/owed.h"

#define PIN_MS 15000 /* until a store has said otherwise */

static int use_pin_ms(struct visit *v)
{
        const volatile struct pnr_cluster *c = v->facts.cluster;
        uint32_t *ret = v->ret;
        ret[0] = c->pin_ms;
        ret[1] = c->max_pin_ms;
        return PINROUTE_OK;
}

/* A record that failed: this process pins the key by itself. */
static void owe(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned op, uint32_t ms)
{
        uint32_t limits[2];
        struct visit v = {.pr = pr, .cluster = cluster, .hurried = true, .ret = limits};
        if (handle_visit(&v, use_pin_ms) != PINROUTE_OK) {
                limits[0] = PIN_MS;
                limits[1] = UINT32_MAX;
        }
        ms = ms ? ms : limits[0];
        ms = ms < limits[1] ? ms : limits[1];
        struct mono now = clock_coarse();
        int64_t end_ms = mono_plus(now, ms).ms;
        if (!lock_take(handle_table(pr), clock_ns() + 10 * CLOCK_NS_PER_MS)) {
                owed_put_all(handle_owed(pr), end_ms);
                return;
        }
        owed_put(handle_owed(pr), cluster, key, op == PNR_OP_RECORD ? end_ms : 0,
                 op == PNR_OP_HOLD ? end_ms : 0, now);
        lock_give(handle_table(pr));
}

static struct pnr_request request_for(const struct pinroute *pr, unsigned cluster, struct pnr_key key,
                                      unsigned op, uint32_t ms)
{
        struct pnr_request q = {.op = (uint16_t)op, .key = {key.w[0], key.w[1]}, .ms = ms};
        memcpy(q.cluster, handle_name(pr, cluster), sizeof q.cluster);
        return q;
}

static int ask_for(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned op, uint32_t ms,
                   int64_t deadline_ns)
{
        struct pnr_reply r;
        struct pnr_request q = request_for(pr, cluster, key, op, ms);
        int status = ask(handle_ask(pr), &q, handle_pulse(pr), deadline_ns, &r);
        if (status != PINROUTE_OK)
                return status;
        bool known =
            r.status == PINROUTE_OK || r.status == PINROUTE_E_INVALID || r.status == PINROUTE_E_CLUSTER;
        return known ? (int)r.status : PINROUTE_E_REFUSED;
}

static bool pay_one(struct pinroute *pr, const struct owed_debt *d, unsigned op, int64_t end_ms,
                    int64_t deadline_ns)
{
        int64_t left_ms = end_ms - clock_coarse().ms;
        if (left_ms <= 0)
                return true;
        uint32_t ms = left_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)left_ms;
        return ask_for(pr, d->cluster, d->key, op, ms, deadline_ns) == PINROUTE_OK;
}

/* The daemon answers: what failed earlier is sent again, as far as this call's time goes. */
static void pay(struct pinroute *pr, int64_t deadline_ns)
{
        for (unsigned i = 0; i < OWED_MAX && clock_ns() < deadline_ns; i++) {
                struct owed_debt d;
                if (!owed_get(handle_owed(pr), i, clock_coarse(), &d))
                        continue;
                if (!pay_one(pr, &d, PNR_OP_HOLD, d.hold_ms, deadline_ns) ||
                    !pay_one(pr, &d, PNR_OP_RECORD, d.until_ms, deadline_ns) ||
                    !lock_take(handle_table(pr), deadline_ns))
                        continue;
                owed_drop(handle_owed(pr), i, &d);
                lock_give(handle_table(pr));
        }
}

static int tell(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned op, uint32_t ms)
{
        int64_t deadline_ns = handle_deadline(pr);
        int status = ask_for(pr, cluster, key, op, ms, deadline_ns);
        if (status == PINROUTE_E_UNREACHABLE || status == PINROUTE_E_REFUSED)
                owe(pr, cluster, key, op, ms);
        else
                pay(pr, deadline_ns);
        return status;
}

int tell_record(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned seconds)
{
        uint32_t ms = seconds > UINT32_MAX / 1000 ? UINT32_MAX : seconds * 1000;
        return tell(pr, cluster, key, PNR_OP_RECORD, ms);
}

bool tell_token(struct pinroute *pr, unsigned cluster, struct pnr_key key, uint64_t stamp, uint32_t ms,
                uint64_t *generation)
{
        struct pnr_reply r;
        struct pnr_request q = request_for(pr, cluster, key, PNR_OP_TOKEN, ms);
        int64_t deadline_ns = handle_deadline(pr);
        q.stamp = stamp;
        if (ask_if_there(handle_ask(pr), &q, handle_pulse(pr), deadline_ns, &r) != PINROUTE_OK ||
            r.status != PINROUTE_OK)
                return false;
        pay(pr, deadline_ns);
        *generation = r.generation;
        return true;
}

int pinroute_record_write(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                          unsigned seconds)
{
        if (!handle_has(pr, cluster) || !handle_key_fits(key, len))
                return PINROUTE_E_INVALID;
        return tell_record(pr, cluster, pnr_key_of(key, len), seconds);
}

int pinroute_hold(struct pinroute *pr, unsigned cluster, const void *key, size_t len, unsigned ms)
{
        if (!handle_has(pr, cluster) || !handle_key_fits(key, len) || ms == 0)
                return PINROUTE_E_INVALID;
        return tell(pr, cluster, pnr_key_of(key, len), PNR_OP_HOLD, ms);
}
