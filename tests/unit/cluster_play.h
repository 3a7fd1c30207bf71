/* cluster_play.h -- a cluster state machine on a stage: servers that answer as told, and a clock that is
 * turned. No process, no socket, no waiting. */
#ifndef CLUSTER_PLAY_H
#define CLUSTER_PLAY_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cluster.h"
#include "daemon/floor.h"
#include "daemon/log.h"
#include "daemon/rhythm.h"

#define STEP_MS     10
#define PLAY_SYSTEM 7777

enum manner { ANSWERS, REFUSES, SILENT, FROZEN }; /* SILENT: not even the prober says a word */

struct server {
        enum manner manner;
        bool in_recovery, reconnected;
        uint64_t system, position;
        uint32_t timeline;
};

struct play {
        struct cluster c;
        struct cluster_conf conf;
        struct mono now;
        struct server server[PNR_NODES_MAX];
        uint64_t number[PNR_NODES_MAX]; /* of the question in flight */
        unsigned asks[PNR_NODES_MAX];
        void (*on_ask)(struct play *p, unsigned slot);
};

static inline struct node_conf play_node(const char *name, bool is_primary, unsigned weight)
{
        struct node_conf n = {.is_primary = is_primary, .weight = weight, .max_lag_ms = 10000};
        snprintf(n.name, sizeof n.name, "%s", name);
        snprintf(n.conninfo, sizeof n.conninfo, "host=%s", name);
        snprintf(n.endpoint, sizeof n.endpoint, "host=%s", name);
        return n;
}

/* default (primary), shadow-1, shadow-2, ...; options as options.h has them. */
static inline struct cluster_conf play_conf(const char *name, unsigned replicas)
{
        struct cluster_conf conf = {.pin_seconds_ms = 15000,
                                    .max_pin_seconds_ms = 300000,
                                    .check_interval_ms = 500,
                                    .check_timeout_ms = 400,
                                    .fall = 2,
                                    .rise = 3,
                                    .max_lag_ms = 10000,
                                    .lag_resume_ms = 10000,
                                    .fence_interval_ms = 100,
                                    .caught_up_trust_ms = 250,
                                    .early_release = 1,
                                    .n_nodes = replicas + 1};
        snprintf(conf.name, sizeof conf.name, "%s", name);
        conf.node[0] = play_node("default", true, 1);
        for (unsigned i = 1; i <= replicas; i++) {
                char alias[16];
                snprintf(alias, sizeof alias, "shadow-%u", i);
                conf.node[i] = play_node(alias, false, 1);
        }
        return conf;
}

static inline void play_init_with(struct play *p, const struct cluster_conf *conf)
{
        log_init("test");
        log_set_level(0);
        memset(p, 0, sizeof *p);
        p->conf = *conf;
        p->now.ms = 1000000;
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                p->server[i] = (struct server){
                    .system = PLAY_SYSTEM, .position = 1000, .timeline = 1, .in_recovery = i > 0};
        cluster_init(&p->c, conf, 0, p->now);
}

static inline void play_init(struct play *p, unsigned replicas)
{
        struct cluster_conf conf = play_conf("main", replicas);
        play_init_with(p, &conf);
}

static inline struct prober_result play_answer_of(const struct play *p, unsigned slot)
{
        const struct server *s = &p->server[slot];
        if (s->manner == REFUSES || s->manner == FROZEN)
                return (struct prober_result){.kind = PROBER_FAILED,
                                              .node = slot,
                                              .number = p->number[slot],
                                              .text = "connection refused"};
        return (struct prober_result){.kind = PROBER_ANSWER,
                                      .node = slot,
                                      .number = p->number[slot],
                                      .system_identifier = s->system,
                                      .position = {s->position},
                                      .timeline = s->timeline,
                                      .in_recovery = s->in_recovery,
                                      .connected = s->reconnected};
}

/* The answer to the question in flight, as the server stands now. */
static inline void play_tell(struct play *p, unsigned slot)
{
        struct prober_result r = play_answer_of(p, slot);
        p->number[slot] = 0;
        cluster_result(&p->c, slot, &r, p->now);
}

static inline void play_on_ask(void *arg, unsigned cluster, unsigned slot, uint64_t number,
                               uint32_t timeout_ms)
{
        struct play *p = arg;
        cr_assert_eq(cluster, p->c.number);
        cr_assert_eq(timeout_ms, (uint32_t)p->c.conf.check_timeout_ms);
        cr_assert(number);
        p->number[slot] = number;
        p->asks[slot]++;
        if (p->on_ask)
                p->on_ask(p, slot);
}

