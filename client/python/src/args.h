/* args.h -- what a caller passed, as C sees it.
 * Every function returns false with a TypeError or ValueError set that names the argument. */
#ifndef PINROUTE_PYTHON_ARGS_H
#define PINROUTE_PYTHON_ARGS_H

#include "module.h"

#include <stdbool.h>

#define ARGS_MAX 3

/* A call's name and its arguments' names; the first `least` of them must be given. */
struct signature {
        const char *call;
        unsigned least, most;
        const char *names[ARGS_MAX];
};

/* Sorts the arguments of a METH_FASTCALL | METH_KEYWORDS call into ret[0..most-1]; NULL: not given.
 * References are borrowed. */
bool args_take(const struct signature *s, PyObject *const *given, Py_ssize_t n, PyObject *kwnames,
               PyObject *ret[ARGS_MAX]);

bool args_number(PyObject *o, const char *name, unsigned least, unsigned *ret);

/* within_ms: NULL or None is no bound. */
bool args_within(PyObject *o, bool *given, unsigned *ms);

/* A text without NULs, which C takes for its end.  Lives as long as `o`. */
bool args_text(PyObject *o, const char *name, const char **ret);

/* A key's bytes: of a str its UTF-8, else the buffer's.  NULL: there is none. */
struct key {
        const void *bytes;
        size_t len;
        Py_buffer view; /* .obj NULL: nothing to release */
};

/* o may be NULL or None where `optional`.  key_drop() afterwards, if true. */
bool key_take(PyObject *o, bool optional, struct key *ret);
void key_drop(struct key *k);

/* The keys of an iterable, in its order.  keys_drop() afterwards, if true. */
struct keys {
        PyObject *tuple; /* holds them */
        struct key *each;
        struct pinroute_key *key;
        size_t n;
};
bool keys_take(PyObject *o, struct keys *ret);
void keys_drop(struct keys *k);

/* The number that a call found to be none of the router's: NULL, with ValueError set. */
PyObject *args_no_cluster(void);

#endif
