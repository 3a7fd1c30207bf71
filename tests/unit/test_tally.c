/* test_tally.c -- what is counted where: alone, in a daemon's memory, after a fork, and in memory that is none. */
#include "client/tally.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEALS     (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define FIRST     tally_place(0, 1, 2)
#define NAMELESS  tally_place(0, PNR_NO_NODE, 8)
#define PROCESSES 40

/* Of one process; memory of a fork's child begins with zeros. */
struct process {
        struct tally_fresh fresh;
        struct pnr_count_lane own;
};

static struct process *process;
static struct tally tally;
static int64_t now_ms = 1000000;

static int memfd(size_t size, int seals)
{
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        cr_assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0);
        return fd;
}

static struct pnr_counts *map_counts(int fd)
{
        struct pnr_counts *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        cr_assert_neq(m, MAP_FAILED);
        return m;
}

static _Atomic uint64_t budget[PNR_CLUSTERS_MAX];

static void be(unsigned i) { tally_init(&tally, &process[i].fresh, &process[i].own, budget); }

static void setup(void)
{
        process = mmap(NULL, PROCESSES * sizeof *process, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
        cr_assert_neq(process, MAP_FAILED);
        be(0);
}

static void teardown(void)
{
        tally_fini(&tally);
        munmap(process, PROCESSES * sizeof *process);
}

TestSuite(tally, .init = setup, .fini = teardown);

static void add(uint32_t place) { tally_add(&tally, tally.fresh, place); }

/* As ask.c does: the descriptors are closed. */
static struct pnr_counts *have(uint64_t epoch)
{
        int family = memfd(sizeof(struct pnr_counts), SEALS),
            common = memfd(sizeof(struct pnr_common), SEALS);
        struct pnr_counts *seen = map_counts(family);
        cr_expect(tally_wants(&tally, epoch, now_ms));
        tally_have(&tally, epoch, family, common, now_ms);
        tally_met(&tally, epoch);
        close(family);
        close(common);
        return seen;
}

static uint64_t in_lane(struct pnr_count_lane *lane, uint32_t place)
{
        return ((_Atomic uint64_t *)lane)[place];
}

static uint64_t in_all(struct pnr_counts *m, uint32_t place)
{
        uint64_t n = 0;
        for (unsigned i = 0; i < PNR_COUNT_LANES; i++)
                n += in_lane(&m->lane[i], place);
        return n;
}

Test(tally, a_place_is_the_word_of_a_lane_that_cluster_node_and_reason_have)
{
        static struct pnr_count_lane lane;
        ((_Atomic uint64_t *)&lane)[tally_place(63, 31, 15)] = 1;
        cr_expect_eq(lane.page[63].count[31][15], 1);
        ((_Atomic uint64_t *)&lane)[tally_place(0, PNR_NO_NODE, 8)] = 2;
        ((_Atomic uint64_t *)&lane)[tally_place(64, 0, 9)] = 3;
        cr_expect_eq(lane.head.count[8], 2);
        cr_expect_eq(lane.head.count[9], 3);
        cr_expect_lt(tally_place(63, 31, UINT32_MAX), TALLY_WORDS);
}

Test(tally, without_a_daemon_a_process_counts_in_memory_of_its_own)
{
        add(FIRST);
        tally_enter(&tally, 0);
        add(FIRST);
        add(NAMELESS);
        cr_expect_eq(in_lane(&process[0].own, FIRST), 2);
        cr_expect_eq(in_lane(&process[0].own, NAMELESS), 1);
        cr_expect_eq(process[0].own.head.used, 1);
}

Test(tally, what_was_counted_before_the_daemon_came_is_counted_once_in_its_memory)
{
        tally_enter(&tally, 0);
        add(FIRST);
        add(NAMELESS);
        struct pnr_counts *seen = have(7);
        cr_expect_eq(in_lane(&seen->lane[0], FIRST), 1);
        cr_expect_eq(in_lane(&seen->lane[0], NAMELESS), 1);
        cr_expect_eq(in_lane(&process[0].own, FIRST), 0);
        for (int i = 0; i < 100; i++) {
                tally_enter(&tally, 5);
                add(FIRST);
        }
        cr_expect_eq(in_lane(&seen->lane[0], FIRST), 101);
        cr_expect_eq(seen->lane[0].head.used, 1 | 1 << 5);
        cr_expect_eq(seen->lane[0].head.next_lane, 1);
}

Test(tally, what_a_child_repeats_before_it_asks_for_itself_is_counted)
{
        add(FIRST);
        cr_expect_eq(process[0].own.head.used, 1);
        struct pnr_counts *seen = have(7);
        cr_expect_eq(in_lane(&seen->lane[0], FIRST), 1);
        be(2);
        tally_fini(&tally);
        add(FIRST);
        add(tally_place(5, 1, 2));
        seen = have(8);
        cr_expect_eq(in_lane(&seen->lane[0], FIRST), 1);
        cr_expect_eq(in_lane(&seen->lane[0], tally_place(5, 1, 2)), 1, "the second that it repeats, too");
        be(1);
        add(tally_place(5, 1, 2));
        add(NAMELESS);
        cr_expect_eq(in_lane(&seen->lane[1], tally_place(5, 1, 2)), 1);
        cr_expect_eq(in_lane(&seen->lane[1], NAMELESS), 1);
        cr_expect_eq(seen->lane[1].head.used, 1 << 5);
}

Test(tally, a_child_takes_the_next_lane_and_the_late_ones_share_the_last)
{
        struct pnr_counts *seen = have(7);
        for (unsigned i = 0; i < PROCESSES; i++) {
                be(i);
                tally_enter(&tally, 0);
                add(FIRST);
                bool alone = process[i].fresh.lane & TALLY_ALONE;
                cr_expect_eq(alone, i < PNR_COUNT_LANES - 1, "process %u", i);
                cr_expect_eq(tally_wants(&tally, 7, now_ms), !alone, "and may ask for a family of its own");
        }
        for (unsigned i = 0; i < PNR_COUNT_LANES; i++)
                cr_expect_eq(in_lane(&seen->lane[i], FIRST), i < PNR_COUNT_LANES - 1 ? 1 : PROCESSES - i);
        cr_expect_eq(seen->lane[0].head.next_lane, PNR_COUNT_LANES, "the last one is taken, too");
        be(PROCESSES - 1);
        tally.fresh->asking = 0;
        struct pnr_counts *own = have(7);
        add(FIRST);
        cr_expect_eq(in_all(own, FIRST), 1);
        cr_expect_eq(in_all(seen, FIRST), PROCESSES);
        cr_expect_not(tally_wants(&tally, 7, now_ms));
}

Test(tally, a_forged_number_of_lanes_leads_nowhere_but_to_the_last)
{
        struct pnr_counts *seen = have(7);
        static const uint64_t forged[] = {PNR_COUNT_LANES, 1ull << 63, UINT64_MAX};
        for (unsigned i = 0; i < 3; i++) {
                seen->lane[0].head.next_lane = forged[i];
                be(i + 1);
                tally_enter(&tally, 0);
                add(FIRST);
                cr_expect_eq(seen->lane[0].head.next_lane, forged[i]);
        }
        cr_expect_eq(in_lane(&seen->lane[PNR_COUNT_LANES - 1], FIRST), 3);
}

Test(tally, what_is_no_sealed_memory_of_the_right_size_is_not_mapped)
{
        int pipes[2], common = memfd(sizeof(struct pnr_common), SEALS),
                      family = memfd(sizeof(struct pnr_counts), SEALS);
        cr_assert_eq(pipe(pipes), 0);
        const int bad[] = {-1,
                           pipes[0],
                           open("/dev/zero", O_RDWR),
                           memfd(sizeof(struct pnr_counts), 0),
                           memfd(sizeof(struct pnr_counts), F_SEAL_SHRINK | F_SEAL_GROW),
                           memfd(sizeof(struct pnr_counts) - 1, SEALS),
                           memfd(sizeof(struct pnr_common), SEALS)};
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
                tally_have(&tally, 7, bad[i], common, now_ms);
                cr_expect_null(tally.memory, "descriptor %u", i);
        }
        tally_have(&tally, 7, family, -1, now_ms);
        cr_expect_null(tally.memory);
        tally_have(&tally, 7, family, common, now_ms);
        cr_expect_not_null(tally.memory);
}

