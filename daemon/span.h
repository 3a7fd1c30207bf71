/* span.h -- times and sizes as people say them: "3 min 12 s", "1.4 MB".
 * Pure: numbers in, a short text out. */
#ifndef PINROUTED_SPAN_H
#define PINROUTED_SPAN_H

#include <stdint.h>

struct span {
        char text[32];
};

/* The two greatest units: "0 s", "12 s", "3 min 12 s", "5 h 2 min", "3 d 4 h".  Less than nothing is "0 s". */
struct span span_time(int64_t ms);

/* "0 ms", "340 ms", "1.2 s", "12 s", then as span_time(). */
struct span span_short(int64_t ms);

/* "0 B", "980 B", "1.4 kB", "16 MB": powers of 1000. */
struct span span_bytes(uint64_t bytes);

#endif
