/* decision.h -- pinroute.Decision: an answer of a router.
 * Immutable, made here only. */
#ifndef PINROUTE_PYTHON_DECISION_H
#define PINROUTE_PYTHON_DECISION_H

#include "names.h"

/* A new Decision; NULL: out of memory.  status: what libpinroute returned beside it. */
PyObject *decision_new(PyTypeObject *type, struct names *names, const struct pinroute_decision *d,
                       int status);

/* Its node's name alone; NULL: out of memory, or `no_replica` raised, since a name would not tell of a refusal. */
PyObject *decision_node(PyObject *no_replica, struct names *names, const struct pinroute_decision *d,
                        int status);

extern PyType_Spec decision_spec;

#endif
