/* cluster.c -- one cluster's state machine: health, primary, generations, floor, schedule.
 * No I/O, no clock; cluster_turn() alone asks questions, through the function it is given. */
#include "daemon/cluster.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/floor.h"
#include "daemon/news.h"
#include "daemon/promotion.h"
#include "daemon/record.h"
#include "daemon/rhythm.h"
#include "daemon/schedule.h"

/* NOLINTBEGIN(bugprone-macro-parentheses): n is the name of a variable */
#define FOR_EACH_NODE(c, n)                                                                                  \
        for (struct cluster_node *n = (c)->node; n < (c)->node + PNR_NODES_MAX; n++)                         \
                if (n->conf.name[0])
/* NOLINTEND(bugprone-macro-parentheses) */

static unsigned slot_of(const struct cluster *c, const struct cluster_node *n)
{
        return (unsigned)(n - c->node);
}
static bool is_primary(const struct cluster *c, const struct cluster_node *n)
{
        return slot_of(c, n) == c->primary;
}

static const char *name_of(const struct cluster *c, unsigned slot)
{
        return slot == PNR_NO_NODE ? "unknown" : c->node[slot].conf.name;
}

static void rebuild_schedule(struct cluster *c)
{
        unsigned weight[PNR_NODES_MAX] = {0};
        FOR_EACH_NODE (c, n)
                if (cluster_schedules(c, n))
                        weight[slot_of(c, n)] = n->conf.weight;
        c->n_schedule = schedule_build(weight, PNR_NODES_MAX, c->schedule);
        c->dirty = true;
}

static void forget_caught_up(struct cluster *c, struct cluster_node *n)
{
        if (n->caught_up || n->as_of.ms)
                c->dirty = true;
        n->caught_up = n->proven = 0;
        n->stamp = n->as_of = (struct mono){0};
}

/* The one mover of a node's state: it says the change and brings the schedule along. */
static void move(struct cluster *c, struct cluster_node *n, enum node_state to, const char *why,
                 struct mono now)
{
        const char *from = node_state_name(n->state), *name = n->conf.name;
        if (n->state == to)
                return;
        news_say(to == NODE_UP ? LOG_AT_INFO : LOG_AT_WARNING,
                 &(struct news_about){NEWS_NODE, c->conf.name, name, from, node_state_name(to)},
                 "%s %s -> %s: %s", name, from, node_state_name(to), why);
        n->state = to;
        n->state_changes++;
        n->since = now;
        n->resumed = false;
        if (to != NODE_UP)
                forget_caught_up(c, n);
        rebuild_schedule(c);
}

static void count_check(struct cluster *c, struct cluster_node *n, enum node_verdict v, struct mono now)
{
        window_push(&n->window, v == NODE_GOOD);
        enum node_state next =
            node_next_state(n->state, &n->window, (unsigned)c->conf.fall, (unsigned)c->conf.rise);
        char good[32];
        snprintf(good, sizeof good, "%" PRId64 " good checks in a row", c->conf.rise);
        move(c, n, v == NODE_WRONG ? NODE_DOWN : next, v == NODE_GOOD ? good : n->why, now);
}

static void start_afresh(struct cluster *c, struct cluster_node *n, struct mono now)
{
        forget_caught_up(c, n);
        n->window = (struct node_window){0};
        n->facts = (struct node_facts){.lag_ms = LAG_UNKNOWN};
        n->answers = false;
        n->unanswered = 0;
        n->leads_since = (struct mono){0};
        n->asked = 0;
        n->due = now;
        snprintf(n->why, sizeof n->why, "not checked yet");
        move(c, n, NODE_UNKNOWN, n->why, now);
}

/* ---- configuration ---- */

static void occupy(struct cluster *c, struct cluster_node *n, const struct node_conf *conf, struct mono now)
{
        *n = (struct cluster_node){.conf = *conf, .since = now};
        start_afresh(c, n, now);
}

static unsigned configured_primary(const struct cluster *c)
{
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                if (c->node[i].conf.name[0] && c->node[i].conf.is_primary)
                        return i;
        return PNR_NO_NODE;
}

