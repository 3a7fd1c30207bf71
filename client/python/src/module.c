/* module.c -- pinroute._pinroute: libpinroute as a Python module.
 * Nothing here is global: each interpreter that imports it has its own types. */
#include "module.h"

#include <stdbool.h>
#include <string.h>

#include "args.h"
#include "decision.h"
#include "router.h"
#include "scope.h"

PyObject *module_refuse_pickle(PyObject *self, PyObject *nothing)
{
        (void)nothing;
        PyErr_Format(PyExc_TypeError, "cannot pickle %R: it belongs to this process", Py_TYPE(self));
        return NULL;
}

static PyObject *strerror_of(PyObject *module, PyObject *status)
{
        (void)module;
        unsigned number;
        return args_number(status, "status", 0, &number)
                   ? PyUnicode_FromString(pinroute_strerror((int)number))
                   : NULL;
}

static PyObject *reason_name_of(PyObject *module, PyObject *reason)
{
        (void)module;
        unsigned number;
        return args_number(reason, "reason", 0, &number)
                   ? PyUnicode_FromString(pinroute_reason_name((int)number))
                   : NULL;
}

static PyObject *version(PyObject *module, PyObject *nothing)
{
        (void)module;
        (void)nothing;
        return PyUnicode_FromString(pinroute_version());
}

static PyObject *http_method_writes(PyObject *module, PyObject *method)
{
        (void)module;
        const char *text = NULL;
        if (method != Py_None && !args_text(method, "method", &text))
                return NULL;
        return PyBool_FromLong(pinroute_http_method_writes(text));
}

static PyMethodDef functions[] = {
    {"strerror", strerror_of, METH_O,
     "strerror($module, status, /)\n--\n\n"
     "Return the sentence for a status."},
    {"reason_name", reason_name_of, METH_O,
     "reason_name($module, reason, /)\n--\n\n"
     "Return the name of a reason: 'CAUGHT_UP'."},
    {"version", version, METH_NOARGS,
     "version($module, /)\n--\n\n"
     "Return the version of libpinroute in this module."},
    {"http_method_writes", http_method_writes, METH_O,
     "http_method_writes($module, method, /)\n--\n\n"
     "Does this HTTP method write?  Anything but GET, HEAD, OPTIONS and TRACE does; None writes."},
    {0},
};

#define CONSTANT(name)                                                                                       \
        {                                                                                                    \
#name, PINROUTE_##name                                                                       \
        }
static const struct constant {
        const char *name;
        int value;
} constants[] = {
    CONSTANT(OK),
    CONSTANT(E_INVALID),
    CONSTANT(E_CLUSTER),
    CONSTANT(E_NODE),
    CONSTANT(E_STORE),
    CONSTANT(E_UNREACHABLE),
    CONSTANT(E_REFUSED),
    CONSTANT(E_NO_REPLICA),
    CONSTANT(E_TOKEN_FORGED),
    CONSTANT(E_TOKEN_EXPIRED),
    CONSTANT(E_TOKEN_FOREIGN),
    CONSTANT(E_MEMORY),
    CONSTANT(PRIMARY),
    CONSTANT(REPLICA),
    CONSTANT(BALANCED),
    CONSTANT(PINNED),
    CONSTANT(CAUGHT_UP),
    CONSTANT(FORCED),
    CONSTANT(NO_REPLICA),
    CONSTANT(FLOOR),
    CONSTANT(STORE_STALE),
    CONSTANT(STORE_UNAVAILABLE),
    CONSTANT(WRITE),
    CONSTANT(AFFINITY),
    CONSTANT(BEHIND),
    CONSTANT(OVER_BUDGET),
    CONSTANT(KEY_MAX),
};

static bool add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **ret)
{
        *ret = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
        return *ret && PyModule_AddType(module, *ret) == 0;
}

static bool add_exception(PyObject *module, PyObject **ret)
{
        *ret = PyErr_NewExceptionWithDoc("pinroute.NoReplica",
                                         "No replica may be read from, and the daemon's config has such "
                                         "reads fail: by no_replica = error or\n"
                                         "primary_budget.  Raised by calls that return a node's name alone.",
                                         NULL, NULL);
        return *ret && PyModule_AddObjectRef(module, "NoReplica", *ret) == 0;
}

static int execute(PyObject *module)
{
        struct state *state = PyModule_GetState(module);
        if (!add_type(module, &router_spec, &state->router) ||
            !add_type(module, &scope_spec, &state->scope) ||
            !add_type(module, &decision_spec, &state->decision) || !add_exception(module, &state->no_replica))
                return -1;
        for (const struct constant *c = constants; c < constants + sizeof constants / sizeof *constants; c++)
                if (PyModule_AddIntConstant(module, c->name, c->value) != 0)
                        return -1;
        return 0;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
        struct state *state = PyModule_GetState(module);
        Py_VISIT(state->router);
        Py_VISIT(state->scope);
        Py_VISIT(state->decision);
        Py_VISIT(state->no_replica);
        return 0;
}

static int clear(PyObject *module)
{
        struct state *state = PyModule_GetState(module);
        Py_CLEAR(state->router);
        Py_CLEAR(state->scope);
        Py_CLEAR(state->decision);
        Py_CLEAR(state->no_replica);
        return 0;
}

static void free_module(void *module) { clear(module); }

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pinroute._pinroute",
    .m_doc = "libpinroute: which PostgreSQL server should this process's next read go to?",
    .m_size = sizeof(struct state),
    .m_methods = functions,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC PyInit__pinroute(void);

PyMODINIT_FUNC PyInit__pinroute(void) { return PyModuleDef_Init(&definition); }