static inline bool play_has_word(const struct play *p, unsigned slot)
{
        enum manner m = p->server[slot].manner;
        bool late = mono_since(p->now, p->c.node[slot].sent) >= p->c.conf.check_timeout_ms;
        return p->number[slot] && (m == FROZEN ? late : m != SILENT);
}

/* Time stands still; whoever is neither SILENT nor FROZEN answers at once. */
static inline void play_turn(struct play *p)
{
        cluster_turn(&p->c, p->now, play_on_ask, p);
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                if (play_has_word(p, slot))
                        play_tell(p, slot);
}

static inline void play_step(struct play *p)
{
        p->now.ms += STEP_MS;
        play_turn(p);
}

static inline void play_for(struct play *p, int64_t ms)
{
        for (; ms > 0; ms -= STEP_MS)
                play_step(p);
}

/* Steps until the node's next answered or given-up check. */
static inline void play_one_check(struct play *p, unsigned slot)
{
        uint64_t before = p->c.node[slot].checks;
        for (unsigned i = 0; p->c.node[slot].checks == before; i++) {
                cr_assert_lt(i, 1000, "node %u is never checked", slot);
                play_step(p);
        }
}

static inline struct pnr_cluster play_record(struct play *p)
{
        struct pnr_cluster r;
        cluster_publish(&p->c, &r);
        return r;
}

static inline bool play_scheduled(struct play *p, unsigned slot)
{
        struct pnr_cluster r = play_record(p);
        bool placed = false;
        for (unsigned i = 0; i < r.n_schedule; i++)
                placed = placed || r.schedule[i] == slot;
        cr_assert_eq(placed, r.scheduled >> slot & 1, "schedule and mask of slot %u", slot);
        return placed;
}

/* Would a stub send a read to this node whose pin carries `generation`? */
static inline bool play_releases(const struct pnr_cluster *r, unsigned slot, uint64_t generation,
                                 struct mono now)
{
        const struct pnr_node *n = &r->node[slot];
        return (r->scheduled >> slot & 1) && now.ms - n->stamp_ms < r->trust_ms && n->caught_up &&
               n->caught_up >= generation;
}

static inline bool play_released(struct play *p, unsigned slot, uint64_t generation)
{
        struct pnr_cluster r = play_record(p);
        return play_releases(&r, slot, generation, p->now);
}

static inline void play_up(struct play *p)
{
        play_for(p, 1000);
        for (unsigned i = 0; i < p->conf.n_nodes; i++)
                cr_assert_eq(p->c.node[i].state, NODE_UP, "node %u: %s", i, p->c.node[i].why);
}

/* A write of 10 bytes on the primary, and its record. */
static inline uint64_t play_write(struct play *p)
{
        p->server[p->c.primary].position += 10;
        return cluster_pin(&p->c, p->now, 15000);
}

/* A write that both replicas have and that is known of them. */
static inline uint64_t play_caught_up(struct play *p)
{
        uint64_t g = play_write(p);
        p->server[1].position = p->server[2].position = p->server[0].position;
        play_for(p, 300);
        cr_assert(play_released(p, 1, g) && play_released(p, 2, g));
        return g;
}

/* Another daemon, which has only what the store says. */
static inline void play_restart(struct play *p)
{
        struct pnr_cluster found = play_record(p);
        struct pnr_endpoint endpoint[PNR_NODES_MAX];
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                memcpy(endpoint[i].conninfo, p->c.node[i].conf.endpoint, sizeof endpoint[i].conninfo);
        uint8_t admin[PNR_NODES_MAX] = {0};
        cluster_init(&p->c, &p->conf, 0, p->now);
        cluster_remember(&p->c, &found, admin, p->now, p->now, p->now);
        cluster_resume(&p->c, &found, endpoint, p->now);
        cluster_stood_still(&p->c, p->now, "restart");
        memset(p->number, 0, sizeof p->number);
}

/* Lets the replica stand at a sample of the primary that will be `lag_ms` old when the next step has been
 * made. */
static inline void play_lag(struct play *p, unsigned slot, int64_t lag_ms)
{
        int64_t then = p->now.ms + STEP_MS - lag_ms;
        marks_clear(&p->c.samples);
        marks_put(&p->c.samples, (uint64_t)then, (struct lsn){5000});
        marks_put(&p->c.samples, (uint64_t)then + 1, (struct lsn){6000});
        p->server[slot].position = 5000;
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                if (i != slot)
                        p->server[i].position = 6000;
}

#endif
