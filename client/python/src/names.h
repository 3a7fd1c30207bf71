/* names.h -- names of nodes as str objects, the same object for the same name.
 * Belongs to one router; used under the GIL. */
#ifndef PINROUTE_PYTHON_NAMES_H
#define PINROUTE_PYTHON_NAMES_H

#include "module.h"

#define NAMES 32 /* places: nodes of a few clusters */

struct names {
        struct {
                char name[PINROUTE_NODE_SIZE];
                PyObject *text; /* NULL: no name yet */
        } at[NAMES];
};

/* A new reference to the interned str, which is only made when the name is new, or shares its place with
 * another; NULL: out of memory.  The name is compared in full: a reload of the config changes nothing here.
 */
PyObject *names_get(struct names *n, const char name[PINROUTE_NODE_SIZE]);

void names_fini(struct names *n);

#endif