void cluster_init(struct cluster *c, const struct cluster_conf *conf, unsigned number, struct mono now)
{
        memset(c, 0, sizeof *c);
        c->conf = *conf;
        c->number = number;
        c->primary = PNR_NO_NODE;
        fence_init(&c->fence, 1);
        for (unsigned i = 0; i < conf->n_nodes; i++)
                occupy(c, &c->node[i], &conf->node[i], now);
        c->primary = configured_primary(c);
        rebuild_schedule(c);
}

void cluster_remember(struct cluster *c, const struct pnr_cluster *found, const uint8_t admin[PNR_NODES_MAX],
                      struct mono live_until, struct mono hold_until, struct mono now)
{
        fence_remember(&c->fence, found->open_generation);
        fence_remember(&c->fence, found->floor_generation);
        c->floor_generation = found->floor_generation;
        c->floor_until = (struct mono){found->floor_until_ms};
        c->floor_hold = (struct mono){found->floor_hold_ms};
        c->live_until = mono_later(live_until, c->floor_until);
        c->hold_until = mono_later(hold_until, c->floor_hold);
        for (unsigned i = 0; i < found->n_nodes && i < PNR_NODES_MAX; i++) {
                unsigned slot = cluster_find_node(c, found->node[i].name);
                if (slot == PNR_NO_NODE)
                        continue;
                if (admin[i] <= NODE_MAINT)
                        cluster_set_admin(c, slot, (enum node_admin)admin[i], now);
                if (c->conf.follow_promotion && i == found->primary) {
                        c->primary = slot;
                        c->settled = found->timeline != 0;
                        c->system_identifier = found->system_identifier; /* nobody older inherits */
                        c->timeline = found->timeline;
                }
        }
        rebuild_schedule(c);
}

void cluster_resume(struct cluster *c, const struct pnr_cluster *found,
                    const struct pnr_endpoint endpoint[PNR_NODES_MAX], struct mono now)
{
        for (unsigned i = 0; i < found->n_nodes && i < PNR_NODES_MAX; i++) {
                unsigned slot = cluster_find_node(c, found->node[i].name);
                if (slot == PNR_NO_NODE || slot == c->primary || !(found->scheduled >> i & 1) ||
                    strcmp(c->node[slot].conf.endpoint, endpoint[i].conninfo) != 0)
                        continue;
                move(c, &c->node[slot], NODE_UP, "the daemon before had it in its schedule", now);
                c->node[slot].resumed = true;
        }
}

static struct cluster_node *free_slot(struct cluster *c)
{
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                if (!c->node[i].conf.name[0])
                        return &c->node[i];
        return NULL;
}

static void forget_samples(struct cluster *c)
{
        marks_clear(&c->samples);
        c->sampled_since = (struct mono){0};
}

/* Another primary, or the same one on another history: what was fenced and sampled says nothing now. */
static void new_history(struct cluster *c)
{
        forget_samples(c);
        fence_reset(&c->fence);
        c->system_identifier = 0;
        c->timeline = 0;
        FOR_EACH_NODE (c, n)
                forget_caught_up(c, n);
        c->dirty = true;
}

/* What a node has shown in one role says nothing about the other. */
static void change_role(struct cluster *c, unsigned slot, struct mono now)
{
        if (slot == PNR_NO_NODE)
                return;
        struct cluster_node *n = &c->node[slot];
        n->window = (struct node_window){0};
        n->due = mono_sooner(n->due, now);
        snprintf(n->why, sizeof n->why, "its role has changed");
        move(c, n, NODE_UNKNOWN, n->why, now);
}

static void set_primary(struct cluster *c, unsigned slot, const char *why, struct mono now)
{
        unsigned was = c->primary;
        const char *from = name_of(c, was), *to = name_of(c, slot);
        if (was == slot)
                return;
        news_say(LOG_AT_WARNING,
                 &(struct news_about){.kind = NEWS_PRIMARY, .cluster = c->conf.name, .node = to},
                 "the primary is now %s, was %s: %s", to, from, why);
        c->primary = slot;
        c->primary_changes++;
        new_history(c);
        change_role(c, was, now);
        change_role(c, slot, now);
        rebuild_schedule(c);
}

