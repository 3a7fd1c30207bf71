/* test_counts.c -- memory handed out and summed up: of the living, the gone and those who write what they like. */
#include "daemon/counts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/counts.h"

#define CLUSTERS 3

static struct counts *counts;
static struct mono now = {1000};
static pid_t pid; /* who came last */

static void setup(void)
{
        counts = counts_open();
        cr_assert_not_null(counts);
        counts_limit(counts, 8);
}

static void teardown(void) { counts_close(&counts); }

TestSuite(counts, .init = setup, .fini = teardown);

/* A process, as far as we see it: the map holds the lock. */
static struct pnr_counts *come(void)
{
        int fd[2];
        cr_assert(counts_give(counts, ++pid, fd));
        struct pnr_counts *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0], 0);
        cr_assert_neq(m, MAP_FAILED);
        close(fd[0]);
        m->lane[0].head.next_lane = 1;
        return m;
}

static void go(struct pnr_counts *m) { munmap(m, sizeof *m); }

static void count(struct pnr_counts *m, unsigned lane, unsigned cluster, uint64_t n)
{
        m->lane[lane].head.used |= 1ull << cluster;
        m->lane[lane].page[cluster].count[1][2] += n;
}

static uint64_t total(unsigned cluster)
{
        counts_read(counts, CLUSTERS);
        return counts_of(counts, cluster, 1, 2);
}

static void second(void)
{
        now.ms += 1000;
        counts_turn(counts, CLUSTERS, now);
}

Test(counts, the_living_and_the_gone_are_summed_up)
{
        struct pnr_counts *a = come(), *b = come();
        a->lane[0].head.next_lane = 2;
        count(a, 0, 0, 5);
        count(a, 1, 0, 7);
        count(b, 0, 0, 100);
        count(b, 0, 2, 1);
        b->lane[0].head.count[8] = 3;
        cr_expect_eq(total(0), 112);
        cr_expect_eq(total(1), 0);
        cr_expect_eq(total(2), 1);
        cr_expect_eq(counts_of(counts, 0, PNR_NO_NODE, 8), 3);
        go(b);
        second();
        cr_expect_eq(counts_processes(counts), 1);
        cr_expect_eq(total(0), 112);
        count(a, 1, 0, 1);
        cr_expect_eq(total(0), 113);
        go(a);
        second();
        cr_expect_eq(counts_processes(counts), 0);
        cr_expect_eq(total(0), 113);
        cr_expect_eq(total(2), 1);
        cr_expect_eq(counts_of(counts, 0, PNR_NO_NODE, 8), 3);
}

/* Two descriptors, one mapping, a child that has both, and a child's child. */
Test(counts, memory_is_kept_for_as_long_as_anyone_has_it)
{
        int ready[2], fd[2];
        cr_assert(counts_give(counts, ++pid, fd) && pipe(ready) == 0);
        pid_t child = fork();
        if (child == 0) {
                struct pnr_counts *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0], 0);
                close(fd[0]);
                m->lane[0].head.next_lane = 1;
                pid_t grandchild = fork();
                if (grandchild == 0) {
                        count(m, 0, 0, 9);
                        (void)!write(ready[1], &(pid_t){getpid()}, sizeof(pid_t));
                        pause();
                }
                _exit(0);
        }
        close(fd[0]);
        pid_t grandchild = 0;
        cr_assert_eq(waitpid(child, NULL, 0), child);
        cr_assert_eq(read(ready[0], &grandchild, sizeof grandchild), sizeof grandchild);
        second();
        cr_expect_eq(counts_processes(counts), 1);
        kill(grandchild, SIGKILL);
        for (int i = 0; i < 5000 && counts_processes(counts); i++, usleep(1000))
                second();
        cr_expect_eq(counts_processes(counts), 0);
        cr_expect_eq(total(0), 9);
}

Test(counts, who_never_took_what_was_handed_out_is_gone_too)
{
        int fd[2];
        for (unsigned i = 0; i < 40; i++) { /* more than may be there at once */
                cr_assert(counts_give(counts, ++pid, fd), "family %u", i);
                close(fd[0]);
        }
        second();
        cr_expect_eq(counts_processes(counts), 0);
}

Test(counts, no_more_are_handed_out_than_there_may_be)
{
        for (unsigned i = 0; i < 8; i++)
                come();
        int fd[2];
        cr_expect_not(counts_give(counts, ++pid, fd));
        counts_limit(counts, 9);
        cr_expect(counts_give(counts, ++pid, fd));
}

