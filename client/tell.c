/* tell.c -- what the daemon is told: writes, holds, tokens, and what it could not be told before.
 * Decides what becomes of a record that fails; knows nothing of frames on the wire but what they say. */
#include "client/tell.h"

#include <assert.h>
#include <string.h>

#include "client/ask.h"
#include "client/clock.h"
#include "client/handle.h"
#include "client/owed.h"

#define PIN_MS  15000 /* until a store has said otherwise */
#define LOCK_NS 10000000

static_assert(PINROUTE_BATCH_MAX == PNR_RECORDS_MAX && PINROUTE_BATCH_MAX <= OWED_MAX,
              "one frame, one table");
static_assert(sizeof(struct pinroute_pending) == 1152, "public: libpinroute.so.0 for life");

enum { SENT = 1, DONE = 2 }; /* of a pending */

/* What is to be told: writes of n keys of one cluster. */
struct news {
        struct pinroute *pr;
        unsigned cluster;
        const struct pnr_key *keys;
        unsigned n;
        uint32_t ms;
        int64_t deadline_ns;
};

/* ---- what this process owes ---- */

static int use_pin_ms(struct visit *v)
{
        const volatile struct pnr_cluster *c = v->facts.cluster;
        uint32_t *ret = v->ret;
        ret[0] = c->pin_ms;
        ret[1] = c->max_pin_ms;
        return PINROUTE_OK;
}

/* When a pin that is recorded now would end. */
static int64_t end_of(struct pinroute *pr, unsigned cluster, uint32_t ms, struct mono now)
{
        uint32_t limits[2];
        struct visit v = {.pr = pr, .cluster = cluster, .hurried = true, .ret = limits};
        if (handle_visit(&v, use_pin_ms) != PINROUTE_OK) {
                limits[0] = PIN_MS;
                limits[1] = UINT32_MAX;
        }
        ms = ms ? ms : limits[0];
        return mono_plus(now, ms < limits[1] ? ms : limits[1]).ms;
}

/* Records that failed: this process pins the keys by itself. */
static void owe(const struct news *w, unsigned op)
{
        struct owed *owed = handle_owed(w->pr);
        struct mono now = clock_coarse();
        int64_t end_ms = end_of(w->pr, w->cluster, w->ms, now);
        if (!lock_take(handle_table(w->pr), clock_ns() + LOCK_NS)) {
                owed_put_all(owed, end_ms);
                return;
        }
        for (unsigned i = 0; i < w->n; i++)
                owed_put(owed, w->cluster, w->keys[i], op == PNR_OP_HOLD ? 0 : end_ms,
                         op == PNR_OP_HOLD ? end_ms : 0, now);
        lock_give(handle_table(w->pr));
}

/* The same for records that are about to be sent, until they are answered.  false: there is no room. */
static bool owe_until_answered(const struct news *w, uint64_t serial)
{
        struct mono now = clock_coarse();
        int64_t end_ms = end_of(w->pr, w->cluster, w->ms, now);
        if (!lock_take(handle_table(w->pr), clock_ns() + LOCK_NS))
                return false;
        bool put = owed_put_sent(handle_owed(w->pr), w->cluster, w->keys, w->n, serial, end_ms, now);
        lock_give(handle_table(w->pr));
        return put;
}

/* Where the lock is not to be had they stay, and are sent again. */
static void forget_sent(struct pinroute *pr, uint64_t serial)
{
        if (!lock_take(handle_table(pr), clock_ns() + LOCK_NS))
                return;
        owed_drop_sent(handle_owed(pr), serial);
        lock_give(handle_table(pr));
}

/* ---- asking ---- */

static struct pnr_request request_for(const struct pinroute *pr, unsigned cluster, struct pnr_key key,
                                      unsigned op, uint32_t ms)
{
        struct pnr_request q = {.op = (uint16_t)op, .key = {key.w[0], key.w[1]}, .ms = ms};
        memcpy(q.cluster, handle_name(pr, cluster), sizeof q.cluster);
        return q;
}

/* One key: every daemon knows that frame. */
static void fill(const struct news *w, struct pnr_records *f)
{
        if (w->n == 1) {
                f->head = request_for(w->pr, w->cluster, w->keys[0], PNR_OP_RECORD, w->ms);
                return;
        }
        f->head = request_for(w->pr, w->cluster, (struct pnr_key){{0}}, PNR_OP_RECORDS, w->ms);
        f->head.n = w->n;
        for (unsigned i = 0; i < PNR_RECORDS_MAX; i++) {
                f->key[i][0] = i < w->n ? w->keys[i].w[0] : 0;
                f->key[i][1] = i < w->n ? w->keys[i].w[1] : 0;
        }
}

