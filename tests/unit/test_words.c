/* test_words.c -- every status and reason has a number for life, a name and a sentence. */
#include "client/words.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

#include "client/pinroute.h"

Test(words, each_status_has_a_sentence_of_its_own)
{
        for (int a = 0; a <= PINROUTE_E_MEMORY; a++) {
                cr_expect(*pinroute_strerror(a) && strcmp(pinroute_strerror(a), pinroute_strerror(-1)) != 0);
                for (int b = 0; b < a; b++)
                        cr_expect_str_neq(pinroute_strerror(a), pinroute_strerror(b));
        }
        cr_expect_str_eq(pinroute_strerror(PINROUTE_E_MEMORY + 1), "unknown status");
        cr_expect_str_eq(pinroute_strerror(PINROUTE_E_UNREACHABLE),
                         "no answer from pinrouted: pinned in this process only");
}

Test(words, reasons_are_called_as_in_the_header)
{
        static const char *const name[] = {
            "UNKNOWN",     "BALANCED",          "PINNED", "CAUGHT_UP", "FORCED", "NO_REPLICA",  "FLOOR",
            "STORE_STALE", "STORE_UNAVAILABLE", "WRITE",  "AFFINITY",  "BEHIND", "OVER_BUDGET", "UNKNOWN"};
        for (int i = 0; i <= PINROUTE_OVER_BUDGET + 1; i++)
                cr_expect_str_eq(pinroute_reason_name(i), name[i]);
        cr_expect_str_eq(pinroute_version(), PINROUTE_VERSION);
}

Test(words, each_reason_has_a_sentence_of_its_own)
{
        for (int a = 0; a <= PINROUTE_OVER_BUDGET; a++)
                for (int b = 0; b < a; b++)
                        cr_expect_str_neq(words_reason(a), words_reason(b));
        cr_expect_str_eq(words_reason(PINROUTE_OVER_BUDGET + 1), "unknown reason");
        cr_expect_str_eq(words_reason(PINROUTE_BALANCED), "nothing keeps this key from the replicas");
}