Test(counts, without_a_descriptor_nothing_is_handed_out_and_none_is_lost)
{
        int fd[2], next = dup(0);
        close(next);
        for (int room = 0; room < 2; room++) {
                struct rlimit none = {(rlim_t)(next + room), 4096};
                setrlimit(RLIMIT_NOFILE, &none);
                cr_expect_not(counts_give(counts, ++pid, fd));
                cr_expect_eq(fcntl(next, F_GETFD), -1);
        }
        cr_expect_eq(counts_processes(counts), 0);
}

Test(counts, what_is_handed_out_can_be_neither_cut_nor_grown_and_is_not_inherited)
{
        int fd[2];
        cr_assert(counts_give(counts, ++pid, fd));
        for (int i = 0; i < 2; i++) {
                cr_expect_neq(ftruncate(fd[i], 0), 0);
                cr_expect_neq(ftruncate(fd[i], 1 << 30), 0);
                cr_expect_neq(fcntl(fd[i], F_ADD_SEALS, F_SEAL_WRITE), 0);
                cr_expect(fcntl(fd[i], F_GETFD) & FD_CLOEXEC);
        }
}

Test(counts, garbage_is_a_number_that_stops_and_never_goes_back)
{
        struct pnr_counts *honest = come(), *liar = come();
        count(honest, 0, 0, 10);
        count(honest, 0, 1, 20);
        count(liar, 0, 0, UINT64_MAX); /* which would wrap */
        cr_expect_eq(total(0), COUNTS_MOST);
        cr_expect_eq(total(1), 20, "what it leaves alone is as it was");
        liar->lane[0].page[0].count[1][2] = 1ull << 60;
        cr_expect_eq(total(0), COUNTS_MOST);
        memset(&liar->lane[0].page[0], 0, sizeof liar->lane[0].page[0]);
        cr_expect_eq(total(0), COUNTS_MOST);
        honest->lane[0].page[1].count[1][2] = 3;
        cr_expect_eq(total(1), 20);
        go(liar);
        second();
        cr_expect_eq(total(0), COUNTS_MOST);
}

/* Lanes and pages that were never written stay holes, whatever is said of them; pages of no cluster are not read. */
Test(counts, what_a_process_claims_to_have_used_costs_the_daemon_no_memory)
{
        int fd[2];
        struct stat before, after;
        cr_assert(counts_give(counts, ++pid, fd));
        struct pnr_counts *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0], 0);
        m->lane[0].head.next_lane = UINT64_MAX;
        for (unsigned i = 0; i < PNR_COUNT_LANES; i++)
                m->lane[i].head.used = UINT64_MAX;
        m->lane[31].page[1].count[1][2] = 4;
        m->lane[31].page[40].count[1][2] = 4;
        fstat(fd[0], &before);
        cr_expect_eq(total(1), 4);
        cr_expect_eq(counts_of(counts, 40, 1, 2), 0);
        fstat(fd[0], &after);
        cr_expect_eq(after.st_blocks, before.st_blocks);
        cr_expect_eq(fallocate(fd[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, sizeof *m), 0);
        cr_expect_eq(total(1), 4);
        fstat(fd[0], &after);
        cr_expect_eq(after.st_blocks, 0);
}

/* Each has written to the heads of all lanes, and to one page. */
Test(counts, what_is_claimed_and_not_there_costs_no_time)
{
        struct pnr_counts *m[8];
        for (unsigned i = 0; i < 8; i++) {
                m[i] = come();
                m[i]->lane[0].head.next_lane = PNR_COUNT_LANES;
                for (unsigned lane = 0; lane < PNR_COUNT_LANES; lane++)
                        m[i]->lane[lane].head.used = UINT64_MAX;
                m[i]->lane[31].page[1].count[1][2] = 1;
        }
        cr_expect_eq(total(1), 8);
        for (unsigned i = 0; i < 8; i++)
                go(m[i]);
        second();
        cr_expect_eq(counts_processes(counts), 0);
        cr_expect_eq(total(1), 8);
}

Test(counts, what_is_there_counts_also_where_nobody_says_so)
{
        struct pnr_counts *m = come();
        m->lane[0].head.next_lane = 0;
        m->lane[5].page[2].count[1][2] = 6;
        cr_expect_eq(total(2), 6);
        cr_expect_eq(total(1), 0);
}