static int status_of(uint32_t answered)
{
        bool known =
            answered == PINROUTE_OK || answered == PINROUTE_E_INVALID || answered == PINROUTE_E_CLUSTER;
        return known ? (int)answered : PINROUTE_E_REFUSED;
}

static bool is_owed(int status) { return status == PINROUTE_E_UNREACHABLE || status == PINROUTE_E_REFUSED; }

static int ask_for(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned op, uint32_t ms,
                   int64_t deadline_ns)
{
        struct pnr_reply r;
        struct pnr_request q = request_for(pr, cluster, key, op, ms);
        int status = ask(handle_ask(pr), &q, handle_pulse(pr), deadline_ns, &r);
        return status == PINROUTE_OK ? status_of(r.status) : status;
}

/* In as few frames as the daemon takes; *told is of how many keys it has heard. */
static int ask_all(const struct news *w, unsigned *told)
{
        unsigned most = PNR_RECORDS_MAX;
        for (*told = 0; *told < w->n;) {
                struct pnr_reply r;
                struct pnr_records f;
                struct news part = *w;
                part.keys += *told;
                part.n = w->n - *told < most ? w->n - *told : most;
                fill(&part, &f);
                int status = ask(handle_ask(w->pr), &f.head, handle_pulse(w->pr), w->deadline_ns, &r);
                if (status == ASK_TOO_MANY) {
                        most = r.records_max ? r.records_max : 1;
                        continue;
                }
                status = status == PINROUTE_OK ? status_of(r.status) : status;
                if (status != PINROUTE_OK)
                        return status;
                *told += part.n;
        }
        return PINROUTE_OK;
}

/* ---- debts ---- */

/* Who sent it may still have its answer, or nobody ever asked for that: false, it is paid or will be.  An answer that
 * is nowhere may have been had meanwhile, and its place be another's: then the debt is gone, too. */
static bool is_due(struct pinroute *pr, unsigned i, const struct owed_debt *d, int64_t deadline_ns)
{
        struct owed_debt still;
        uint32_t answered = PINROUTE_E_REFUSED;
        int status = d->serial ? ask_peek(handle_ask(pr), d->serial, deadline_ns, &answered) : ASK_LOST;
        if (status == PINROUTE_OK && answered == PINROUTE_OK)
                forget_sent(pr, d->serial);
        if (status == ASK_LOST)
                return owed_get(handle_owed(pr), i, clock_coarse(), &still) && still.puts == d->puts &&
                       still.serial == d->serial;
        return status == PINROUTE_OK && answered != PINROUTE_OK;
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
                if (!owed_get(handle_owed(pr), i, clock_coarse(), &d) || !is_due(pr, i, &d, deadline_ns))
                        continue;
                if (!pay_one(pr, &d, PNR_OP_HOLD, d.hold_ms, deadline_ns) ||
                    !pay_one(pr, &d, PNR_OP_RECORD, d.until_ms, deadline_ns) ||
                    !lock_take(handle_table(pr), deadline_ns))
                        continue;
                owed_drop(handle_owed(pr), i, &d);
                lock_give(handle_table(pr));
        }
}

/* ---- records and holds ---- */

static uint32_t ms_of(unsigned seconds) { return seconds > UINT32_MAX / 1000 ? UINT32_MAX : seconds * 1000; }

static int tell(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned op, uint32_t ms)
{
        struct news w = {pr, cluster, &key, 1, ms, handle_deadline(pr)};
        int status = ask_for(pr, cluster, key, op, ms, w.deadline_ns);
        if (is_owed(status))
                owe(&w, op);
        else
                pay(pr, w.deadline_ns);
        return status;
}

int tell_record(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned seconds)
{
        return tell(pr, cluster, key, PNR_OP_RECORD, ms_of(seconds));
}

