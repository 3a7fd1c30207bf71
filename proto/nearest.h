/* nearest.h -- "did you mean": the known word that a mistyped one is closest to.
 * Pure; for the messages of the config file and of the operator's tool. */
#ifndef PNR_NEAREST_H
#define PNR_NEAREST_H

#include <stddef.h>
#include <string.h>

#define PNR_NEAREST_MAX 64 /* longer words are near to nothing */

/* Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b`
 * (the restricted Damerau-Levenshtein distance). */
static inline unsigned pnr_edits(const char *a, const char *b)
{
        size_t na = strlen(a), nb = strlen(b);
        if (na >= PNR_NEAREST_MAX || nb >= PNR_NEAREST_MAX)
                return PNR_NEAREST_MAX;
        unsigned row[3][PNR_NEAREST_MAX + 1];
        for (size_t j = 0; j <= nb; j++)
                row[0][j] = (unsigned)j;
        for (size_t i = 1; i <= na; i++) {
                unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *twice = row[(i + 1) % 3];
                now[0] = (unsigned)i;
                for (size_t j = 1; j <= nb; j++) {
                        unsigned best = before[j - 1] + (a[i - 1] != b[j - 1]);
                        if (before[j] + 1 < best)
                                best = before[j] + 1;
                        if (now[j - 1] + 1 < best)
                                best = now[j - 1] + 1;
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            twice[j - 2] + 1 < best)
                                best = twice[j - 2] + 1;
                        now[j] = best;
                }
        }
        return row[na % 3][nb];
}

/* Fed with one known word after another, keeps the closest; start from {.limit = pnr_nearest_limit(word)}. */
struct pnr_nearest {
        const char *word;
        unsigned limit;
};

/* How many edits still look like a slip of the finger. */
static inline unsigned pnr_nearest_limit(const char *word)
{
        size_t n = strlen(word);
        return n <= 3 ? 1 : n <= 6 ? 2 : 3;
}

static inline void pnr_nearest_try(struct pnr_nearest *best, const char *typed, const char *known)
{
        unsigned edits = pnr_edits(typed, known);
        if (edits <= best->limit) {
                best->word = known;
                best->limit = edits ? edits - 1 : 0;
        }
}

#endif
