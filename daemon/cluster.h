/* cluster.h -- one primary and its replicas: events in (results, pins, time), questions and a record out.
 * No I/O and no clock: time, answers and the way to ask are passed in.  It logs its state changes. */
#ifndef PINROUTED_CLUSTER_H
#define PINROUTED_CLUSTER_H

#include "daemon/conf.h"
#include "daemon/fence.h"
#include "daemon/histogram.h"
#include "daemon/node.h"
#include "daemon/release.h"

/* A node in its slot.  Slots are indices of the store's record; a node keeps its slot while it is configured.
 */
struct cluster_node {
        struct node_conf conf; /* name "": the slot is free */
        enum node_state state;
        enum node_admin admin;
        struct mono since; /* of the state */
        char why[NODE_WHY_MAX];
        struct node_window window;
        struct node_facts facts;
        bool answers;            /* the newest check was answered */
        unsigned unanswered;     /* health checks in a row that were not, as the prober said */
        struct mono leads_since; /* when it was first heard out of recovery, without a break; 0: it is not */
        uint64_t led_system; /* the history that it led by its last word; maintenance does not forget it */
        uint32_t led_timeline;
        bool resumed; /* in the schedule by an earlier daemon's word: its lag has not been known since */
        uint64_t caught_up;
        struct mono stamp; /* when the question was sent that told caught_up */
        uint64_t proven;   /* what it had caught up with when it last told a timeline on this connection */
        struct mono as_of; /* it has all that the primary had then; 0: unknown.  Goes where caught_up goes */
        /* the check in flight, and when the next ones are due */
        uint64_t asked; /* its number; 0: none */
        bool counts;    /* it is a health check: it moves the window */
        struct mono sent, due;
        uint64_t checks, failures, state_changes;
        uint32_t took_us;      /* by the newest check, answered or not */
        struct histogram took; /* histogram_of_checks */
};

struct cluster {
        struct cluster_conf conf;
        unsigned number; /* in the store */
        bool removed;    /* no longer configured: its pins run out, nothing else happens */
        struct cluster_node node[PNR_NODES_MAX];
        unsigned primary; /* slot, or PNR_NO_NODE */
        bool split_brain;
        bool settled; /* which node was the last primary is known: remembered, or made out among all */
        uint64_t system_identifier; /* of the primary's history; 0: not heard yet */
        uint32_t timeline;
        struct marks samples;      /* (ms, position) of the primary */
        struct mono sampled_since; /* the first of them, dropped ones included; 0: none */
        struct fence fence;
        struct mono fenced_at;  /* when the primary was last asked for a fence */
        struct mono live_until; /* no pin or floor lives beyond this */
        struct mono hold_until; /* no pin or floor is held beyond this */
        uint64_t floor_generation;
        struct mono floor_until, floor_hold;
        char floor_why[NODE_WHY_MAX];
        bool floor_told;        /* that it was raised, and not yet that it is over */
        struct mono floor_said; /* when, and of what cause, for the last time */
        char floor_said_why[NODE_WHY_MAX];
        uint8_t schedule[PNR_SCHEDULE_MAX];
        unsigned n_schedule;
        uint64_t last_number;
        bool dirty; /* the record differs from the one last published */
        bool
            older; /* only in that an as_of is newer by now: published with what else there is, such as a heartbeat */
        uint64_t floors, fences, primary_changes;
        struct release release;
};

void cluster_init(struct cluster *c, const struct cluster_conf *conf, unsigned number, struct mono now);

/* What an earlier daemon left in the store: generations, floor, primary and its history, an operator's
 * drains. */
void cluster_remember(struct cluster *c, const struct pnr_cluster *found, const uint8_t admin[PNR_NODES_MAX],
                      struct mono live_until, struct mono hold_until, struct mono now);

/* A moment ago an earlier daemon had these nodes in its schedule: those that are the same servers still, by
 * their endpoints, stay there until their checks fail. */
void cluster_resume(struct cluster *c, const struct pnr_cluster *found,
                    const struct pnr_endpoint endpoint[PNR_NODES_MAX], struct mono now);

/* A new config is in force: nodes keep slot and state, unless their conninfo changed. */
void cluster_configure(struct cluster *c, const struct cluster_conf *conf, struct mono now);
void cluster_remove(struct cluster *c);

/* It is configured again, or its place by another: what is owed is owed still, and no number comes twice. */
void cluster_return(struct cluster *c, const struct cluster_conf *conf, struct mono now);

/* Everything that time alone brings about: overdue answers, checks that are due, fences. */
typedef void cluster_ask_fn(void *arg, unsigned cluster, unsigned slot, uint64_t number, uint32_t timeout_ms);
void cluster_turn(struct cluster *c, struct mono now, cluster_ask_fn *ask, void *arg);

/* A frame of the prober about this cluster's `slot`.  Anything out of place is ignored. */
void cluster_result(struct cluster *c, unsigned slot, const struct prober_result *r, struct mono now);

/* The prober is gone: every connection with it, every question unanswered. */
void cluster_lost_prober(struct cluster *c, struct mono now);

/* A pin of `ms` is being recorded now: returns the generation that it carries. */
uint64_t cluster_pin(struct cluster *c, struct mono now, int64_t ms);

/* The pin that is being recorded is held until then. */
void cluster_hold(struct cluster *c, struct mono until);

/* The daemon was not there for a while (start, stall): nothing that it knew about replicas holds any more. */
void cluster_stood_still(struct cluster *c, struct mono now, const char *why);

/* The machine slept, and the clock with it: how long ago the primary was where cannot be told any more.  Besides the
 * above, and before it. */
void cluster_slept(struct cluster *c);

unsigned cluster_find_node(const struct cluster *c, const char *name); /* slot, or PNR_NO_NODE */
void cluster_set_admin(struct cluster *c, unsigned slot, enum node_admin admin, struct mono now);

/* Fills the record for the store and clears `dirty`. */
void cluster_publish(struct cluster *c, struct pnr_cluster *ret);

/* Is it, a node of c, to be read from? */
static inline bool cluster_schedules(const struct cluster *c, const struct cluster_node *n)
{
        bool leads = n - c->node == c->primary;
        return !leads && n->state == NODE_UP && n->admin == NODE_READY && n->conf.weight;
}

/* How long a pin is when `asked_ms` were asked for; 0: as long as this cluster's are. */
static inline int64_t cluster_pin_ms(const struct cluster *c, int64_t asked_ms)
{
        int64_t ms = asked_ms ? asked_ms : c->conf.pin_seconds_ms;
        return ms < c->conf.max_pin_seconds_ms ? ms : c->conf.max_pin_seconds_ms;
}

static inline bool cluster_waits(const struct cluster *c, struct mono now)
{
        return !mono_reached(now, c->live_until);
}

#endif
