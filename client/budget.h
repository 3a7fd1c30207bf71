/* budget.h -- primary_budget: how many reads of this second the primary has taken, in one word.
 * Pure but for that word, which many threads and processes may share: a compare and swap, no lock. */
#ifndef PINROUTE_BUDGET_H
#define PINROUTE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/units.h"

#define BUDGET_USED_BITS 24 /* the lower ones; above them the second, of the daemon's clock */
#define BUDGET_MAX       ((1u << BUDGET_USED_BITS) - 1)

/* May one more of `most` go in this second?  Then it is counted.  Whatever stands in the word is safe: what a process
 * wrote there that should not have spoils a second's count, or a minute's, and nothing else. */
bool budget_take(_Atomic uint64_t *word, uint32_t most, struct mono now);

#endif