void cluster_configure(struct cluster *c, const struct cluster_conf *conf, struct mono now)
{
        if (conf->follow_promotion && !c->conf.follow_promotion)
                c->settled = c->timeline != 0; /* the primary so far, if it was heard as one, is the last */
        c->conf = *conf;
        c->removed = false;
        FOR_EACH_NODE (c, n)
                if (!conf_find_node(conf, n->conf.name)) {
                        news_say(LOG_AT_INFO,
                                 &(struct news_about){.kind = NEWS_NODE,
                                                      .cluster = conf->name,
                                                      .node = n->conf.name,
                                                      .from = node_state_name(n->state)},
                                 "%s is no longer configured", n->conf.name);
                        if (is_primary(c, n))
                                set_primary(c, PNR_NO_NODE, "it is no longer configured", now);
                        *n = (struct cluster_node){0};
                }
        for (unsigned i = 0; i < conf->n_nodes; i++) {
                const struct node_conf *new = &conf->node[i];
                unsigned slot = cluster_find_node(c, new->name);
                struct cluster_node *n = slot == PNR_NO_NODE ? free_slot(c) : &c->node[slot];
                bool other_server = slot == PNR_NO_NODE || strcmp(n->conf.conninfo, new->conninfo) != 0;
                enum node_admin admin = slot == PNR_NO_NODE ? NODE_READY : n->admin;
                if (other_server)
                        occupy(c, n, new, now);
                if (other_server && is_primary(c, n))
                        new_history(c); /* what was fenced on the server before releases nobody */
                n->conf = *new;
                n->admin = admin;
        }
        c->split_brain = c->split_brain && conf->follow_promotion;
        if (!conf->follow_promotion || c->primary == PNR_NO_NODE)
                set_primary(c, configured_primary(c), "the config says so", now);
        if (!conf->early_release)
                FOR_EACH_NODE (c, n)
                        forget_caught_up(c, n);
        rebuild_schedule(c);
}

void cluster_remove(struct cluster *c)
{
        c->removed = true;
        c->primary = PNR_NO_NODE;
        memset(c->node, 0, sizeof c->node);
        rebuild_schedule(c);
}

unsigned cluster_find_node(const struct cluster *c, const char *name)
{
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                if (c->node[i].conf.name[0] && !strcmp(c->node[i].conf.name, name))
                        return i;
        return PNR_NO_NODE;
}

void cluster_set_admin(struct cluster *c, unsigned slot, enum node_admin admin, struct mono now)
{
        struct cluster_node *n = &c->node[slot];
        if (n->admin == admin)
                return;
        const char *from = node_admin_name(n->admin), *to = node_admin_name(admin);
        news_say(LOG_AT_INFO, &(struct news_about){NEWS_ADMIN, c->conf.name, n->conf.name, from, to},
                 "%s %s -> %s by the operator", n->conf.name, from, to);
        bool unwatched = n->admin == NODE_MAINT || admin == NODE_MAINT;
        n->admin = admin;
        if (unwatched)
                start_afresh(c, n, now);
        rebuild_schedule(c);
}

/* ---- answers ---- */

static void follow_promotion(struct cluster *c, struct mono now)
{
        struct promotion next = promotion_decide(c);
        const char *name = name_of(c, next.primary);
        c->settled = next.settled;
        if (next.primary != c->primary) {
                set_primary(c, next.primary, "it is out of recovery", now);
                c->system_identifier = c->node[next.primary].facts.system_identifier;
                c->timeline = c->node[next.primary].facts.timeline; /* nobody older inherits */
        }
        struct news_about split = {.kind = NEWS_SPLIT_BRAIN, .cluster = c->conf.name, .node = name};
        if (next.split_brain && !c->split_brain) {
                char rivals[NODE_WHY_MAX];
                promotion_name_rivals(c, rivals, sizeof rivals);
                news_say(LOG_AT_ERROR, &split,
                         "split brain: more than one node is out of recovery; the primary is %s%s", name,
                         rivals);
        } else if (c->split_brain && !next.split_brain)
                news_say(LOG_AT_INFO, &split, "no split brain any more; the primary is %s", name);
        c->split_brain = next.split_brain;
}

