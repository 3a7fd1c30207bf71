/* words.c -- what statuses and reasons are called.
 * Pure: static strings only. */
#include "client/words.h"

#include <assert.h>

#include "client/pinroute.h"

#define ASSERT_STATUS(name, number, text) static_assert(PINROUTE_##name == (number), #name " is for life");
#define ASSERT_REASON(name, number, text) static_assert(PINROUTE_##name == (number), #name " is for life");
WORDS_STATUS(ASSERT_STATUS)
WORDS_REASON(ASSERT_REASON)

const char *pinroute_strerror(int status)
{
        switch (status) {
#define CASE(name, number, text)                                                                             \
        case number: return text;
                WORDS_STATUS(CASE)
#undef CASE
        }
        return "unknown status";
}

const char *pinroute_reason_name(int reason)
{
        switch (reason) {
#define CASE(name, number, text)                                                                             \
        case number: return #name;
                WORDS_REASON(CASE)
#undef CASE
        }
        return "UNKNOWN";
}

const char *words_reason(int reason)
{
        switch (reason) {
#define CASE(name, number, text)                                                                             \
        case number: return text;
                WORDS_REASON(CASE)
#undef CASE
        }
        return "unknown reason";
}

const char *pinroute_version(void) { return PINROUTE_VERSION; }
