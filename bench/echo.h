/* echo.h -- the least that a daemon like ours could do: the same loop and kind of socket, frames of the same sizes,
 * and nothing in between. */
#ifndef BENCH_ECHO_H
#define BENCH_ECHO_H

#include <stdbool.h>

/* A server on the first core, which ends with us, and the descriptor of a connection to it. */
int echo_start(void);

/* One question, one answer. */
bool echo_ask(int fd);

#endif
