/* ctl_screen.h -- what `pinroutectl top` shows: one look as a screen of lines, or as one line.
 * Pure: looks in, text out; it steers colours only. */
#ifndef PINROUTECTL_SCREEN_H
#define PINROUTECTL_SCREEN_H

#include <stdio.h>

#include "client/ctl_look.h"

/* How `top` sorts its rows: the key s steps through them. */
#define CTL_SORTS(X)                                                                                         \
        X(CLUSTER, "cluster") /* the daemon's order */                                                       \
        X(STATE, "state")     /* who is not UP first */                                                      \
        X(LAG, "lag")                                                                                        \
        X(READS, "reads")                                                                                    \
        X(NAME, "name")

enum ctl_sort {
#define CTL_SORT(name, text) CTL_SORT_##name,
        CTL_SORTS(CTL_SORT)
#undef CTL_SORT
            CTL_SORT_N,
};

struct ctl_view {
        const struct ctl_look *now, *before; /* before: NULL at first */
        json_t *lags;
        const char *no_answer; /* since the look shown; NULL: it is the newest */
        int64_t silent_ms;
        enum ctl_sort sort;
        unsigned interval_ms;
        bool paused, help, colour;
        unsigned columns, lines; /* of the terminal */
};

/* Exactly view->lines lines at most, each with view->columns columns at most; no line's end after the last. */
void ctl_screen_draw(const struct ctl_view *view, FILE *to);

/* For pipes: the heads, a line, and as JSON. */
void ctl_screen_heads(FILE *to);
void ctl_screen_line(const struct ctl_view *view, FILE *to);
void ctl_screen_json(const struct ctl_view *view, FILE *to);

#endif
