/* trouble.h -- what keeps this daemon from giving what it was configured to give, in sentences.  Reads, changes
 * nothing. */
#ifndef PINROUTED_TROUBLE_H
#define PINROUTED_TROUBLE_H

#include "daemon/core.h"

/* Says each; returns how many there are.  0: all is well, and `pinroutectl status` ends with 0. */
typedef void trouble_say_fn(void *arg, const char *sentence);
unsigned trouble_tell(const struct core *core, struct mono now, trouble_say_fn *say, void *arg);

#endif
