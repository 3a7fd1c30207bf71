/* router.c -- pinroute.Router: a handle of libpinroute.
 * The only file that opens and closes one.  A call that may wait gives up the GIL. */
#include "router.h"

#include <string.h>
#include <structmember.h>

#include "args.h"
#include "decision.h"
#include "scope.h"

#define ENDPOINT_SIZE 512

struct pinroute *router_enter(struct router *self)
{
        if (self->pr)
                self->inside++;
        return self->pr;
}

void router_leave(struct router *self)
{
        if (--self->inside == 0)
                pinroute_close(&self->left);
}

static void close_handle(struct router *self)
{
        self->left = self->pr ? self->pr : self->left;
        self->pr = NULL;
        if (self->inside == 0)
                pinroute_close(&self->left);
}

static bool set_timeout(struct pinroute *pr, PyObject *ms)
{
        unsigned timeout_ms;
        if (ms == Py_None)
                return true;
        if (!args_number(ms, "timeout_ms", 1, &timeout_ms))
                return false;
        if (pinroute_set_timeout(pr, timeout_ms) == PINROUTE_OK)
                return true;
        PyErr_Format(PyExc_ValueError, "timeout_ms: 1 to 60000, not %u", timeout_ms);
        return false;
}

static struct pinroute *open_handle(PyObject *dir, PyObject *timeout_ms)
{
        struct pinroute *pr;
        PyObject *path = NULL;
        if (dir != Py_None && !PyUnicode_FSConverter(dir, &path))
                return NULL;
        const char *name = path ? PyBytes_AsString(path) : NULL;
        PyThreadState *ours = PyEval_SaveThread();
        int status = pinroute_open(&pr, name);
        PyEval_RestoreThread(ours);
        Py_XDECREF(path);
        if (status == PINROUTE_E_INVALID)
                PyErr_Format(PyExc_ValueError, "dir: too short or too long for a socket's address: %R", dir);
        else if (status != PINROUTE_OK)
                PyErr_NoMemory();
        else if (!set_timeout(pr, timeout_ms))
                pinroute_close(&pr);
        return pr;
}

static bool is_no_replica(const struct state *state, PyObject *o)
{
        if (PyType_Check(o) && PyType_IsSubtype((PyTypeObject *)o, (PyTypeObject *)state->no_replica))
                return true;
        PyErr_Format(PyExc_TypeError, "no_replica: NoReplica or a class derived from it, not %R", o);
        return false;
}

static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
        static char first[] = "dir", second[] = "timeout_ms", third[] = "no_replica";
        static char *names[] = {first, second, third, NULL};
        const struct state *state = PyType_GetModuleState(type);
        PyObject *dir = Py_None, *timeout_ms = Py_None, *no_replica = state->no_replica;
        if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OO:Router", names, &dir, &timeout_ms,
                                         &no_replica) ||
            !is_no_replica(state, no_replica))
                return NULL;
        struct pinroute *pr = open_handle(dir, timeout_ms);
        struct router *self = pr ? (struct router *)PyType_GenericAlloc(type, 0) : NULL;
        if (!self) {
                pinroute_close(&pr);
                return NULL;
        }
        self->pr = pr;
        self->scope = (PyTypeObject *)Py_NewRef((PyObject *)state->scope);
        self->decision = (PyTypeObject *)Py_NewRef((PyObject *)state->decision);
        self->no_replica = Py_NewRef(no_replica);
        return (PyObject *)self;
}

/* No tp_clear: of a cycle, the types and modules in it are what can be undone. */
static int traverse(PyObject *o, visitproc visit, void *arg)
{
        Py_VISIT(Py_TYPE(o));
        Py_VISIT(((struct router *)o)->scope);
        Py_VISIT(((struct router *)o)->decision);
        Py_VISIT(((struct router *)o)->no_replica);
        return 0;
}

static void dealloc(PyObject *o)
{
        struct router *self = (struct router *)o;
        PyTypeObject *type = Py_TYPE(o);
        PyObject_GC_UnTrack(o);
        close_handle(self);
        names_fini(&self->names);
        Py_XDECREF((PyObject *)self->scope);
        Py_XDECREF((PyObject *)self->decision);
        Py_XDECREF(self->no_replica);
        PyObject_GC_Del(o);
        Py_DECREF(type);
}

