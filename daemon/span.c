/* span.c -- times and sizes as people say them.
 * Pure: no I/O, no clock. */
#include "daemon/span.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

static struct span two_units(int64_t great, const char *great_unit, int64_t small, const char *small_unit)
{
        struct span s;
        if (small)
                snprintf(s.text, sizeof s.text, "%" PRId64 " %s %" PRId64 " %s", great, great_unit, small,
                         small_unit);
        else
                snprintf(s.text, sizeof s.text, "%" PRId64 " %s", great, great_unit);
        return s;
}

struct span span_time(int64_t ms)
{
        int64_t s = ms > 0 ? ms / 1000 : 0, min = s / 60, h = min / 60, d = h / 24;
        if (min < 1)
                return two_units(s, "s", 0, "");
        if (h < 1)
                return two_units(min, "min", s % 60, "s");
        if (d < 1)
                return two_units(h, "h", min % 60, "min");
        return two_units(d, "d", h % 24, "h");
}

struct span span_short(int64_t ms)
{
        struct span s;
        if (ms < 1000)
                return two_units(ms, "ms", 0, "");
        if (ms >= 10000)
                return span_time(ms);
        snprintf(s.text, sizeof s.text, "%.1f s", (double)ms / 1000);
        return s;
}

struct span span_bytes(uint64_t bytes)
{
        static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
        struct span s;
        double value = (double)bytes;
        size_t i = 0;
        for (; value >= 999.5; i++)
                value /= 1000;
        snprintf(s.text, sizeof s.text, i && value < 9.95 ? "%.1f %s" : "%.0f %s", value, unit[i]);
        return s;
}
