/* ctl_steps.h -- how a read's route comes about, step by step, in the order of the decision table; and of each replica
 * whether it will do, and why.
 * Pure: what it explains choose() has decided. */
#ifndef PINROUTECTL_STEPS_H
#define PINROUTECTL_STEPS_H

#include "client/ctl_why.h"

#define CTL_STEPS_MAX     6
#define CTL_STEP_TEXT_MAX 500

struct ctl_steps {
        unsigned n; /* the last one decides */
        struct ctl_step {
                const char *name;
                char text[CTL_STEP_TEXT_MAX];
        } step[CTL_STEPS_MAX];
};

void ctl_steps_of(const struct ctl_why *w, struct ctl_steps *ret);

/* "yes: has replayed 0/5A4100", "no: ..." */
void ctl_steps_verdict(const struct ctl_why *w, unsigned node, char *buf, size_t size);

#endif
