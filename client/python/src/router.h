/* router.h -- pinroute.Router: a handle of libpinroute.
 * router.c closes it; others use it with the GIL, or between router_enter() and router_leave(). */
#ifndef PINROUTE_PYTHON_ROUTER_H
#define PINROUTE_PYTHON_ROUTER_H

#include "names.h"

struct router {
        PyObject ob_base;
        struct pinroute *pr;            /* NULL: closed */
        struct pinroute *left;          /* closed with calls inside: the last of them frees it */
        unsigned inside;                /* calls that gave up the GIL */
        PyTypeObject *scope, *decision; /* of what it makes; the module may be gone before us */
        PyObject *no_replica;           /* what it raises */
        struct names names;
};

/* Around a call without the GIL; both are called with it.  Enter returns NULL when the router is closed. */
struct pinroute *router_enter(struct router *self);
void router_leave(struct router *self);

extern PyType_Spec router_spec;

#endif
