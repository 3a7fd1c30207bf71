/* module.h -- what one import of pinroute._pinroute holds.
 * Included first everywhere: it chooses the stable ABI, of Python 3.11 and all that come after. */
#ifndef PINROUTE_PYTHON_MODULE_H
#define PINROUTE_PYTHON_MODULE_H

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pinroute.h"

/* Of one interpreter. */
struct state {
        PyTypeObject *router, *scope, *decision;
        PyObject *no_replica;
};

/* __reduce__ of a class that nobody can make: by protocols 0 and 1 Python would pickle it, and fail to load
 * it. */
PyObject *module_refuse_pickle(PyObject *self, PyObject *nothing);

#endif
