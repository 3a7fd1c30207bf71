/* test_ask_memory.c -- ask.c with a tally: what a daemon hands out is taken once, and nothing else is. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "client/ask.h"
#include "tests/unit/fake_daemon.h"

#define MS    CLOCK_NS_PER_MS
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* What a handle has in memory that a fork wipes. */
struct wiped {
        struct ask_fresh ask;
        struct tally_fresh tally;
        _Alignas(4096) struct pnr_count_lane own;
};

static char dir[64];
static struct fake fake;
static struct wiped *wiped;
static struct ask client;
static struct tally tally;
static _Atomic uint64_t budget[PNR_CLUSTERS_MAX];
static struct pnr_counts *family; /* as the daemon sees it */
static const struct view_pulse pulse = {77, 1000};

static int memfd(size_t size)
{
        int fd = memfd_create("test", MFD_ALLOW_SEALING);
        cr_assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0);
        return fd;
}

static void setup(void)
{
        strcpy(dir, "/dev/shm/pnr-ask-XXXXXX");
        cr_assert_not_null(mkdtemp(dir));
        fake_orders(&fake);
        fake.orders->features = PNR_FEATURE_COUNTS;
        fake.orders->n_handed = 2;
        fake.orders->handed[0] = memfd(sizeof *family);
        fake.orders->handed[1] = memfd(sizeof(struct pnr_common));
        fake.orders->handed[2] = memfd(1);
        family = mmap(NULL, sizeof *family, PROT_READ | PROT_WRITE, MAP_SHARED, fake.orders->handed[0], 0);
        fake_start(&fake, dir);
        wiped = mmap(NULL, sizeof *wiped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert(wiped != MAP_FAILED && madvise(wiped, sizeof *wiped, MADV_WIPEONFORK) == 0);
        cr_assert(ask_init(&client, &wiped->ask, dir));
        tally_init(&tally, &wiped->tally, &wiped->own, budget);
        client.tally = &tally;
}

static void teardown(void)
{
        ask_fini(&client);
        tally_fini(&tally);
        fake_fini(&fake);
        rmdir(dir);
}

TestSuite(ask_memory, .init = setup, .fini = teardown);

static int record(void)
{
        struct pnr_request q = {.op = PNR_OP_RECORD, .cluster = "main", .key = {1, 2}, .ms = 5};
        struct pnr_reply r;
        return ask(&client, &q, pulse, clock_ns() + 5000 * MS, &r);
}

static void hang_up_by_force(void) { cr_assert_eq(close(wiped->ask.socket.number - 1), 0); }

static unsigned open_memory(void)
{
        unsigned n = 0;
        for (int fd = 0; fd < 256; fd++)
                n += fcntl(fd, F_GET_SEALS) >= 0;
        return n;
}

/* Where one decision is counted. */
static bool counts_in_the_daemons(void)
{
        uint64_t before = family->lane[0].head.count[3];
        tally_enter(&tally, 0);
        tally_add(&tally, tally.fresh, tally_place(0, PNR_NO_NODE, 3));
        return family->lane[0].head.count[3] == before + 1;
}

Test(ask_memory, is_asked_for_once_and_its_descriptors_are_closed)
{
        unsigned before = open_memory();
        cr_expect_eq(record(), PINROUTE_OK);
        cr_expect_eq(record(), PINROUTE_OK);
        hang_up_by_force();
        cr_expect_eq(record(), PINROUTE_OK);
        cr_expect_eq(fake.orders->hellos, 2);
        cr_expect_eq(fake.orders->counts, 1);
        cr_expect_eq(open_memory(), before);
        cr_expect(counts_in_the_daemons());
        cr_expect_not(tally_may_meet(&tally, 77, 1));
}

Test(ask_memory, a_daemon_that_does_not_offer_it_is_not_asked)
{
        fake.orders->features = 0;
        cr_expect_eq(record(), PINROUTE_OK);
        cr_expect_eq(fake.orders->counts, 0);
        cr_expect_not(counts_in_the_daemons());
        cr_expect_not(tally_may_meet(&tally, 77, 1), "it was met all the same");
}

Test(ask_memory, one_that_refuses_or_hands_out_something_else_is_served_by_all_the_same)
{
        unsigned before = open_memory();
        for (unsigned n = 0; n < 2; n++) {
                fake.orders->n_handed = n;
                wiped->tally.refused_ms = 0;
                cr_expect_eq(record(), PINROUTE_OK);
                hang_up_by_force();
                cr_expect_not(counts_in_the_daemons());
        }
        cr_expect_eq(fake.orders->counts, 2);
        cr_expect_eq(open_memory(), before);
        int64_t soon_ms = clock_coarse().ms;
        cr_expect_not(tally_may_meet(&tally, 77, soon_ms));
        cr_expect(tally_may_meet(&tally, 77, soon_ms + 10000), "a read may ask, too");
}

Test(ask_memory, nothing_lands_on_the_numbers_that_the_application_has_closed_for_itself)
{
        for (int fd = 0; fd < 3; fd++) {
                int kept = dup(fd);
                close(fd);
                cr_expect_eq(record(), PINROUTE_OK);
                cr_expect_eq(fcntl(fd, F_GETFD), -1);
                dup2(kept, fd);
                close(kept);
                hang_up_by_force();
        }
        cr_expect_eq(fake.orders->counts, 0);
        cr_expect_not(counts_in_the_daemons());
}

Test(ask_memory, a_third_descriptor_never_arrives_and_none_with_another_answer)
{
        unsigned before = open_memory();
        fake.orders->n_handed = 3;
        fake.orders->always = 1;
        for (int i = 0; i < 3; i++)
                cr_expect_eq(record(), PINROUTE_OK);
        cr_expect_eq(open_memory(), before);
        cr_expect(counts_in_the_daemons());
}

Test(ask_memory, a_daemon_that_breaks_the_connection_over_it_is_asked_once)
{
        fake.orders->breaks_on_it = 1;
        cr_expect_eq(record(), PINROUTE_OK);
        cr_expect_eq(fake.orders->counts, 1);
        hang_up_by_force();
        cr_expect_eq(record(), PINROUTE_OK);
        cr_expect_eq(fake.orders->counts, 1);
}

Test(ask_memory, where_it_does_not_come_in_time_the_greeting_holds_and_it_is_asked_for_again)
{
        struct pnr_reply r;
        fake.orders->keeps_it = 1;
        fake.orders->turn = 41;
        cr_expect_eq(ask_hello(&client, clock_ns() + 200 * MS, &r), PINROUTE_OK);
        cr_expect_eq(r.turn, 41);
        cr_expect(tally_may_meet(&tally, 77, 1));
        cr_expect_not(counts_in_the_daemons());
        fake.orders->keeps_it = 0;
        cr_expect_eq(ask_hello(&client, clock_ns() + 5000 * MS, &r), PINROUTE_OK);
        cr_expect(counts_in_the_daemons());
        cr_expect_not(tally_may_meet(&tally, 77, 5000));
}

Test(ask_memory, without_a_descriptor_for_it_there_is_none_and_the_record_is_made)
{
        int next = dup(0);
        struct rlimit was;
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
        close(next); /* for the connection */
        struct rlimit tight = {(rlim_t)next + 1, was.rlim_max};
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
        cr_expect_eq(record(), PINROUTE_OK);
        cr_expect_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
        cr_expect_eq(fake.orders->counts, 1);
        cr_expect_not(counts_in_the_daemons());
}
