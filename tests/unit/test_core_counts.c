/* test_core_counts.c -- the daemon's side of counting: what it offers, and whose numbers they are after a reload. */
#include "tests/unit/core_play.h"

#include <sys/mman.h>

#include "client/pinroute.h"
#include "proto/counts.h"

static struct pnr_counts *family;

static void open_counts(void)
{
        int fd[2];
        core_open();
        core.counts = counts_open();
        counts_limit(core.counts, 1);
        cr_assert(counts_give(core.counts, 1, fd));
        family = mmap(NULL, sizeof *family, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0], 0);
        cr_assert_neq(family, MAP_FAILED);
        family->lane[0].head.next_lane = 1;
        family->lane[0].head.used = 3;
}

static void close_counts(void)
{
        counts_close(&core.counts);
        core_close();
}

TestSuite(core_counts, .init = open_counts, .fini = close_counts);

static uint64_t of(unsigned cluster, unsigned slot)
{
        counts_read(core.counts, core.n_clusters);
        return counts_of(core.counts, cluster, slot, PINROUTE_BALANCED);
}

Test(core_counts, memory_is_offered_where_there_is_any_and_asking_for_it_records_nothing)
{
        cr_expect_eq(core_ask(PNR_OP_HELLO, "", 0, 0).features, PNR_FEATURE_COUNTS);
        struct core_stats before = core.stats;
        struct pnr_reply r = core_ask(PNR_OP_COUNTS, "", 0, 0);
        cr_expect_eq(r.status, PINROUTE_OK);
        cr_expect_eq(r.features, 0);
        cr_expect_eq(core.stats.records, before.records);
        cr_expect_eq(core.stats.floored_records, before.floored_records);
        counts_close(&core.counts);
        cr_expect_eq(core_ask(PNR_OP_HELLO, "", 0, 0).features, 0);
}

Test(core_counts, after_a_reload_a_node_keeps_its_numbers_and_another_in_its_slot_has_none_of_them)
{
        for (unsigned slot = 0; slot < 3; slot++)
                family->lane[0].page[0].count[slot][PINROUTE_BALANCED] = 10 + slot;
        family->lane[0].page[1].count[1][PINROUTE_BALANCED] = 20;
        strcpy(core_cluster_conf[0].node[1].name, "another");
        core_configure(&core, core.conf, core_now);
        cr_expect_eq(of(0, 0), 10);
        cr_expect_eq(of(0, 1), 0);
        cr_expect_eq(of(0, 2), 12);
        cr_expect_eq(of(1, 1), 20);
        family->lane[0].page[0].count[1][PINROUTE_BALANCED] += 5;
        cr_expect_eq(of(0, 1), 5);
}