/* cluster() of a name: its number and libpinroute's status, or false with ValueError set. */
static bool number_of(struct router *self, PyObject *o, unsigned *ret, int *status)
{
        const char *name;
        if (!args_text(o, "name", &name))
                return false;
        *ret = 0;
        *status = PINROUTE_OK;
        if (!self->pr)
                return true;
        *status = pinroute_cluster(self->pr, name, ret);
        if (*status != PINROUTE_E_INVALID)
                return true;
        PyErr_Format(PyExc_ValueError, "name: 1 to %d of [A-Za-z0-9_.-], and no more than %d names, not %R",
                     PINROUTE_NODE_SIZE - 1, PINROUTE_CLUSTERS_MAX, o);
        return false;
}

static PyObject *cluster(PyObject *o, PyObject *name)
{
        unsigned number;
        int status;
        return number_of((struct router *)o, name, &number, &status) ? PyLong_FromUnsignedLong(number) : NULL;
}

static PyObject *has_cluster(PyObject *o, PyObject *name)
{
        unsigned number;
        int status;
        if (!number_of((struct router *)o, name, &number, &status))
                return NULL;
        return PyBool_FromLong(status != PINROUTE_E_CLUSTER);
}

/* A status that the caller's arguments are to blame for.  A closed router finds fault with all of them. */
static bool is_refused(const struct router *self, int status)
{
        if (status != PINROUTE_E_INVALID || !self->pr)
                return false;
        args_no_cluster();
        return true;
}

/* libpinroute's status; -1: an exception is set. */
static int read_to(struct router *self, const struct signature *s, PyObject *const *given, Py_ssize_t n,
                   PyObject *kwnames, struct pinroute_decision *ret)
{
        PyObject *args[ARGS_MAX];
        unsigned number, ms;
        bool bounded;
        struct key key;
        if (!args_take(s, given, n, kwnames, args) || !args_number(args[0], "cluster", 0, &number) ||
            !args_within(args[2], &bounded, &ms) || !key_take(args[1], true, &key))
                return -1;
        int status = bounded ? pinroute_route_read_within(self->pr, number, key.bytes, key.len, ms, ret)
                             : pinroute_route_read(self->pr, number, key.bytes, key.len, ret);
        key_drop(&key);
        return is_refused(self, status) ? -1 : status;
}

static PyObject *route_read(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"route_read", 1, 3, {"cluster", "key", "within_ms"}};
        struct router *self = (struct router *)o;
        struct pinroute_decision d;
        int status = read_to(self, &s, given, n, kwnames, &d);
        return status >= 0 ? decision_new(self->decision, &self->names, &d, status) : NULL;
}

static PyObject *node_for_read(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"node_for_read", 1, 3, {"cluster", "key", "within_ms"}};
        struct router *self = (struct router *)o;
        struct pinroute_decision d;
        int status = read_to(self, &s, given, n, kwnames, &d);
        return status >= 0 ? decision_node(self->no_replica, &self->names, &d, status) : NULL;
}

static bool write_to(struct router *self, PyObject *o, struct pinroute_decision *ret)
{
        unsigned number;
        return args_number(o, "cluster", 0, &number) &&
               !is_refused(self, pinroute_route_write(self->pr, number, ret));
}

static PyObject *route_write(PyObject *o, PyObject *number)
{
        struct router *self = (struct router *)o;
        struct pinroute_decision d;
        return write_to(self, number, &d) ? decision_new(self->decision, &self->names, &d, PINROUTE_OK)
                                          : NULL;
}

static PyObject *node_for_write(PyObject *o, PyObject *number)
{
        struct router *self = (struct router *)o;
        struct pinroute_decision d;
        return write_to(self, number, &d) ? names_get(&self->names, d.node) : NULL;
}

typedef int teller(struct pinroute *, unsigned, const void *, size_t, unsigned);

static PyObject *tell(struct router *self, teller *call, unsigned number, const struct key *key,
                      unsigned time)
{
        int status = PINROUTE_E_UNREACHABLE;
        struct pinroute *pr = router_enter(self);
        if (pr) {
                PyThreadState *ours = PyEval_SaveThread();
                status = call(pr, number, key->bytes, key->len, time);
                PyEval_RestoreThread(ours);
                router_leave(self);
        }
        return is_refused(self, status) ? NULL : PyLong_FromLong(status);
}

static PyObject *record_write(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"record_write", 2, 3, {"cluster", "key", "seconds"}};
        PyObject *args[ARGS_MAX];
        unsigned number, seconds = 0;
        struct key key;
        if (!args_take(&s, given, n, kwnames, args) || !args_number(args[0], "cluster", 0, &number) ||
            (args[2] && !args_number(args[2], "seconds", 0, &seconds)) || !key_take(args[1], false, &key))
                return NULL;
        PyObject *status = tell((struct router *)o, pinroute_record_write, number, &key, seconds);
        key_drop(&key);
        return status;
}

