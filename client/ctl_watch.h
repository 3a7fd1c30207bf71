/* ctl_watch.h -- `pinroutectl watch`: what happens, line by line, until interrupted. */
#ifndef PINROUTECTL_WATCH_H
#define PINROUTECTL_WATCH_H

#include "client/ctl.h"

/* cluster: NULL is all.  Returns CTL_OK when interrupted, CTL_ERROR when the daemon cannot be reached at first or
 * refuses; one that goes later is waited for, and both are said. */
enum ctl_exit ctl_watch(const struct ctl *ctl, const char *cluster);

#endif
