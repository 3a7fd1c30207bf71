/* decision.h -- pinroute.Decision: an answer of a router.
 * Immutable, made here only. */
#ifndef PINROUTE_PYTHON_DECISION_H
#define PINROUTE_PYTHON_DECISION_H

#include "names.h"

/* A new Decision; NULL: out of memory. */
PyObject *decision_new(PyTypeObject *type, struct names *names, const struct pinroute_decision *d);

extern PyType_Spec decision_spec;

#endif
