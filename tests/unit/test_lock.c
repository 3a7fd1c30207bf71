/* test_lock.c -- the lock with a deadline. */
#include "client/lock.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>

#include "client/clock.h"

#define MS CLOCK_NS_PER_MS

static struct lock lock;
static int counter;

Test(lock, zeros_are_a_free_lock_and_a_held_one_is_waited_for_until_the_deadline)
{
        errno = 77;
        cr_assert(lock_take(&lock, 0), "a free lock is taken, also after the deadline");
        int64_t before_ns = clock_ns();
        cr_expect_not(lock_take(&lock, before_ns + 20 * MS));
        int64_t waited_ns = clock_ns() - before_ns;
        cr_expect(waited_ns >= 20 * MS && waited_ns < 2000 * MS, "waited %ld ns", waited_ns);
        cr_expect_not(lock_take(&lock, 0));
        lock_give(&lock);
        cr_expect(lock_take(&lock, 0));
        cr_expect_eq(errno, 77);
}

static void *count(void *arg)
{
        for (int i = 0; i < 20000; i++) {
                cr_assert(lock_take(&lock, clock_ns() + 60000 * MS));
                counter = counter + 1;
                lock_give(&lock);
        }
        return arg;
}

Test(lock, one_at_a_time_and_nobody_is_forgotten)
{
        pthread_t t[4];
        for (int i = 0; i < 4; i++)
                pthread_create(&t[i], NULL, count, NULL);
        for (int i = 0; i < 4; i++)
                pthread_join(t[i], NULL);
        cr_expect_eq(counter, 80000);
}
