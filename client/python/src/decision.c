/* decision.c -- pinroute.Decision: an answer of a router.
 * Outside the garbage collector: it refers to one str, and to its type. */
#include "decision.h"

#include <stddef.h>
#include <structmember.h>

struct decision {
        PyObject ob_base;
        PyObject *node;
        unsigned short role, reason;
        char refused;
        unsigned pin_left_ms;
        unsigned long long epoch;
};

PyObject *decision_new(PyTypeObject *type, struct names *names, const struct pinroute_decision *d, int status)
{
        PyObject *node = names_get(names, d->node);
        if (!node)
                return NULL;
        struct decision *self = PyObject_New(struct decision, type);
        if (!self) {
                Py_DECREF(node);
                return NULL;
        }
        self->node = node;
        self->role = d->role;
        self->reason = d->reason;
        self->refused = status == PINROUTE_E_NO_REPLICA ? 1 : 0;
        self->pin_left_ms = d->pin_left_ms;
        self->epoch = d->epoch;
        return (PyObject *)self;
}

static PyObject *refuse(PyObject *no_replica, unsigned reason)
{
        const char *why = reason == PINROUTE_OVER_BUDGET
                              ? "the primary takes no more such reads this second (primary_budget)"
                              : "such reads are to fail rather than go to the primary (no_replica = error)";
        return PyErr_Format(no_replica, "%s: no replica may be read from, and %s",
                            pinroute_reason_name((int)reason), why);
}

PyObject *decision_node(PyObject *no_replica, struct names *names, const struct pinroute_decision *d,
                        int status)
{
        return status == PINROUTE_E_NO_REPLICA ? refuse(no_replica, d->reason) : names_get(names, d->node);
}

static void dealloc(PyObject *o)
{
        PyTypeObject *type = Py_TYPE(o);
        Py_XDECREF(((struct decision *)o)->node);
        PyObject_Free(o);
        Py_DECREF(type);
}

static PyObject *repr(PyObject *o)
{
        struct decision *self = (struct decision *)o;
        return PyUnicode_FromFormat("Decision(node=%R, role=%s, reason=%s, pin_left_ms=%u, epoch=%llu%s)",
                                    self->node, self->role == PINROUTE_REPLICA ? "REPLICA" : "PRIMARY",
                                    pinroute_reason_name(self->reason), self->pin_left_ms, self->epoch,
                                    self->refused ? ", refused=True" : "");
}

static PyObject *reason_name(PyObject *o, void *nothing)
{
        (void)nothing;
        return PyUnicode_InternFromString(pinroute_reason_name(((struct decision *)o)->reason));
}

static PyMemberDef members[] = {
    {"node", T_OBJECT_EX, offsetof(struct decision, node), READONLY,
     "Name of the node in the daemon's config, interned; '': unknown, use your primary."},
    {"role", T_USHORT, offsetof(struct decision, role), READONLY, "PRIMARY or REPLICA."},
    {"reason", T_USHORT, offsetof(struct decision, reason), READONLY,
     "Why this node: BALANCED, PINNED and so on."},
    {"refused", T_BOOL, offsetof(struct decision, refused), READONLY,
     "True: by no_replica = error or primary_budget this read is to fail; the node is the primary all the "
     "same."},
    {"pin_left_ms", T_UINT, offsetof(struct decision, pin_left_ms), READONLY,
     "Milliseconds that are left of the key's pin, else of the cluster's floor; 0: neither."},
    {"epoch", T_ULONGLONG, offsetof(struct decision, epoch), READONLY,
     "Of the daemon whose store decided; 0: no store."},
    {0},
};

static PyGetSetDef getset[] = {
    {"reason_name", reason_name, NULL, "The reason as text: 'BALANCED'.", NULL},
    {0},
};

static PyMethodDef methods[] = {
    {"__reduce__", module_refuse_pickle, METH_NOARGS, "Raises TypeError: it cannot be pickled."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Where a read or a write goes, as of the moment it was asked.  Immutable."},
    {Py_tp_dealloc, dealloc},
    {Py_tp_repr, repr},
    {Py_tp_members, members},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {0},
};

PyType_Spec decision_spec = {
    .name = "pinroute.Decision",
    .basicsize = sizeof(struct decision),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
