/* args.c -- what a caller passed, as C sees it.
 * Strings and buffers are read where they lie; memory is allocated for tables of many keys only. */
#include "args.h"

#include <limits.h>
#include <string.h>

static unsigned index_of(const struct signature *s, PyObject *name)
{
        unsigned i = 0;
        while (i < s->most && PyUnicode_CompareWithASCIIString(name, s->names[i]) != 0)
                i++;
        return i;
}

static bool take_keywords(const struct signature *s, PyObject *const *given, PyObject *kwnames,
                          PyObject *ret[ARGS_MAX])
{
        Py_ssize_t n = PyTuple_Size(kwnames);
        for (Py_ssize_t i = 0; i < n; i++) {
                PyObject *name = PyTuple_GetItem(kwnames, i);
                unsigned at = index_of(s, name);
                if (at == s->most || ret[at]) {
                        PyErr_Format(PyExc_TypeError, "%s() %s argument %R", s->call,
                                     at == s->most ? "has no" : "was given twice the", name);
                        return false;
                }
                ret[at] = given[i];
        }
        return true;
}

bool args_take(const struct signature *s, PyObject *const *given, Py_ssize_t n, PyObject *kwnames,
               PyObject *ret[ARGS_MAX])
{
        if (n > (Py_ssize_t)s->most) {
                PyErr_Format(PyExc_TypeError, "%s() takes at most %u arguments, %zd were given", s->call,
                             s->most, n);
                return false;
        }
        for (unsigned i = 0; i < ARGS_MAX; i++)
                ret[i] = i < (size_t)n ? given[i] : NULL;
        if (kwnames && !take_keywords(s, given + n, kwnames, ret))
                return false;
        for (unsigned i = 0; i < s->least; i++)
                if (!ret[i]) {
                        PyErr_Format(PyExc_TypeError, "%s() lacks its argument '%s'", s->call, s->names[i]);
                        return false;
                }
        return true;
}

bool args_number(PyObject *o, const char *name, unsigned least, unsigned *ret)
{
        int beyond;
        long value = PyLong_AsLongAndOverflow(o, &beyond);
        if (value == -1 && PyErr_Occurred())
                return false;
        if (beyond || value < (long)least || value > INT_MAX) {
                PyErr_Format(PyExc_ValueError, "%s: %u to %d, not %S", name, least, INT_MAX, o);
                return false;
        }
        *ret = (unsigned)value;
        return true;
}

bool args_within(PyObject *o, bool *given, unsigned *ms)
{
        *ms = 0;
        *given = o && o != Py_None;
        return !*given || args_number(o, "within_ms", 0, ms);
}

static bool wrong_type(PyObject *o, const char *name, const char *wanted)
{
        PyObject *type = (PyObject *)Py_TYPE(o);
        PyErr_Format(PyExc_TypeError, "%s: %s, not %R", name, wanted, type);
        return false;
}

bool args_text(PyObject *o, const char *name, const char **ret)
{
        if (!PyUnicode_Check(o))
                return wrong_type(o, name, "a str");
        Py_ssize_t len;
        *ret = PyUnicode_AsUTF8AndSize(o, &len);
        if (!*ret)
                return false;
        if (strlen(*ret) == (size_t)len)
                return true;
        PyErr_Format(PyExc_ValueError, "%s: no NUL can be in it", name);
        return false;
}

static bool take_buffer(PyObject *o, struct key *ret)
{
        if (!PyObject_CheckBuffer(o))
                return wrong_type(o, "key", "a str or bytes");
        if (PyObject_GetBuffer(o, &ret->view, PyBUF_SIMPLE) != 0) {
                ret->view.obj = NULL;
                if (PyErr_ExceptionMatches(PyExc_BufferError))
                        PyErr_SetString(PyExc_ValueError, "key: its bytes do not lie side by side");
                return false;
        }
        ret->bytes = ret->view.buf ? ret->view.buf : "";
        ret->len = (size_t)ret->view.len;
        return true;
}

static bool take_bytes(PyObject *o, struct key *ret)
{
        if (PyUnicode_Check(o)) {
                Py_ssize_t len;
                ret->bytes = PyUnicode_AsUTF8AndSize(o, &len);
                ret->len = (size_t)len;
                return ret->bytes;
        }
        if (!PyBytes_Check(o))
                return take_buffer(o, ret);
        ret->bytes = PyBytes_AsString(o);
        ret->len = (size_t)PyBytes_Size(o);
        return true;
}

bool key_take(PyObject *o, bool optional, struct key *ret)
{
        ret->bytes = NULL;
        ret->len = 0;
        ret->view.obj = NULL;
        if (optional && (!o || o == Py_None))
                return true;
        if (!take_bytes(o, ret))
                return false;
        if (ret->len >= 1 && ret->len <= PINROUTE_KEY_MAX)
                return true;
        PyErr_Format(PyExc_ValueError, "key: 1 to %d bytes, not %zu", PINROUTE_KEY_MAX, ret->len);
        key_drop(ret);
        return false;
}

void key_drop(struct key *k)
{
        if (k->view.obj)
                PyBuffer_Release(&k->view);
}

/* Text and bytes are iterables, too, but of letters: a key that was meant to be the only one. */
static PyObject *tuple_of(PyObject *o)
{
        if (!PyUnicode_Check(o) && !PyBytes_Check(o) && !PyByteArray_Check(o) && !PyMemoryView_Check(o))
                return PySequence_Tuple(o);
        wrong_type(o, "keys", "an iterable of keys");
        return NULL;
}

bool keys_take(PyObject *o, struct keys *ret)
{
        *ret = (struct keys){.tuple = tuple_of(o)};
        if (!ret->tuple)
                return false;
        size_t n = (size_t)PyTuple_Size(ret->tuple);
        ret->each = PyMem_Calloc(n, sizeof *ret->each);
        ret->key = PyMem_Calloc(n, sizeof *ret->key);
        if (!ret->each || !ret->key) {
                keys_drop(ret);
                PyErr_NoMemory();
                return false;
        }
        for (; ret->n < n; ret->n++) {
                struct key *k = &ret->each[ret->n];
                if (!key_take(PyTuple_GetItem(ret->tuple, (Py_ssize_t)ret->n), false, k)) {
                        keys_drop(ret);
                        return false;
                }
                ret->key[ret->n] = (struct pinroute_key){k->bytes, k->len};
        }
        return true;
}

void keys_drop(struct keys *k)
{
        for (size_t i = 0; i < k->n; i++)
                key_drop(&k->each[i]);
        PyMem_Free(k->each);
        PyMem_Free(k->key);
        Py_DECREF(k->tuple);
}

PyObject *args_no_cluster(void)
{
        PyErr_SetString(PyExc_ValueError, "cluster: not a number that this router's cluster() gave out");
        return NULL;
}