Test(tally, a_daemon_is_asked_once_unless_it_has_answered_that_there_is_nothing)
{
        cr_expect(tally_wants(&tally, 7, now_ms));
        cr_expect_not(tally_wants(&tally, 7, now_ms), "it may have broken the connection over it");
        be(1);
        cr_expect(tally_wants(&tally, 7, now_ms), "a child knows nothing of that");
        tally_have(&tally, 7, -1, -1, now_ms);
        cr_expect_not(tally_wants(&tally, 7, now_ms + 9999));
        cr_expect(tally_wants(&tally, 7, now_ms + 10000));
        tally_have(&tally, 7, -1, -1, now_ms + 10000);
        cr_expect(tally_wants(&tally, 7, now_ms), "where the clock went back");
        tally.fresh->asking = 0;
        have(7);
        cr_expect_not(tally_wants(&tally, 7, now_ms));
        struct pnr_counts *next = have(8);
        tally_enter(&tally, 0);
        add(FIRST);
        cr_expect_eq(in_all(next, FIRST), 1);
}

Test(tally, a_new_daemon_is_looked_for_every_ten_seconds_until_it_is_met)
{
        cr_expect(tally_may_meet(&tally, 7, 100000));
        cr_expect_not(tally_may_meet(&tally, 7, 109999));
        cr_expect(tally_may_meet(&tally, 7, 110000));
        cr_expect(tally_may_meet(&tally, 7, 5), "where the clock went back");
        tally_met(&tally, 7);
        cr_expect_not(tally_may_meet(&tally, 7, 200000));
        cr_expect(tally_may_meet(&tally, 8, 10), "the next daemon is another matter");
}

