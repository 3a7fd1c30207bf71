/* scope.h -- pinroute.Scope: one request.
 * Made by Router.scope() only. */
#ifndef PINROUTE_PYTHON_SCOPE_H
#define PINROUTE_PYTHON_SCOPE_H

#include "args.h"
#include "router.h"

/* A new Scope of an open or closed router; NULL with an exception set. */
PyObject *scope_new(struct router *router, unsigned cluster, const struct key *key);

extern PyType_Spec scope_spec;

#endif
