/* lock.c -- a lock with a deadline that is free when its memory is zero.
 * The only file that calls futex.  Drepper's three states ("Futexes Are Tricky", mutex 2). */
#include "client/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/clock.h"

bool lock_take(struct lock *l, int64_t deadline_ns)
{
        unsigned was = 0;
        if (atomic_compare_exchange_strong_explicit(&l->state, &was, 1, memory_order_acquire,
                                                    memory_order_relaxed))
                return true;
        int saved = errno;
        bool mine;
        while (!(mine = atomic_exchange_explicit(&l->state, 2, memory_order_acquire) == 0)) {
                int64_t left_ns = deadline_ns - clock_ns();
                if (left_ns <= 0)
                        break;
                struct timespec left = clock_span(left_ns);
                syscall(SYS_futex, &l->state, FUTEX_WAIT_PRIVATE, 2, &left, NULL, 0);
        }
        errno = saved;
        return mine;
}

void lock_give(struct lock *l)
{
        if (atomic_exchange_explicit(&l->state, 0, memory_order_release) != 2)
                return;
        int saved = errno;
        syscall(SYS_futex, &l->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        errno = saved;
}
