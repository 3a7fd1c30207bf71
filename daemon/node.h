/* node.h -- one PostgreSQL server as the daemon sees it: answers, window, state.  Pure. */
#ifndef PINROUTED_NODE_H
#define PINROUTED_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/marks.h"
#include "daemon/prober.h"
#include "proto/store.h"
#include "proto/units.h"

#define NODE_WHY_MAX 200
#define LAG_UNKNOWN  (-1)

enum node_state { NODE_UNKNOWN = 0, NODE_UP = 1, NODE_DOWN = 2 };
enum node_admin {
        NODE_READY = 0,
        NODE_DRAIN = 1,
        NODE_MAINT = 2
}; /* an operator's word, kept in the store */

/* What a check says about a node.  WRONG is what waiting cannot mend: out of the schedule at once. */
enum node_verdict { NODE_GOOD = 0, NODE_BAD = 1, NODE_WRONG = 2 };

#define WINDOW_MAX 64 /* checks that a window keeps */

/* Health checks, newest in bit 0, 1 is good. */
struct node_window {
        uint64_t good;
        unsigned n; /* how many are known, up to WINDOW_MAX */
};

void window_push(struct node_window *w, bool good);
bool window_all(const struct node_window *w, unsigned last, bool good);

/* The state after the newest check of the window: `fall` bad ones in a row lead down, `rise` good ones up. */
enum node_state node_next_state(enum node_state was, const struct node_window *w, unsigned fall,
                                unsigned rise);

/* Newest facts that a node has told. */
struct node_facts {
        bool known;
        bool in_recovery;
        uint64_t system_identifier;
        uint32_t timeline;      /* 0: unknown by this answer */
        uint32_t last_timeline; /* newest known on this connection; 0: none */
        struct lsn position;    /* primary: insert; replica: replay */
        struct mono asked;      /* when the question was sent */
        int64_t lag_ms;         /* replica; LAG_UNKNOWN */
        char hint[PROBER_TEXT_MAX];
};

/* What a replica is judged against. */
struct node_standard {
        uint64_t system_identifier; /* the primary's; 0: never heard */
        uint32_t timeline;
        bool primary_answers;        /* its newest check was answered */
        const struct marks *samples; /* (ms, position) of the primary */
        int64_t limit_ms;            /* greatest lag that passes */
};

/* Lag of a replica that answered `facts` at `now`: age of the newest sample of the primary that it has
 * replayed, 0 when that is the newest of all, LAG_UNKNOWN when it has replayed none. */
int64_t node_lag(const struct marks *samples, struct lsn replayed, struct mono now);

/* Judges an answer; sets facts->lag_ms of a replica and writes a sentence into why when it is not good. */
enum node_verdict node_judge_replica(struct node_facts *facts, const struct node_standard *by,
                                     struct mono now, char why[NODE_WHY_MAX]);
enum node_verdict node_judge_primary(const struct node_facts *facts, char why[NODE_WHY_MAX]);

const char *node_state_name(enum node_state s);
const char *node_admin_name(enum node_admin a);

#endif
