/* scope.h -- one request's view, as far as tokens need it.
 * scope.c is the only file that writes into one. */
#ifndef PINROUTE_SCOPE_H
#define PINROUTE_SCOPE_H

#include "client/choose.h"
#include "client/pinroute.h"

/* From here on the scope's reads need this, too.  By our own clock; one that is not live changes nothing. */
void scope_add_need(struct pinroute_scope *s, const struct need *need);

#endif