/* Writes to `pages` pages of a family's memory; nothing is counted. */
static struct pnr_counts *come_with(unsigned pages)
{
        struct pnr_counts *m = come();
        for (unsigned i = 0; i < pages; i++)
                *(volatile char *)((char *)m + i * PNR_PAGE_SIZE + PNR_PAGE_SIZE - 1) = 0;
        return m;
}

/* 16,640 pages. */
Test(counts, a_reading_that_is_too_long_goes_on_in_later_turns)
{
        struct pnr_counts *m[8];
        for (unsigned i = 0; i < 8; i++) {
                m[i] = come_with(2080);
                m[i]->lane[31].page[63].count[1][2] = 1;
        }
        counts_read(counts, PNR_CLUSTERS_MAX);
        cr_expect_eq(counts_of(counts, 63, 1, 2), 0);
        go(m[0]);
        int fd[2];
        cr_expect_not(counts_give(counts, ++pid, fd), "the gone one's place is taken until it was read");
        unsigned turns = 0;
        for (; counts_of(counts, 63, 1, 2) == 0 && turns < 100; turns++)
                counts_turn(counts, PNR_CLUSTERS_MAX, now);
        cr_expect_eq(counts_of(counts, 63, 1, 2), 8);
        cr_expect_gt(turns, 10);
        second();
        second();
        cr_expect_eq(counts_processes(counts), 7);
        for (turns = 0; turns < 8; turns++)
                counts_read(counts, PNR_CLUSTERS_MAX);
        cr_expect_eq(counts_of(counts, 63, 1, 2), 8, "the gone is counted once");
}

/* 1,281 reads: more than a question and a turn make, so that no turn ends a reading. */
Test(counts, who_asks_in_each_turn_does_not_keep_the_gone_from_being_found)
{
        come_with(2080);
        come_with(480);
        struct pnr_counts *m = come();
        counts_read(counts, CLUSTERS);
        go(m);
        for (unsigned i = 0; i < 4; i++) {
                second();
                counts_read(counts, CLUSTERS);
        }
        cr_expect_eq(counts_processes(counts), 2);
}

Test(counts, a_process_has_no_more_than_its_part_until_one_of_them_is_gone)
{
        struct pnr_counts *m[COUNTS_OF_PROCESS];
        int fd[2];
        counts_limit(counts, 100);
        for (unsigned i = 0; i < COUNTS_OF_PROCESS; i++) {
                m[i] = come();
                pid--;
        }
        pid++;
        cr_expect_not(counts_give(counts, pid, fd));
        cr_expect(counts_give(counts, pid + 1, fd), "that is another");
        go(m[7]);
        cr_expect(counts_give(counts, pid, fd));
        cr_expect_not(counts_give(counts, pid, fd));
}

/* Their numbers are 0 to us: a container's, say. */
Test(counts, processes_that_cannot_be_told_apart_share_half_of_all)
{
        int fd[2];
        for (unsigned i = 0; i < 4; i++)
                cr_expect(counts_give(counts, 0, fd));
        cr_expect_not(counts_give(counts, 0, fd));
        for (pid = 1; pid <= 4; pid++)
                cr_expect(counts_give(counts, pid, fd));
        cr_expect_not(counts_give(counts, pid, fd));
}

Test(counts, another_node_in_the_same_slot_starts_at_nothing)
{
        struct pnr_counts *m = come();
        count(m, 0, 0, 5);
        count(m, 0, 1, 6);
        cr_expect_eq(total(0), 5);
        counts_forget(counts, 0, 1);
        cr_expect_eq(total(0), 0);
        count(m, 0, 0, 2);
        cr_expect_eq(total(0), 2);
        cr_expect_eq(total(1), 6);
}

Test(counts, nothing_is_handed_out_where_the_kernel_might_kill_for_it)
{
        char path[] = "/tmp/pinroute-overcommit-XXXXXX";
        int fd = mkstemp(path);
        cr_assert_geq(fd, 0);
        static const char *const modes[] = {"0\n", "1\n", "2\n"};
        for (unsigned i = 0; i < 3; i++) {
                cr_assert_eq(pwrite(fd, modes[i], 2, 0), 2);
                cr_expect_eq(counts_may(path), i != 2, "vm.overcommit_memory = %s", modes[i]);
        }
        unlink(path);
        close(fd);
        cr_expect(counts_may(path), "no such file: no such mode");
}
