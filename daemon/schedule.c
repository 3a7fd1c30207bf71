/* schedule.c -- smooth weighted round robin.
 * Pure: no I/O, no clock. */
#include "daemon/schedule.h"

static unsigned common_divisor(unsigned a, unsigned b)
{
        while (b) {
                unsigned rest = a % b;
                a = b;
                b = rest;
        }
        return a;
}

/* Brings the weights to the smallest whole numbers of the same proportions; returns their sum. */
static unsigned reduce(unsigned *weight, unsigned n)
{
        unsigned divisor = 0, sum = 0;
        for (unsigned i = 0; i < n; i++)
                divisor = common_divisor(divisor, weight[i]);
        for (unsigned i = 0; divisor && i < n; i++) {
                weight[i] /= divisor;
                sum += weight[i];
        }
        return sum;
}

static unsigned scale_down(unsigned *weight, unsigned n, unsigned sum)
{
        unsigned target = PNR_SCHEDULE_MAX - n; /* room for those that are lifted to one place */
        unsigned scaled = 0;
        for (unsigned i = 0; i < n; i++) {
                if (weight[i]) {
                        weight[i] = (weight[i] * target + sum / 2) / sum;
                        weight[i] = weight[i] ? weight[i] : 1;
                }
                scaled += weight[i];
        }
        return scaled;
}

unsigned schedule_build(const unsigned *given, unsigned n, uint8_t ret[PNR_SCHEDULE_MAX])
{
        unsigned weight[PNR_NODES_MAX];
        long credit[PNR_NODES_MAX] = {0};
        for (unsigned i = 0; i < n; i++)
                weight[i] = given[i];
        unsigned sum = reduce(weight, n);
        if (sum > PNR_SCHEDULE_MAX)
                sum = scale_down(weight, n, sum);
        for (unsigned place = 0; place < sum; place++) {
                unsigned best = n;
                for (unsigned i = 0; i < n; i++) {
                        credit[i] += weight[i];
                        if (weight[i] && (best == n || credit[i] > credit[best]))
                                best = i;
                }
                credit[best] -= sum;
                ret[place] = (uint8_t)best;
        }
        return sum;
}
