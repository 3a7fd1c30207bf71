/* turn.c -- how long a turn of the loop takes.
 * Reads a clock of its own, beside the one that is handed down: the turn's length is not known at its beginning. */
#include "daemon/turn.h"

#include <time.h>

static int64_t woke_us; /* 0: it waits */

static int64_t clock_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void turn_woke(void)
{
        if (!woke_us)
                woke_us = clock_us();
}

uint64_t turn_ended(void)
{
        uint64_t took_us = woke_us ? (uint64_t)(clock_us() - woke_us) : 0;
        woke_us = 0;
        return took_us;
}
