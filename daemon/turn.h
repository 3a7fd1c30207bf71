/* turn.h -- how long a turn of the loop takes: from its wake-up to going back to wait, nothing left out.
 * One loop in a process. */
#ifndef PINROUTED_TURN_H
#define PINROUTED_TURN_H

#include <stdint.h>

/* The loop is awake: the first words of whatever it may call first.  Only the first call of a turn counts. */
void turn_woke(void);

/* It is about to wait: microseconds since turn_woke(), 0 where that was not called since the last time. */
uint64_t turn_ended(void);

#endif
