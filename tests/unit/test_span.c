/* test_span.c -- times and sizes as people say them. */
#include <criterion/criterion.h>

#include "daemon/span.h"

#define EXPECT(said, what) cr_expect_str_eq((said).text, what)

Test(span, a_time_has_its_two_greatest_units)
{
        EXPECT(span_time(-5000), "0 s");
        EXPECT(span_time(999), "0 s");
        EXPECT(span_time(12999), "12 s");
        EXPECT(span_time(60000), "1 min");
        EXPECT(span_time(192000), "3 min 12 s");
        EXPECT(span_time(5 * 3600000 + 120000), "5 h 2 min");
        EXPECT(span_time(76 * 3600000), "3 d 4 h");
        EXPECT(span_time(INT64_MAX), "106751991167 d 7 h");
}

Test(span, a_short_time_is_said_finely)
{
        EXPECT(span_short(0), "0 ms");
        EXPECT(span_short(340), "340 ms");
        EXPECT(span_short(1240), "1.2 s");
        EXPECT(span_short(12300), "12 s");
        EXPECT(span_short(90000), "1 min 30 s");
}

Test(span, bytes_are_said_in_powers_of_a_thousand)
{
        EXPECT(span_bytes(0), "0 B");
        EXPECT(span_bytes(980), "980 B");
        EXPECT(span_bytes(1440), "1.4 kB");
        EXPECT(span_bytes(999499), "999 kB");
        EXPECT(span_bytes(999500), "1.0 MB");
        EXPECT(span_bytes(16000000), "16 MB");
        EXPECT(span_bytes(UINT64_MAX), "18 EB");
}
