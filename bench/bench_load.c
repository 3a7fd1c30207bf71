/* bench_load.c -- pins that arrive at a daemon for as long as it is told; bench_daemon.py watches the daemon meanwhile.
 * bench_load DIR FIRST COUNT RATE MS STEP_US
 *
 * Records COUNT keys, from number FIRST on, RATE a second; 0: as fast as it goes, 64 a frame.  The first pin lasts MS
 * from the beginning, each other STEP_US longer than the one before, or MS from its own record if that is 0.  Says
 * `slowest_us=N`: the longest wait for an answer. */
#include "bench/bench.h"
#include "bench/pump.h"
#include "client/clock.h"

static uint64_t number(const char *word) { return strtoull(word, NULL, 10); }

int main(int argc, char **argv)
{
        struct pump pump;
        char **word = bench_begin(argc, argv, 6, "DIR FIRST COUNT RATE MS STEP_US");
        uint64_t first = number(word[1]), count = number(word[2]), ms = number(word[4]),
                 step = number(word[5]);
        struct pace pace = {.per_second = number(word[3]), .from_ns = clock_ns()};
        void (*record)(struct pump *, uint64_t, unsigned, uint32_t) =
            pace.per_second ? pump_record : pump_batch;
        pump_open(&pump, word[0]);
        for (uint64_t i = 0; i < count; i = pace.done) {
                unsigned n = pace_next(&pace);
                n = i + n > count ? (unsigned)(count - i) : n;
                int64_t late_ms = step ? (clock_ns() - pace.from_ns) / CLOCK_NS_PER_MS : 0;
                record(&pump, first + i, n, (uint32_t)((int64_t)(ms + i * step / 1000) - late_ms));
        }
        printf("slowest_us=%jd\n", (intmax_t)(pump.slowest_ns / 1000));
        return 0;
}
