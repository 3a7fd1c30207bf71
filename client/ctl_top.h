/* ctl_top.h -- `pinroutectl top`: a live view on a terminal, a line per interval elsewhere. */
#ifndef PINROUTECTL_TOP_H
#define PINROUTECTL_TOP_H

#include "client/ctl.h"

/* Returns CTL_OK when ended by a key, a signal or the count; CTL_ERROR where no daemon answers at first.  One that
 * goes later is told and waited for. */
enum ctl_exit ctl_top(const struct ctl *ctl);

#endif
