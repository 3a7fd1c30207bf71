/* names.c -- names of nodes as str objects, the same object for the same name.
 * A look-up costs a hash and a comparison of 64 bytes; interning for each answer would cost ten times that.
 */
#include "names.h"

#include <stdint.h>
#include <string.h>

static unsigned place_of(const char name[PINROUTE_NODE_SIZE])
{
        uint64_t w[PINROUTE_NODE_SIZE / sizeof(uint64_t)], sum = 0;
        memcpy(w, name, sizeof w);
        for (unsigned i = 0; i < sizeof w / sizeof *w; i++)
                sum += w[i] << i;
        return (unsigned)(sum * 0x9e3779b97f4a7c15ull >> 59);
}
_Static_assert(NAMES == 1 << (64 - 59), "the hash's top bits");

/* $PINROUTE_PRIMARY is anyone's text: what is no UTF-8 becomes surrogates, as in os.environ. */
static PyObject *text_of(const char name[PINROUTE_NODE_SIZE])
{
        size_t len = strnlen(name, PINROUTE_NODE_SIZE);
        PyObject *text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)len, "surrogateescape");
        if (text)
                PyUnicode_InternInPlace(&text);
        return text;
}

PyObject *names_get(struct names *n, const char name[PINROUTE_NODE_SIZE])
{
        unsigned i = place_of(name);
        PyObject *text = n->at[i].text;
        if (text && memcmp(n->at[i].name, name, PINROUTE_NODE_SIZE) == 0)
                return Py_NewRef(text);
        PyObject *new = text_of(name);
        if (!new)
                return NULL;
        memcpy(n->at[i].name, name, PINROUTE_NODE_SIZE);
        n->at[i].text = Py_NewRef(new);
        Py_XDECREF(text);
        return new;
}

void names_fini(struct names *n)
{
        for (unsigned i = 0; i < NAMES; i++)
                Py_CLEAR(n->at[i].text);
}