/* The newest sample of the primary that this replica has replayed was asked for then. */
static void take_as_of(struct cluster *c, struct cluster_node *n)
{
        struct mono as_of = {(int64_t)marks_reached(&c->samples, n->facts.position)};
        c->older = c->older || as_of.ms != n->as_of.ms;
        n->as_of = as_of;
}

static void primary_told(struct cluster *c, const struct cluster_node *n)
{
        const struct node_facts *f = &n->facts;
        if (!f->position.bytes || !f->timeline || !f->system_identifier) { /* every replica would have this */
                fence_failed(&c->fence);
                return;
        }
        if (f->system_identifier != c->system_identifier || f->timeline != c->timeline) {
                if (c->timeline)
                        news_say(LOG_AT_WARNING,
                                 &(struct news_about){
                                     .kind = NEWS_PRIMARY, .cluster = c->conf.name, .node = n->conf.name},
                                 "primary %s is on timeline %" PRIu32 " of system %" PRIu64 ", was %" PRIu32
                                 " of %" PRIu64,
                                 n->conf.name, f->timeline, f->system_identifier, c->timeline,
                                 c->system_identifier);
                new_history(c); /* also withdraws the question in flight: it was asked of the old history */
                c->system_identifier = f->system_identifier;
                c->timeline = f->timeline;
        }
        marks_put(&c->samples, (uint64_t)f->asked.ms, f->position);
        if (!c->sampled_since.ms)
                c->sampled_since = f->asked;
        FOR_EACH_NODE (
            c, r) /* who had this much already, by its last word on the connection that it still has */
                if (r->as_of.ms && r->facts.timeline)
                        take_as_of(c, r);
        if (!c->fence.asked)
                return;
        fence_answer(&c->fence, f->position);
        c->fences++;
        FOR_EACH_NODE (c, r) /* who has it already should not wait for its next turn */
                if (!r->asked && cluster_schedules(c, r))
                        r->sent = (struct mono){0};
}

static bool primary_answers(const struct cluster *c)
{
        return c->primary != PNR_NO_NODE && c->node[c->primary].answers &&
               !c->node[c->primary].facts.in_recovery;
}

static enum node_verdict replica_told(struct cluster *c, struct cluster_node *n, struct mono now)
{
        struct node_standard by = {
            .system_identifier = c->system_identifier,
            .timeline = c->timeline,
            .primary_answers = primary_answers(c),
            .samples = &c->samples,
            .limit_ms = n->state == NODE_UP || c->conf.lag_resume_ms > n->conf.max_lag_ms
                            ? n->conf.max_lag_ms
                            : c->conf.lag_resume_ms,
        };
        enum node_verdict v = node_judge_replica(&n->facts, &by, now, n->why);
        bool same_history = v != NODE_WRONG && c->timeline && n->facts.last_timeline == c->timeline &&
                            n->facts.system_identifier == c->system_identifier;
        if (!same_history || promotion_is_forked(c))
                n->as_of = (struct mono){0};
        else if (n->facts.timeline)
                take_as_of(c, n);
        if (!same_history || !c->conf.early_release || promotion_is_forked(c))
                n->proven = 0;
        else if (n->facts.timeline)
                n->proven = fence_reached(&c->fence, n->facts.position);
        /* Replay goes forward only while the server runs, and on this connection the same one has run since:
         * what it was proven to have it has, though it streams no more now that the primary is gone. */
        n->caught_up = n->facts.timeline || !by.primary_answers ? n->proven : 0;
        n->stamp = n->sent;
        c->dirty = true;
        if (n->caught_up && cluster_schedules(c, n))
                release_reach(&c->release, n->caught_up, now);
        n->resumed = n->resumed && n->facts.lag_ms == LAG_UNKNOWN;
        return v;
}

