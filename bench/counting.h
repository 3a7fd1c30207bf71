/* counting.h -- what counting adds to a decision: the stub beside the same stub that counts nothing.
 * Both are loaded as libraries, so that they are called alike. */
#ifndef BENCH_COUNTING_H
#define BENCH_COUNTING_H

/* Of unkeyed reads of the store in this directory: prints the row. */
void counting_measure(const char *name, const char *dir);

#endif
