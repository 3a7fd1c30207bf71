/* scope.c -- pinroute.Scope: one request.
 * Any thread may call it; the GIL keeps them apart, and `busy` while a call has given that up. */
#include "scope.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "decision.h"

struct scope {
        PyObject ob_base;
        struct router *router;
        bool wrote;                 /* so that end() has something to wait for */
        pid_t busy;                 /* a thread of this process is inside without the GIL; 0: none */
        struct pinroute_scope used; /* while the router is open */
};

PyObject *scope_new(struct router *router, unsigned cluster, const struct key *key)
{
        struct pinroute_scope begun;
        pinroute_scope_begin(&begun, router->pr, cluster, key->bytes, key->len);
        if (begun.status != PINROUTE_OK && router->pr)
                return args_no_cluster();
        struct scope *self = (struct scope *)PyType_GenericAlloc(router->scope, 0);
        if (!self)
                return NULL;
        self->used = begun;
        self->router = (struct router *)Py_NewRef((PyObject *)router);
        return (PyObject *)self;
}

/* No tp_clear: as for the router. */
static int traverse(PyObject *o, visitproc visit, void *arg)
{
        Py_VISIT(Py_TYPE(o));
        Py_VISIT(((struct scope *)o)->router);
        return 0;
}

static void dealloc(PyObject *o)
{
        PyTypeObject *type = Py_TYPE(o);
        PyObject_GC_UnTrack(o);
        Py_XDECREF((PyObject *)((struct scope *)o)->router);
        PyObject_GC_Del(o);
        Py_DECREF(type);
}

/* Waits for the thread that is inside, which the router's timeout ends.  After a fork it is not in this
 * process: whatever it left half done, the primary is right. */
static void settle(struct scope *self)
{
        while (self->busy == getpid()) {
                PyThreadState *ours = PyEval_SaveThread();
                nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
                PyEval_RestoreThread(ours);
        }
        if (self->busy) {
                self->busy = 0;
                pinroute_scope_wrote(&self->used);
        }
}

/* The scope at rest; NULL: its router is closed. */
static struct pinroute_scope *at_rest(struct scope *self)
{
        if (self->busy)
                settle(self);
        return self->router->pr ? &self->used : NULL;
}

static PyObject *read_scope(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"read", 0, 1, {"within_ms"}};
        struct scope *self = (struct scope *)o;
        struct router *router = self->router;
        PyObject *args[ARGS_MAX];
        struct pinroute_decision d;
        unsigned ms;
        bool bounded;
        if (!args_take(&s, given, n, kwnames, args) || !args_within(args[0], &bounded, &ms))
                return NULL;
        int status = bounded ? pinroute_scope_read_within(at_rest(self), ms, &d)
                             : pinroute_scope_read(at_rest(self), &d);
        return decision_new(router->decision, &router->names, &d, status);
}

static PyObject *node(PyObject *o, PyObject *nothing)
{
        (void)nothing;
        struct scope *self = (struct scope *)o;
        struct pinroute_decision d;
        int status = pinroute_scope_read(at_rest(self), &d);
        return decision_node(self->router->no_replica, &self->router->names, &d, status);
}

static PyObject *wrote(PyObject *o, PyObject *nothing)
{
        (void)nothing;
        struct scope *self = (struct scope *)o;
        pinroute_scope_wrote(at_rest(self));
        self->wrote = true;
        return Py_NewRef(Py_None);
}

static PyObject *force_primary(PyObject *o, PyObject *nothing)
{
        (void)nothing;
        pinroute_scope_force_primary(at_rest((struct scope *)o));
        return Py_NewRef(Py_None);
}

static PyObject *unforce(PyObject *o, PyObject *nothing)
{
        (void)nothing;
        pinroute_scope_unforce(at_rest((struct scope *)o));
        return Py_NewRef(Py_None);
}

static PyObject *rekey(PyObject *o, PyObject *arg)
{
        struct key key;
        if (!key_take(arg, true, &key))
                return NULL;
        struct pinroute_scope *used = at_rest((struct scope *)o);
        if (used)
                pinroute_scope_rekey(used, key.bytes, key.len);
        key_drop(&key);
        return Py_NewRef(Py_None);
}

/* Runs the call without the GIL, and others find the scope busy meanwhile. */
static int without_gil(struct scope *self, int (*call)(struct pinroute_scope *, const char *),
                       const char *arg)
{
        router_enter(self->router);
        self->busy = getpid();
        PyThreadState *ours = PyEval_SaveThread();
        int status = call(&self->used, arg);
        PyEval_RestoreThread(ours);
        self->busy = 0;
        router_leave(self->router);
        return status;
}

static int call_end(struct pinroute_scope *used, const char *nothing)
{
        (void)nothing;
        return pinroute_scope_end(used);
}

static int call_accept(struct pinroute_scope *used, const char *token)
{
        return pinroute_token_accept(used->pr, used->cluster, token, used);
}