/* A node that an earlier daemon found good, while this one has not watched the primary for long enough to
 * tell its lag: nothing is to be held against it. */
static bool may_be_good(const struct cluster *c, const struct cluster_node *n, struct mono now)
{
        if (!n->resumed)
                return false;
        if (!c->sampled_since.ms)
                return !primary_answers(c);
        return n->facts.timeline && mono_since(now, c->sampled_since) <= n->conf.max_lag_ms;
}

static void take_facts(struct cluster_node *n, const struct prober_result *r, struct mono now)
{
        uint32_t earlier = r->connected ? 0 : n->facts.last_timeline;
        n->proven = r->connected ? 0 : n->proven;
        n->leads_since = r->in_recovery ? (struct mono){0} : n->leads_since.ms ? n->leads_since : now;
        n->led_system = r->in_recovery ? 0 : r->system_identifier;
        n->led_timeline = r->in_recovery ? 0 : r->timeline;
        n->facts = (struct node_facts){
            .known = true,
            .in_recovery = r->in_recovery,
            .system_identifier = r->system_identifier,
            .timeline = r->timeline,
            .last_timeline = r->timeline ? r->timeline : earlier,
            .position = r->position,
            .asked = n->sent,
            .lag_ms = LAG_UNKNOWN,
        };
        snprintf(n->facts.hint, sizeof n->facts.hint, "%s", r->text);
}

/* Of two timelines with one name nobody can say which one a replica's position is of. */
static void notice_fork(struct cluster *c)
{
        if (!promotion_is_forked(c))
                return;
        FOR_EACH_NODE (c, r) {
                c->dirty = c->dirty || r->as_of.ms;
                r->as_of = (struct mono){0};
        }
}

static void answered(struct cluster *c, struct cluster_node *n, const struct prober_result *r,
                     struct mono now)
{
        n->answers = true;
        n->unanswered = 0;
        take_facts(n, r, now);
        notice_fork(c);
        if (c->conf.follow_promotion)
                follow_promotion(c, now);
        enum node_verdict v;
        if (is_primary(c, n)) {
                v = node_judge_primary(&n->facts, n->why);
                if (v == NODE_GOOD)
                        primary_told(c, n);
                else
                        fence_failed(&c->fence);
        } else
                v = replica_told(c, n, now);
        if (v == NODE_BAD && may_be_good(c, n, now))
                return;
        if (v != NODE_GOOD)
                n->failures++;
        if (n->counts || v == NODE_WRONG)
                count_check(c, n, v, now);
}

static void not_answered(struct cluster *c, struct cluster_node *n, const char *why, struct mono now)
{
        n->answers = false;
        n->facts.last_timeline = 0;
        n->facts.lag_ms = LAG_UNKNOWN;
        n->failures++;
        snprintf(n->why, sizeof n->why, "%s", why);
        forget_caught_up(c, n);
        if (is_primary(c, n))
                fence_failed(&c->fence);
        if (n->counts)
                count_check(c, n, NODE_BAD, now);
        if (c->conf.follow_promotion)
                follow_promotion(c, now);
}

static void broke(struct cluster *c, struct cluster_node *n)
{
        n->answers = false;
        n->facts.last_timeline = 0;
        forget_caught_up(c, n);
}

void cluster_result(struct cluster *c, unsigned slot, const struct prober_result *r, struct mono now)
{
        if (slot >= PNR_NODES_MAX || !c->node[slot].conf.name[0])
                return;
        struct cluster_node *n = &c->node[slot];
        if (r->kind == PROBER_BROKEN) {
                broke(c, n);
                return;
        }
        if (!n->asked || r->number != n->asked)
                return; /* given up on, or from before a reload */
        n->asked = 0;
        n->checks++;
        n->took_us = r->took_us;
        histogram_add(&n->took, &histogram_of_checks, r->took_us, 1);
        if (r->kind == PROBER_ANSWER) {
                answered(c, n, r, now);
                return;
        }
        n->unanswered += n->counts; /* by the prober's word alone: one that hangs makes no primary silent */
        not_answered(c, n, r->text, now);
}

