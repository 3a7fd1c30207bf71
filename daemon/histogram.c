/* histogram.c -- how often a time fell below each of some bounds.
 * Pure. */
#include "daemon/histogram.h"

#define MS(ms) ((ms)*1000u)

const struct histogram_bounds histogram_of_checks = {{MS(1), 2500, MS(5), MS(10), MS(25), MS(50), MS(100),
                                                      MS(250), MS(500), MS(1000), MS(2500), MS(5000),
                                                      MS(10000)}};
const struct histogram_bounds histogram_of_releases = {{MS(5), MS(10), MS(25), MS(50), MS(100), MS(250),
                                                        MS(500), MS(1000), MS(2500), MS(5000), MS(10000),
                                                        MS(30000), MS(60000)}};

void histogram_add(struct histogram *h, const struct histogram_bounds *by, uint64_t us, uint64_t times)
{
        unsigned i = 0;
        while (i < HISTOGRAM_BOUNDS && us > by->us[i])
                i++;
        h->n[i] += times;
        h->sum_us += us * times;
}
