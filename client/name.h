/* name.h -- a node's name, copied into an answer.
 * Nothing else. */
#ifndef PINROUTE_NAME_H
#define PINROUTE_NAME_H

#include <assert.h>
#include <stdint.h>

#include "proto/store.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* memcpy() of 64 bytes, which gcc makes a slow string instruction of where it takes a branch for rare. */
static ALWAYS_INLINE void name_copy(char to[PNR_NAME_SIZE], const char *from)
{
        typedef uint64_t pair __attribute__((vector_size(16), aligned(1), may_alias));
        static_assert(PNR_NAME_SIZE == 4 * sizeof(pair), "four pairs");
        const pair *f = (const pair *)from;
        pair *t = (pair *)to, a = f[0], b = f[1], c = f[2], d = f[3];
        t[0] = a;
        t[1] = b;
        t[2] = c;
        t[3] = d;
        to[PNR_NAME_SIZE - 1] = '\0';
}

#endif
