/* cluster_model.h -- a primary and three replicas as they really are, an application that writes and records,
 * and a daemon that only hears answers: late, lost, out of order.  Everything follows from one seed. */
#ifndef CLUSTER_MODEL_H
#define CLUSTER_MODEL_H

#include "tests/unit/cluster_play.h"
#include "tests/unit/seeded.h"

#define MODEL_NODES  4
#define MODEL_WRITES 20000
#define MODEL_FLIGHT 256
#define MODEL_PIN_MS 15000

/* Timeline t began at branch[t] of timeline t-1: who is on t has what was written before that. */
struct model_server {
        bool alive, in_recovery, connected;
        uint32_t timeline;
        uint64_t position, flushed; /* flushed: of a primary; replicas get no more */
        int64_t crashed_ms;         /* latest crash: what it had before may be gone */
};

struct model_write {
        uint32_t timeline;
        uint64_t position, generation; /* generation 0: not recorded yet */
        int64_t made_ms, record_ms, until_ms;
        bool lost; /* the primary crashed before it was flushed */
};

struct model_flight {
        uint64_t number;
        unsigned slot;
        int64_t answer_ms, deliver_ms;
        bool used, answered;
        struct prober_result result;
};

struct model {
        struct cluster c;
        struct cluster_conf conf;
        struct pnr_cluster record; /* as stubs see it */
        struct mono now;
        int64_t turn_ms;
        bool stalled;
        struct model_server server[MODEL_NODES];
        uint64_t branch[256];
        uint32_t timeline; /* the newest */
        struct model_write write[MODEL_WRITES];
        unsigned n_writes, first_live, n_recorded;
        struct model_flight flight[MODEL_FLIGHT];
        uint64_t seed, random;
        uint64_t released, vouched, promotions, crashes;
};

static inline bool model_chance(struct model *m, unsigned one_in)
{
        return seeded_below(&m->random, one_in) == 0;
}

static inline bool model_has(const struct model *m, const struct model_server *s, const struct model_write *w)
{
        for (uint32_t t = s->timeline; t > w->timeline; t--)
                if (w->position > m->branch[t])
                        return false;
        return !w->lost && w->timeline <= s->timeline && s->position >= w->position;
}

static inline struct model_server *model_source(struct model *m, const struct model_server *s)
{
        for (unsigned i = 0; i < MODEL_NODES; i++)
                if (!m->server[i].in_recovery && m->server[i].timeline == s->timeline)
                        return &m->server[i];
        return NULL;
}

/* ---- what happens to the servers ---- */

static inline void model_crash(struct model *m, struct model_server *s)
{
        m->crashes++;
        s->connected = false;
        s->crashed_ms = m->now.ms;
        if (s->in_recovery) {
                uint64_t back = seeded_below(&m->random, 400), base = m->branch[s->timeline];
                s->position = s->position > base + back ? s->position - back : base;
                return;
        }
        for (unsigned i = 0; i < m->n_writes; i++)
                if (m->write[i].timeline == s->timeline && m->write[i].position > s->flushed)
                        m->write[i].lost = true;
        s->position = s->flushed;
}

/* The primary of the newest timeline dies; a replica that follows it takes over, with what it has. */
static inline void model_promote(struct model *m)
{
        unsigned heir = 1 + (unsigned)seeded_below(&m->random, MODEL_NODES - 1);
        struct model_server *s = &m->server[heir], *was = model_source(m, s);
        if (!s->in_recovery || !s->alive || s->timeline != m->timeline || m->timeline > 250)
                return;
        m->promotions++;
        if (was)
                was->alive = was->connected = false;
        s->in_recovery = false;
        s->flushed = s->position;
        m->branch[++m->timeline] = s->position;
        s->timeline = m->timeline;
}

/* A server that is off the newest timeline joins it: as it is, where it has not passed the branch, else
 * rebuilt. */
static inline void model_join(struct model *m, struct model_server *s)
{
        bool newest_leads = !s->in_recovery && s->timeline == m->timeline;
        if (newest_leads || s->timeline == m->timeline)
                return;
        bool passed = !s->in_recovery;
        for (uint32_t t = s->timeline + 1; t <= m->timeline; t++)
                passed = passed || s->position > m->branch[t];
        if (passed) {
                s->connected = false;
                s->crashed_ms = m->now.ms;
                for (uint32_t t = s->timeline + 1; t <= m->timeline; t++)
                        s->position = s->position > m->branch[t] ? m->branch[t] : s->position;
        }
        s->in_recovery = true;
        s->alive = true;
        s->timeline = m->timeline;
}

static inline void model_replicate(struct model *m, struct model_server *s)
{
        struct model_server *from = model_source(m, s);
        if (!s->in_recovery) {
                if (model_chance(m, 8))
                        s->flushed = s->position;
        } else if (from && from->alive && s->position < from->flushed && !model_chance(m, 3)) {
                uint64_t gap = from->flushed - s->position;
                s->position += model_chance(m, 4) ? gap : seeded_below(&m->random, gap + 1);
        }
}

