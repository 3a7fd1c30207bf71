/* ctl_look.h -- one look at the daemon, and what two of them say: rates, a row per node.
 * Owns: struct ctl_look.  Pure but for ctl_look_take(). */
#ifndef PINROUTECTL_LOOK_H
#define PINROUTECTL_LOOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/ctl_call.h"
#include "proto/store.h"

#define CTL_LOOK_UNKNOWN (-1)
#define CTL_LOOK_LAGS    60 /* looks that the greatest lag is of */
#define CTL_LOOK_ROWS    (PNR_CLUSTERS_MAX * PNR_NODES_MAX)

struct ctl_look {
        bool answered;
        char why[CTL_CALL_WHY_MAX]; /* if not */
        int64_t at_ns, wall_ms;
        json_t *status, *stats, *news; /* NULL: not told */
};

/* Asks, for `most_ms` at most per question. */
void ctl_look_take(struct ctl_look *look, const struct ctl *ctl, int64_t most_ms);
void ctl_look_free(struct ctl_look *look);

/* A node as a line of `top`; texts are the look's. */
struct ctl_row {
        const char *cluster, *name, *role, *state, *admin, *why;
        int64_t since_ms, lag_ms, lag_most_ms, behind_bytes, weight, checks, fails; /* or CTL_LOOK_UNKNOWN */
        double share, check_ms, reads_s;
        unsigned at; /* in the daemon's order */
};

/* Of all nodes; returns how many.  `lags` remembers the lags seen: {"main/shadow-1": [120, 80, ...]}; before: NULL,
 * or a look that did not come to an answer: there are no rates. */
unsigned ctl_look_rows(const struct ctl_look *now, const struct ctl_look *before, json_t *lags,
                       struct ctl_row rows[CTL_LOOK_ROWS]);

/* Adds this look's lags to those remembered: once per look. */
void ctl_look_remember(const struct ctl_look *now, json_t *lags);

/* Per second of what `show stats` counts, the names to NULL added up. */
double ctl_look_rate(const struct ctl_look *now, const struct ctl_look *before, const char *const names[]);

/* Answers that all processes of this host gave, writes' included, per second. */
double ctl_look_decisions(const struct ctl_look *now, const struct ctl_look *before);

const char *ctl_look_text(const json_t *object, const char *key); /* "": not there */
int64_t ctl_look_number(const json_t *object, const char *key);

#endif
