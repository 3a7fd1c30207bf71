/* criterion.h -- the unit tests' stages (core_play.h, cluster_play.h) in a fuzzer: what they assert, aborts.
 * Only what those headers use; comes before the real one in the fuzzers' include path alone. */
#ifndef FUZZ_CRITERION_H
#define FUZZ_CRITERION_H

#include "tests/fuzz/fuzz.h"

#define cr_assert(what, ...)          MUST_BE(what)
#define cr_assert_eq(a, b, ...)       MUST_BE((a) == (b))
#define cr_assert_lt(a, b, ...)       MUST_BE((a) < (b))
#define cr_assert_not_null(what, ...) MUST_BE((what) != NULL)

#endif
