/* test_recall.c -- what is kept of the last snapshot: whole or not at all. */
#include "client/recall.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static_assert(PNR_SPREAD_TERMS == 3, "as many as are compared below");

/* All of it says the same number, so that a mixture of two shows. */
static struct recalled all_of(uint64_t n)
{
        uint32_t low = (uint32_t)n;
        return (struct recalled){
            .view = (const struct view *)(uintptr_t)n,
            .snap = {.id = n, .root = n, .depth = low, .meta = low},
            .cluster = (const struct pnr_cluster *)(uintptr_t)n,
            .epoch = n,
            .heartbeat_ms = (int64_t)n,
            .stale_after_ms = low,
            .stale_limit_ms = low,
            .number = low,
            .spread = {.place = {n, n, n}, .tag = {n, n, n}},
            .plain = {.reason = (enum pinroute_reason)(low & 0xffff), .pool = low},
            .floor_end_ms = (int64_t)n,
        };
}

static bool is_one(const struct recalled *r)
{
        uint64_t n = r->snap.id;
        uint32_t low = (uint32_t)n;
        return r->view == (const struct view *)(uintptr_t)n && r->snap.root == n && r->snap.depth == low &&
               r->snap.meta == low && r->cluster == (const struct pnr_cluster *)(uintptr_t)n &&
               r->epoch == n && r->heartbeat_ms == (int64_t)n && r->stale_after_ms == low &&
               r->stale_limit_ms == low && r->number == low &&
               memcmp(&r->spread, &(struct pnr_spread){{n, n, n}, {n, n, n}}, sizeof r->spread) == 0 &&
               r->plain.reason == (enum pinroute_reason)(low & 0xffff) && r->plain.pool == low &&
               r->floor_end_ms == (int64_t)n;
}

Test(recall, zeros_hold_nothing)
{
        static const struct recall zeros;
        struct recalled got;
        cr_expect_not(recall_get(&zeros, &got));
}

Test(recall, what_was_put_last_is_what_is_got)
{
        static struct recall r;
        struct recalled got;
        for (uint64_t n = 1; n < 4; n++) {
                struct recalled what = all_of(n << 33 | n);
                recall_put(&r, &what);
                cr_assert(recall_get(&r, &got));
                cr_expect(is_one(&got) && got.snap.id == (n << 33 | n));
                cr_expect_null(got.snap.top, "the root's copy is looked for anew");
                cr_expect_eq(got.plain.pin_left_ms, 0);
        }
}

Test(recall, nothing_is_got_while_another_thread_puts_and_nothing_is_put_into_its_middle)
{
        static struct recall r;
        struct recalled one = all_of(1), two = all_of(2), got;
        recall_put(&r, &one);
        r.sequence.n++;
        cr_expect_not(recall_get(&r, &got));
        recall_put(&r, &two);
        cr_expect_not(recall_get(&r, &got));
        r.sequence.n++;
        cr_assert(recall_get(&r, &got));
        cr_expect_eq(got.snap.id, 1);
}

static struct recall shared;
static atomic_bool done;

static void *put_and_put(void *arg)
{
        for (uint64_t n = 1; !atomic_load(&done); n++) {
                struct recalled what = all_of(n << 32 | n);
                recall_put(&shared, &what);
        }
        return arg;
}

Test(recall, a_mixture_of_two_is_never_got)
{
        pthread_t thread;
        struct recalled got;
        uint64_t last = 0;
        cr_assert_eq(pthread_create(&thread, NULL, put_and_put, NULL), 0);
        for (unsigned others = 0, interrupted = 0; others < 3000 || interrupted < 30;) {
                if (!recall_get(&shared, &got)) {
                        interrupted++;
                        continue;
                }
                cr_assert(is_one(&got), "%lu and others", got.snap.id);
                others += got.snap.id != last;
                last = got.snap.id;
        }
        atomic_store(&done, true);
        pthread_join(thread, NULL);
}
