/* budget.c -- primary_budget: how many reads of this second the primary has taken, in one word.
 * Pure but for that word. */
#include "client/budget.h"

/* A process that stood still between its look at the clock and at the word must not begin a second again that others
 * are through with; nor may one that writes nonsense end all seconds. */
#define LATE_MAX_S 60

bool budget_take(_Atomic uint64_t *word, uint32_t most, struct mono now)
{
        uint64_t was = atomic_load_explicit(word, memory_order_relaxed), is;
        do {
                uint64_t second = (uint64_t)now.ms / 1000, had = was >> BUDGET_USED_BITS;
                if (had > second && had - second <= LATE_MAX_S)
                        second = had;
                uint64_t used = had == second ? was & BUDGET_MAX : 0;
                if (used >= most || used == BUDGET_MAX)
                        return false;
                is = second << BUDGET_USED_BITS | (used + 1);
        } while (!atomic_compare_exchange_weak_explicit(word, &was, is, memory_order_relaxed,
                                                        memory_order_relaxed));
        return true;
}