static PyObject *record_writes(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"record_writes", 2, 3, {"cluster", "keys", "seconds"}};
        struct router *self = (struct router *)o;
        PyObject *args[ARGS_MAX];
        unsigned number, seconds = 0;
        struct keys keys;
        if (!args_take(&s, given, n, kwnames, args) || !args_number(args[0], "cluster", 0, &number) ||
            (args[2] && !args_number(args[2], "seconds", 0, &seconds)) || !keys_take(args[1], &keys))
                return NULL;
        int status = PINROUTE_E_UNREACHABLE;
        struct pinroute *pr = router_enter(self);
        if (pr) {
                PyThreadState *ours = PyEval_SaveThread();
                status = pinroute_record_writes(pr, number, keys.key, keys.n, seconds);
                PyEval_RestoreThread(ours);
                router_leave(self);
        }
        keys_drop(&keys);
        return is_refused(self, status) ? NULL : PyLong_FromLong(status);
}

static PyObject *hold(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"hold", 3, 3, {"cluster", "key", "ms"}};
        PyObject *args[ARGS_MAX];
        unsigned number, ms;
        struct key key;
        if (!args_take(&s, given, n, kwnames, args) || !args_number(args[0], "cluster", 0, &number) ||
            !args_number(args[2], "ms", 1, &ms) || !key_take(args[1], false, &key))
                return NULL;
        PyObject *status = tell((struct router *)o, pinroute_hold, number, &key, ms);
        key_drop(&key);
        return status;
}

static PyObject *token_issue(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"token_issue", 2, 2, {"cluster", "key"}};
        struct router *self = (struct router *)o;
        PyObject *args[ARGS_MAX];
        char token[PINROUTE_TOKEN_SIZE];
        unsigned number;
        struct key key;
        if (!args_take(&s, given, n, kwnames, args) || !args_number(args[0], "cluster", 0, &number) ||
            !key_take(args[1], false, &key))
                return NULL;
        int status = pinroute_token_issue(self->pr, number, key.bytes, key.len, token, sizeof token);
        key_drop(&key);
        if (is_refused(self, status))
                return NULL;
        return status == PINROUTE_OK ? PyUnicode_FromString(token) : Py_NewRef(Py_None);
}

static PyObject *endpoint(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"endpoint", 2, 2, {"cluster", "node"}};
        struct router *self = (struct router *)o;
        PyObject *args[ARGS_MAX];
        char text[ENDPOINT_SIZE];
        unsigned number;
        const char *node;
        if (!args_take(&s, given, n, kwnames, args) || !args_number(args[0], "cluster", 0, &number) ||
            !args_text(args[1], "node", &node))
                return NULL;
        int status = pinroute_endpoint(self->pr, number, node, text, sizeof text);
        if (is_refused(self, status))
                return NULL;
        return status == PINROUTE_OK ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace")
                                     : Py_NewRef(Py_None);
}

static PyObject *scope(PyObject *o, PyObject *const *given, Py_ssize_t n, PyObject *kwnames)
{
        static const struct signature s = {"scope", 1, 2, {"cluster", "key"}};
        PyObject *args[ARGS_MAX];
        unsigned number;
        struct key key;
        if (!args_take(&s, given, n, kwnames, args) || !args_number(args[0], "cluster", 0, &number) ||
            !key_take(args[1], true, &key))
                return NULL;
        PyObject *made = scope_new((struct router *)o, number, &key);
        key_drop(&key);
        return made;
}

static PyObject *close_router(PyObject *o, PyObject *nothing)
{
        (void)nothing;
        close_handle((struct router *)o);
        return Py_NewRef(Py_None);
}

static PyObject *is_closed(PyObject *o, void *nothing)
{
        (void)nothing;
        return PyBool_FromLong(!((struct router *)o)->pr);
}

#define FAST(f) (PyCFunction)(void (*)(void))(f), METH_FASTCALL | METH_KEYWORDS