static PyObject *end(PyObject *o, PyObject *nothing)
{
        (void)nothing;
        struct scope *self = (struct scope *)o;
        struct pinroute_scope *used = at_rest(self);
        bool waits = self->wrote;
        int status = waits ? PINROUTE_E_UNREACHABLE : PINROUTE_OK;
        self->wrote = false;
        if (used)
                status = waits ? without_gil(self, call_end, NULL) : pinroute_scope_end(used);
        return PyLong_FromLong(status);
}

/* false: TypeError.  *ret NULL: not a text that a token could be. */
static bool token_text(PyObject *o, const char **ret)
{
        Py_ssize_t len = 0;
        if (PyUnicode_Check(o)) {
                *ret = PyUnicode_AsUTF8AndSize(o, &len);
                if (!*ret && !PyErr_ExceptionMatches(PyExc_UnicodeError))
                        return false;
                PyErr_Clear();
        } else if (PyBytes_Check(o)) {
                *ret = PyBytes_AsString(o);
                len = PyBytes_Size(o);
        } else {
                PyErr_Format(PyExc_TypeError, "token: a str or bytes, not %R", Py_TYPE(o));
                return false;
        }
        if (*ret && strlen(*ret) != (size_t)len)
                *ret = NULL;
        return true;
}

static PyObject *accept_token(PyObject *o, PyObject *arg)
{
        struct scope *self = (struct scope *)o;
        const char *token;
        if (!token_text(arg, &token))
                return NULL;
        int status = PINROUTE_E_TOKEN_FORGED;
        if (!at_rest(self))
                status = PINROUTE_E_STORE;
        else if (token)
                status = without_gil(self, call_accept, token);
        return PyLong_FromLong(status);
}

static PyObject *enter(PyObject *o, PyObject *nothing)
{
        (void)nothing;
        return Py_NewRef(o);
}

static PyObject *leave(PyObject *o, PyObject *const *given, Py_ssize_t n)
{
        (void)given;
        (void)n;
        PyObject *status = end(o, NULL);
        Py_XDECREF(status);
        return status ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))read_scope, METH_FASTCALL | METH_KEYWORDS,
     "read($self, /, within_ms=None)\n--\n\n"
     "Decide where the request's next read goes.\n\n"
     "The first read decides and later ones repeat it, until the scope writes or is forced, or the decision "
     "is\n"
     "too old to be repeated.  within_ms: as for Router.route_read(); a replica is then decided on anew, "
     "and\n"
     "stays the one that it was while it is within the bound."},
    {"node", node, METH_NOARGS,
     "node($self, /)\n--\n\n"
     "Decide as read() does, and return the node's name alone; '': unknown, use your primary.\n\n"
     "Raises NoReplica where read() has `refused`."},
    {"wrote", wrote, METH_NOARGS,
     "wrote($self, /)\n--\n\n"
     "The request has written, or is about to: its reads go to the primary from here on."},
    {"end", end, METH_NOARGS,
     "end($self, /)\n--\n\n"
     "End the request: records the write, if wrote() was called and there is a key; returns a status.\n\n"
     "Call it after COMMIT.  OK: recorded, or nothing to record.  Waits as Router.record_write() does."},
    {"rekey", rekey, METH_O,
     "rekey($self, key, /)\n--\n\n"
     "The request's identity became known, or changed: from here on this key counts; None: no identity.\n\n"
     "What the old key's pin and accepted tokens ask for is still asked for."},
    {"accept", accept_token, METH_O,
     "accept($self, token, /)\n--\n\n"
     "Accept a token, so that the scope sees what was recorded before it was issued; returns a status.\n\n"
     "Any text from anyone: E_TOKEN_FORGED, E_TOKEN_EXPIRED and E_TOKEN_FOREIGN leave the scope as it was,\n"
     "E_STORE and E_CLUSTER send its reads to the primary.  Waits as Router.record_write() does."},
    {"force_primary", force_primary, METH_NOARGS,
     "force_primary($self, /)\n--\n\n"
     "Send the request's reads to the primary, until as many calls of unforce()."},
    {"unforce", unforce, METH_NOARGS,
     "unforce($self, /)\n--\n\n"
     "Undo one force_primary()."},
    {"__enter__", enter, METH_NOARGS, "__enter__($self, /)\n--\n\nReturn the scope itself."},
    {"__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL,
     "__exit__($self, /, *exception)\n--\n\nCall end(), also when the block raised; no exception is "
     "swallowed."},
    {"__reduce__", module_refuse_pickle, METH_NOARGS, "Raises TypeError: it cannot be pickled."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "One request: what Router.scope() returns.\n\n"
                "Any thread may call it.  As a context manager it ends at the end of the block."},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_methods, methods},
    {0},
};

PyType_Spec scope_spec = {
    .name = "pinroute.Scope",
    .basicsize = sizeof(struct scope),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