void cluster_lost_prober(struct cluster *c, struct mono now)
{
        FOR_EACH_NODE (c, n) {
                broke(c, n);
                n->asked = 0;
                n->due = mono_sooner(n->due, now);
        }
        fence_failed(&c->fence);
}

/* ---- time ---- */

static void ask(struct cluster *c, struct cluster_node *n, struct mono now, cluster_ask_fn *fn, void *arg)
{
        n->counts = rhythm_take_turn(c, n, now);
        if (is_primary(c, n) && rhythm_releases(c, now) && fence_wanted(&c->fence)) {
                fence_close(&c->fence); /* before the question, see fence.h */
                c->fenced_at = now;
                c->dirty = true;
        }
        n->asked = ++c->last_number;
        n->sent = now;
        fn(arg, c->number, slot_of(c, n), n->asked, (uint32_t)c->conf.check_timeout_ms);
}

void cluster_turn(struct cluster *c, struct mono now, cluster_ask_fn *fn, void *arg)
{
        floor_look(c, now);
        release_expire(&c->release, now);
        FOR_EACH_NODE (c, n) {
                if (n->admin == NODE_MAINT)
                        continue;
                if (n->asked && mono_since(now, n->sent) > c->conf.check_timeout_ms + PROBER_GRACE_MS) {
                        n->asked = 0;
                        n->checks++;
                        n->took_us = (uint32_t)mono_since(now, n->sent) * 1000;
                        not_answered(c, n, "no answer from the prober", now);
                }
                if (n->asked)
                        n->counts = rhythm_take_turn(c, n, now) || n->counts;
                else if (mono_reached(now, rhythm_due(c, n, now)))
                        ask(c, n, now, fn, arg);
        }
}

/* ---- pins and floor ---- */

uint64_t cluster_pin(struct cluster *c, struct mono now, int64_t ms)
{
        c->live_until = mono_later(c->live_until, mono_plus(now, ms));
        return fence_carry(&c->fence);
}

void cluster_return(struct cluster *c, const struct cluster_conf *conf, struct mono now)
{
        uint64_t earlier = c->fence.open, number = c->last_number;
        struct mono live_until = c->live_until, hold_until = c->hold_until;
        struct mono floor_until = c->floor_until, floor_hold = c->floor_hold;
        cluster_init(c, conf, c->number, now);
        c->last_number = number; /* an answer to an earlier question may still be under way */
        fence_remember(&c->fence, earlier);
        fence_open_next(&c->fence);
        c->live_until = live_until;
        c->hold_until = hold_until;
        if (!mono_reached(now, floor_until))
                floor_raise(c, now, mono_since(floor_until, now), "owed since before it was removed");
        if (!mono_reached(now, floor_hold))
                floor_hold_until(c, floor_hold);
}

void cluster_hold(struct cluster *c, struct mono until) { c->hold_until = mono_later(c->hold_until, until); }

void cluster_stood_still(struct cluster *c, struct mono now, const char *why)
{
        FOR_EACH_NODE (c, n) {
                forget_caught_up(c, n);
                n->asked = 0; /* an answer from before comes too late to mean anything */
                n->due = mono_sooner(n->due, now);
        }
        fence_failed(&c->fence);
        fence_open_next(&c->fence);
        int64_t owed_ms = mono_since(c->live_until, now), most_ms = c->conf.max_pin_seconds_ms;
        floor_raise(c, now, owed_ms > most_ms ? owed_ms : most_ms, why);
}

void cluster_slept(struct cluster *c)
{
        forget_samples(c);
        FOR_EACH_NODE (c, n)
                n->resumed = n->state == NODE_UP;
}

void cluster_publish(struct cluster *c, struct pnr_cluster *ret)
{
        record_fill(c, ret);
        c->dirty = c->older = false;
}