static PyMethodDef methods[] = {
    {"cluster", cluster, METH_O,
     "cluster($self, name, /)\n--\n\n"
     "Number a cluster, once, for the other calls.\n\n"
     "The number belongs to this router.  It is given also while no store has a cluster of that name, and "
     "works\n"
     "as soon as one has.  ValueError: a bad name, or more names than a router can number."},
    {"has_cluster", has_cluster, METH_O,
     "has_cluster($self, name, /)\n--\n\n"
     "False when a store can be read and lacks the cluster; True also when none can be read."},
    {"route_read", FAST(route_read),
     "route_read($self, /, cluster, key=None, within_ms=None)\n--\n\n"
     "Decide where a read for the key goes; without a key no pin is asked for.\n\n"
     "within_ms: only a replica that is known to have all that the primary had so long ago, else the "
     "primary\n"
     "(BEHIND).  Reads shared memory: no system call, no lock.  On any doubt the answer is the primary, "
     "also\n"
     "where the read is `refused`."},
    {"node_for_read", FAST(node_for_read),
     "node_for_read($self, /, cluster, key=None, within_ms=None)\n--\n\n"
     "Decide as route_read() does, and return the node's name alone.\n\n"
     "The same name is the same str object, so no call makes one.  '': unknown, use your primary.\n"
     "Raises NoReplica where route_read() has `refused`."},
    {"route_write", route_write, METH_O,
     "route_write($self, cluster, /)\n--\n\n"
     "Say where a write goes: the primary."},
    {"node_for_write", node_for_write, METH_O,
     "node_for_write($self, cluster, /)\n--\n\n"
     "Say where a write goes, by the node's name alone; '': unknown, use your primary."},
    {"record_write", FAST(record_write),
     "record_write($self, /, cluster, key, seconds=0)\n--\n\n"
     "Record that a write for the key has committed, and return a status.\n\n"
     "From OK on no process of this host reads the key from a replica that lacks the write.  Call it after\n"
     "COMMIT has returned.  seconds: how long the pin lasts at most; 0: as the cluster has it.\n"
     "E_UNREACHABLE, E_REFUSED: pinned in this process only.  Waits no longer than the router's timeout, "
     "and\n"
     "lets other threads run meanwhile."},
    {"record_writes", FAST(record_writes),
     "record_writes($self, /, cluster, keys, seconds=0)\n--\n\n"
     "Record that writes for all these keys have committed, in one round trip for each 64; returns a "
     "status.\n\n"
     "OK: all are recorded, as record_write() does it.  E_UNREACHABLE, E_REFUSED: those that were not are\n"
     "pinned in this process only.  keys: any iterable of keys; none is OK."},
    {"hold", FAST(hold),
     "hold($self, /, cluster, key, ms)\n--\n\n"
     "Send the key's reads to the primary for `ms` from now, whatever replicas have; returns a status.\n\n"
     "Call it before a write whose process may not live to record it.  Waits as record_write() does."},
    {"token_issue", FAST(token_issue),
     "token_issue($self, /, cluster, key)\n--\n\n"
     "Issue a token that carries the key's pin to another host; None: there is no key to sign with.\n\n"
     "Call it after record_write() or Scope.end(), whatever those returned."},
    {"endpoint", FAST(endpoint),
     "endpoint($self, /, cluster, node)\n--\n\n"
     "Return a node's connection string as far as it is no secret; None: no such node, or no store."},
    {"scope", FAST(scope),
     "scope($self, /, cluster, key=None)\n--\n\n"
     "Begin a request; without a key it has no identity: its reads are unkeyed, its writes not recorded."},
    {"close", close_router, METH_NOARGS,
     "close($self, /)\n--\n\n"
     "Give the store and the connection back.\n\n"
     "Later calls of the router and of its scopes answer as without a store: '', the primary.  Calls that\n"
     "other threads are inside of end first."},
    {0},
};

static PyGetSetDef getset[] = {
    {"closed", is_closed, NULL, "Has close() been called?", NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     "Router(dir=None, *, timeout_ms=None, no_replica=NoReplica)\n--\n\n"
     "A handle on the daemon's directory.  One per process is enough, for all of its threads.\n\n"
     "A router that was opened before a fork serves in every child.  With or without a store and "
     "a daemon it\n"
     "opens: until there is one, all answers are the primary.\n\n"
     "dir: None: $PINROUTE_DIR, else /run/pinroute.\n"
     "timeout_ms: total time of one call that asks the daemon, 1 to 60000; None: 50.\n"
     "no_replica: what a read raises that the config refuses: NoReplica or a class derived from "
     "it.\n\n"
     "Keys are bytes, or str, which counts as its UTF-8; 1 to 4096 bytes.  Wrong arguments raise "
     "TypeError or\n"
     "ValueError, a read that the config refuses no_replica; whatever is wrong with store or daemon "
     "raises\n"
     "nothing."},
    {Py_tp_new, new},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {0},
};

PyType_Spec router_spec = {
    .name = "pinroute.Router",
    .basicsize = sizeof(struct router),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