/* The keys that were not told are owed. */
static int tell_all(const struct news *w)
{
        struct news rest = *w;
        unsigned told;
        int status = ask_all(w, &told);
        rest.keys += told;
        rest.n -= told;
        if (is_owed(status))
                owe(&rest, PNR_OP_RECORDS);
        return status;
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

static bool all_fit(const struct pinroute_key *keys, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (!keys || !handle_key_fits(keys[i].key, keys[i].len))
                        return false;
        return true;
}

static unsigned hash(const struct pinroute_key *keys, size_t n, struct pnr_key ret[PINROUTE_BATCH_MAX])
{
        unsigned some = n < PINROUTE_BATCH_MAX ? (unsigned)n : PINROUTE_BATCH_MAX;
        for (unsigned i = 0; i < some; i++)
                ret[i] = pnr_key_of(keys[i].key, keys[i].len);
        return some;
}

/* After a frame that failed no other is tried: those keys are owed at once. */
int pinroute_record_writes(struct pinroute *pr, unsigned cluster, const struct pinroute_key *keys, size_t n,
                           unsigned seconds)
{
        struct pnr_key hashed[PINROUTE_BATCH_MAX];
        if (!handle_has(pr, cluster) || !all_fit(keys, n))
                return PINROUTE_E_INVALID;
        struct news w = {pr, cluster, hashed, 0, ms_of(seconds), handle_deadline(pr)};
        int status = PINROUTE_OK;
        for (size_t at = 0; at < n; at += w.n) {
                w.n = hash(keys + at, n - at, hashed);
                if (is_owed(status))
                        owe(&w, PNR_OP_RECORDS);
                else if (status == PINROUTE_OK)
                        status = tell_all(&w);
        }
        if (n > 0 && !is_owed(status))
                pay(pr, w.deadline_ns);
        return status;
}

/* ---- now and later ---- */

int tell_done(struct pinroute_pending *p, int status)
{
        memset(p, 0, offsetof(struct pinroute_pending, key));
        memset(p->reserved, 0, sizeof p->reserved);
        p->state = DONE;
        p->status = status;
        return status;
}

static void set_sent(struct pinroute_pending *p, const struct news *w, uint64_t serial)
{
        tell_done(p, PINROUTE_OK);
        p->state = SENT;
        p->serial = serial;
        p->cluster = w->cluster;
        p->n = w->n;
        p->ms = w->ms;
        memcpy(p->key, w->keys, w->n * sizeof *w->keys);
}

/* The answer; where none will come, what it says when it is asked again. */
static int await(struct pinroute *pr, const struct pinroute_pending *p, int64_t deadline_ns)
{
        struct pnr_key keys[PINROUTE_BATCH_MAX];
        uint32_t answered;
        unsigned told;
        int status = ask_wait(handle_ask(pr), p->serial, handle_pulse(pr), deadline_ns, &answered);
        if (status != ASK_LOST)
                return status == PINROUTE_OK ? status_of(answered) : status;
        memcpy(keys, p->key, p->n * sizeof *keys);
        struct news w = {pr, p->cluster, keys, p->n, p->ms, deadline_ns};
        return ask_all(&w, &told);
}

static int finish(struct pinroute *pr, struct pinroute_pending *p, int64_t deadline_ns)
{
        int status = await(pr, p, deadline_ns);
        if (!is_owed(status)) {
                forget_sent(pr, p->serial);
                pay(pr, deadline_ns);
        }
        return tell_done(p, status);
}

/* Owed once it is sent: what is owed and was not sent others would send.  Where that cannot be, its answer is
 * waited for at once, so that there is nothing to wait for later. */
int tell_send(struct pinroute *pr, unsigned cluster, const struct pnr_key *keys, unsigned n, unsigned seconds,
              struct pinroute_pending *ret)
{
        struct pnr_records f;
        struct news w = {pr, cluster, keys, n, ms_of(seconds), handle_deadline(pr)};
        if (n == 0)
                return tell_done(ret, PINROUTE_OK);
        uint64_t serial = ask_serial(handle_ask(pr));
        fill(&w, &f);
        int status = ask_send(handle_ask(pr), &f.head, serial, handle_pulse(pr), w.deadline_ns);
        if (status == ASK_NO_ROOM || status == ASK_TOO_MANY) {
                status = tell_all(&w);
                if (!is_owed(status))
                        pay(pr, w.deadline_ns);
                return tell_done(ret, status);
        }
        set_sent(ret, &w, serial);
        if (status == PINROUTE_OK && owe_until_answered(&w, serial))
                return PINROUTE_OK;
        status = status == PINROUTE_OK ? finish(pr, ret, w.deadline_ns) : tell_done(ret, status);
        if (is_owed(status))
                owe(&w, PNR_OP_RECORDS);
        return status;
}

int pinroute_record_send(struct pinroute *pr, unsigned cluster, const struct pinroute_key *keys, size_t n,
                         unsigned seconds, struct pinroute_pending *ret)
{
        struct pnr_key hashed[PINROUTE_BATCH_MAX];
        if (!ret)
                return PINROUTE_E_INVALID;
        if (!handle_has(pr, cluster) || n > PINROUTE_BATCH_MAX || !all_fit(keys, n))
                return tell_done(ret, PINROUTE_E_INVALID);
        return tell_send(pr, cluster, hashed, hash(keys, n, hashed), seconds, ret);
}

int pinroute_record_wait(struct pinroute *pr, struct pinroute_pending *p)
{
        if (!pr || !p || (p->state != SENT && p->state != DONE))
                return PINROUTE_E_INVALID;
        if (p->state == DONE)
                return p->status;
        if (!ask_gave(handle_ask(pr), p->serial) || p->n > PINROUTE_BATCH_MAX || !handle_has(pr, p->cluster))
                return PINROUTE_E_INVALID;
        return finish(pr, p, handle_deadline(pr));
}
