/* guest.h -- what a call that makes system calls leaves as its host had it: errno, and no thread that ends inside.
 * A thread cancelled in the middle would take a lock and a descriptor with it: it ends after the call. */
#ifndef PINROUTE_GUEST_H
#define PINROUTE_GUEST_H

#include <errno.h>
#include <pthread.h>

struct guest {
        int error, cancel;
};

static inline struct guest guest_enter(void)
{
        struct guest g = {.error = errno};
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &g.cancel);
        return g;
}

static inline void guest_leave(struct guest g)
{
        pthread_setcancelstate(g.cancel, NULL);
        errno = g.error;
}

#endif