static inline void model_servers(struct model *m)
{
        for (unsigned i = 0; i < MODEL_NODES; i++) {
                struct model_server *s = &m->server[i];
                if (s->alive)
                        model_replicate(m, s);
                if (s->alive && model_chance(m, 4000))
                        model_crash(m, s);
                if (s->alive && model_chance(m, 9000))
                        s->alive = s->connected = false;
                else if (!s->alive && model_chance(m, 1500)) {
                        model_crash(m, s);
                        s->alive = true;
                }
                if (model_chance(m, 1200))
                        model_join(m, s);
        }
        if (model_chance(m, 12000))
                model_promote(m);
}

/* ---- the application: writes where the record says the primary is ---- */

static inline void model_application(struct model *m)
{
        unsigned primary = m->record.primary;
        if (primary >= MODEL_NODES || !model_chance(m, 12) || m->n_writes == MODEL_WRITES)
                return;
        struct model_server *s = &m->server[primary];
        if (!s->alive || s->in_recovery)
                return;
        s->position += 1 + seeded_below(&m->random, 60);
        m->write[m->n_writes++] =
            (struct model_write){.timeline = s->timeline,
                                 .position = s->position,
                                 .made_ms = m->now.ms,
                                 .record_ms = m->now.ms + (int64_t)seeded_below(&m->random, 30)};
}

/* ---- the way to the servers ---- */

static inline void model_ask(void *arg, unsigned cluster, unsigned slot, uint64_t number, uint32_t timeout_ms)
{
        struct model *m = arg;
        (void)cluster, (void)timeout_ms;
        for (unsigned i = 0; i < MODEL_FLIGHT; i++)
                if (!m->flight[i].used) {
                        int64_t slow = model_chance(m, 40) ? 900 : 12;
                        int64_t there = (int64_t)seeded_below(&m->random, (uint64_t)slow);
                        int64_t back = (int64_t)seeded_below(&m->random, (uint64_t)slow);
                        m->flight[i] = (struct model_flight){.used = !model_chance(m, 200),
                                                             .number = number,
                                                             .slot = slot,
                                                             .answer_ms = m->now.ms + there,
                                                             .deliver_ms = m->now.ms + there + back};
                        return;
                }
}

static inline struct prober_result model_answer(struct model *m, const struct model_flight *f)
{
        struct model_server *s = &m->server[f->slot];
        const struct model_server *from = model_source(m, s);
        bool streams = !s->in_recovery || (from && from->alive);
        struct prober_result r = {.node = f->slot, .number = f->number, .kind = PROBER_FAILED, .text = "no"};
        if (!s->alive)
                return r;
        r.kind = PROBER_ANSWER;
        r.system_identifier = PLAY_SYSTEM;
        r.position.bytes = s->position;
        r.timeline = streams ? s->timeline : 0;
        r.in_recovery = s->in_recovery;
        r.connected = !s->connected;
        s->connected = true;
        return r;
}

static inline void model_deliver(struct model *m)
{
        for (unsigned i = 0; i < MODEL_FLIGHT; i++) {
                struct model_flight *f = &m->flight[i];
                if (f->used && !f->answered && m->now.ms >= f->answer_ms) {
                        f->result = model_answer(m, f);
                        f->answered = true;
                }
                if (f->used && f->answered && m->now.ms >= f->deliver_ms && !m->stalled) {
                        f->used = false;
                        cluster_result(&m->c, f->slot, &f->result, m->now);
                }
        }
        for (unsigned i = 0; i < MODEL_NODES && !m->stalled; i++)
                if (!m->server[i].connected && model_chance(m, 30)) {
                        struct prober_result broken = {.kind = PROBER_BROKEN, .node = i};
                        cluster_result(&m->c, i, &broken, m->now);
                }
}

/* ---- the daemon ---- */

static inline void model_disturb(struct model *m)
{
        unsigned slot = (unsigned)seeded_below(&m->random, MODEL_NODES);
        switch (seeded_below(&m->random, 500)) {
        case 0: m->turn_ms = m->now.ms + 60 + (int64_t)seeded_below(&m->random, 2000); break;
        case 1:
                memset(m->flight, 0, sizeof m->flight);
                cluster_lost_prober(&m->c, m->now);
                break;
        case 2:
                snprintf(m->conf.node[slot].conninfo, PROBER_CONNINFO_MAX, "host=%lu",
                         (unsigned long)m->random % 3);
                cluster_configure(&m->c, &m->conf, m->now);
                break;
        case 3:
                if (slot != m->c.primary)
                        cluster_set_admin(&m->c, slot, (enum node_admin)seeded_below(&m->random, 3), m->now);
                break;
        case 4: { /* restarted: it knows what is in the store */
                uint8_t admin[PNR_NODES_MAX] = {0};
                memset(m->flight, 0, sizeof m->flight);
                cluster_init(&m->c, &m->conf, 0, m->now);
                cluster_remember(&m->c, &m->record, admin, mono_plus(m->now, MODEL_PIN_MS), m->now, m->now);
                cluster_stood_still(&m->c, m->now, "restarted");
                break;
        }
        }
}