Test(tally, one_that_gave_nothing_is_gone_to_again_ten_seconds_later)
{
        cr_expect(tally_wants(&tally, 7, now_ms));
        cr_expect_not(tally_is_refused(&tally));
        tally_have(&tally, 7, -1, -1, now_ms);
        cr_expect(tally_is_refused(&tally));
        cr_expect_not(tally_may_meet(&tally, 7, now_ms + 9999));
        cr_expect(tally_may_meet(&tally, 7, now_ms + 10000));
        now_ms += 10000;
        have(7);
        cr_expect_not(tally_is_refused(&tally));
        cr_expect_not(tally_may_meet(&tally, 7, now_ms + 20000));
}

#define THREADS 4
#define TIMES   20000
static pthread_barrier_t begin;

static void *count_on(void *arg)
{
        (void)arg;
        pthread_barrier_wait(&begin);
        for (int i = 0; i < TIMES; i++) {
                if (i % 64 == 0)
                        tally_enter(&tally, 0);
                add(FIRST);
        }
        return NULL;
}

Test(tally, threads_lose_nothing_while_memory_comes_and_is_replaced)
{
        pthread_t thread[THREADS];
        struct pnr_counts *seen[8];
        uint64_t all = 0;
        pthread_barrier_init(&begin, NULL, THREADS + 1);
        for (int i = 0; i < THREADS; i++)
                pthread_create(&thread[i], NULL, count_on, NULL);
        pthread_barrier_wait(&begin);
        for (unsigned i = 0; i < 8; i++)
                seen[i] = have(7 + i);
        for (int i = 0; i < THREADS; i++)
                pthread_join(thread[i], NULL);
        for (unsigned i = 0; i < 2; i++)
                tally_enter(&tally, 0);
        for (unsigned i = 0; i < 8; i++)
                all += in_all(seen[i], FIRST);
        cr_expect_eq(all, THREADS * TIMES);
        cr_expect_eq(in_lane(&process[0].own, FIRST), 0);
}

Test(tally, a_place_that_is_none_is_not_counted_by_threads)
{
        tally_add_shared(&tally, TALLY_WORDS);
        cr_expect_eq(process[1].fresh.lane, 0);
}

Test(tally, the_budget_is_the_hosts_where_a_daemon_has_handed_it_out)
{
        _Atomic uint64_t *alone = tally_budget(&tally, 3);
        *alone = 5;
        cr_expect_eq(tally_budget(&tally, 3), alone);
        cr_expect_neq(tally_budget(&tally, 4), alone);
        have(7);
        _Atomic uint64_t *common = tally_budget(&tally, 3);
        cr_expect_neq(common, alone);
        cr_expect_eq(*common, 0);
        cr_expect_eq((char *)tally_budget(&tally, 4) - (char *)common, 64, "a cache line each");
}