/* As core_turn(): a stall is noticed, pins are recorded, the record is committed, questions are asked. */
static inline void model_turn(struct model *m)
{
        if (m->stalled)
                cluster_stood_still(&m->c, m->now, "stall");
        m->stalled = false;
        for (unsigned i = m->first_live; i < m->n_writes; i++) {
                struct model_write *w = &m->write[i];
                if (w->generation || w->record_ms > m->now.ms)
                        continue;
                w->generation = cluster_pin(&m->c, m->now, MODEL_PIN_MS);
                w->until_ms = m->now.ms + MODEL_PIN_MS;
        }
        cluster_publish(&m->c, &m->record);
        cluster_turn(&m->c, m->now, model_ask, m);
        m->turn_ms = m->now.ms + 1 + (int64_t)seeded_below(&m->random, 20);
        model_disturb(m);
        m->stalled = m->turn_ms - m->now.ms > 50;
}

/* ---- the promise ---- */

/* No replica is said to have all that the primary had at a time, and lacks a write of before, which the primary has. */
static inline void model_check_as_of(struct model *m)
{
        for (unsigned slot = 0; slot < MODEL_NODES && m->record.primary < MODEL_NODES; slot++) {
                const struct model_server *s = &m->server[slot];
                int64_t as_of_ms = m->record.as_of_ms[slot];
                if (!as_of_ms || s->crashed_ms > m->record.node[slot].stamp_ms)
                        continue;
                for (unsigned i = m->first_live; i < m->n_writes; i++) {
                        const struct model_write *w = &m->write[i];
                        if (w->made_ms > as_of_ms || !model_has(m, &m->server[m->record.primary], w))
                                continue;
                        m->vouched++;
                        cr_assert(model_has(m, s, w),
                                  "seed %#lx at %ld ms: node %u at %lu of timeline %u, as of %ld, lacks the "
                                  "write at "
                                  "%lu of timeline %u of %ld",
                                  (unsigned long)m->seed, (long)m->now.ms, slot, (unsigned long)s->position,
                                  s->timeline, (long)as_of_ms, (unsigned long)w->position, w->timeline,
                                  (long)w->made_ms);
                }
        }
}

/* No stub answers CAUGHT_UP with a replica that lacks a write which the primary has. */
static inline void model_check(struct model *m)
{
        while (m->first_live < m->n_writes && m->write[m->first_live].generation &&
               m->write[m->first_live].until_ms <= m->now.ms)
                m->first_live++;
        for (unsigned slot = 0; slot < MODEL_NODES; slot++) {
                const struct model_server *s = &m->server[slot];
                const struct pnr_node *n = &m->record.node[slot];
                if (!play_releases(&m->record, slot, 1, m->now) || s->crashed_ms > n->stamp_ms)
                        continue;
                for (unsigned i = m->first_live; i < m->n_writes; i++) {
                        const struct model_write *w = &m->write[i];
                        if (!w->generation || w->generation > n->caught_up ||
                            m->record.primary >= MODEL_NODES ||
                            !model_has(m, &m->server[m->record.primary], w))
                                continue;
                        m->released++;
                        cr_assert(model_has(m, s, w),
                                  "seed %#lx at %ld ms: node %u at %lu of timeline %u, caught up with %lu, "
                                  "lacks the write at "
                                  "%lu of timeline %u, generation %lu",
                                  (unsigned long)m->seed, (long)m->now.ms, slot, (unsigned long)s->position,
                                  s->timeline, (unsigned long)n->caught_up, (unsigned long)w->position,
                                  w->timeline, (unsigned long)w->generation);
                }
        }
}

static inline void model_run(struct model *m, uint64_t seed, int64_t ms)
{
        memset(m, 0, sizeof *m);
        m->seed = m->random = seed;
        m->now.ms = 1000000;
        m->timeline = 1;
        for (unsigned i = 0; i < MODEL_NODES; i++)
                m->server[i] = (struct model_server){
                    .alive = true, .in_recovery = i > 0, .timeline = 1, .position = 1000, .flushed = 1000};
        m->conf = play_conf("main", MODEL_NODES - 1);
        m->conf.follow_promotion = model_chance(m, 4) ? 0 : 1;
        cluster_init(&m->c, &m->conf, 0, m->now);
        for (int64_t end = m->now.ms + ms; m->now.ms < end;) {
                m->now.ms++;
                model_servers(m);
                model_application(m);
                if (m->now.ms >= m->turn_ms && m->stalled) {
                        m->stalled =
                            false; /* what waited on the socket is read before the stall is noticed */
                        model_deliver(m);
                        m->stalled = true;
                } else
                        model_deliver(m);
                if (m->now.ms >= m->turn_ms)
                        model_turn(m);
                if (m->now.ms % 5 == 0) {
                        model_check(m);
                        model_check_as_of(m);
                }
        }
}

#endif
