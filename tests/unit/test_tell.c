/* test_tell.c -- what the daemon is told, and what becomes of what it could not be told. */
#include "client/tell.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "tests/unit/stub_play.h"

TestSuite(tell, .init = stub_open, .fini = stub_close);

Test(tell, records_and_holds_say_which_key_and_how_long)
{
        struct pnr_key key = pnr_key_of("writer", 6);
        cr_expect_eq(record("writer", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->last.op, PNR_OP_RECORD);
        cr_expect_eq(memcmp(fake.orders->last.key, key.w, sizeof key.w), 0);
        cr_expect_str_eq(fake.orders->last.cluster, "main");
        cr_expect_eq(fake.orders->last.ms, 0);
        record("writer", 7);
        cr_expect_eq(fake.orders->last.ms, 7000);
        record("writer", UINT_MAX);
        cr_expect_eq(fake.orders->last.ms, UINT32_MAX);
        cr_expect_eq(pinroute_hold(pr, cluster, "writer", 6, 250), PINROUTE_OK);
        cr_expect_eq(fake.orders->last.op, PNR_OP_HOLD);
        cr_expect_eq(fake.orders->last.ms, 250);
        expect_read("writer", PINROUTE_OK,
                    PINROUTE_BALANCED); /* what was acknowledged is the store's to know */
}

Test(tell, the_daemons_word_is_passed_on_and_what_it_refused_is_pinned_here)
{
        fake.orders->status = PINROUTE_E_CLUSTER;
        cr_expect_eq(record("a", 0), PINROUTE_E_CLUSTER);
        fake.orders->status = PINROUTE_E_INVALID;
        cr_expect_eq(record("a", 0), PINROUTE_E_INVALID);
        expect_read("a", PINROUTE_OK, PINROUTE_BALANCED);
        fake.orders->status = PINROUTE_E_REFUSED;
        cr_expect_eq(record("a", 0), PINROUTE_E_REFUSED);
        expect_read("a", PINROUTE_OK, PINROUTE_PINNED);
        fake.orders->status = 4711;
        cr_expect_eq(record("b", 0), PINROUTE_E_REFUSED);
        expect_read("b", PINROUTE_OK, PINROUTE_PINNED);
}

Test(tell, a_record_that_failed_pins_its_key_here_and_is_sent_again)
{
        live.cluster[0].node[1].caught_up = UINT64_MAX;
        live_beat(&live, 0);
        fake_kill(&fake);
        pinroute_set_timeout(pr, 10);
        cr_expect_eq(record("a", 0), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(record("b", 1000), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(pinroute_hold(pr, cluster, "c", 1, 5000), PINROUTE_E_UNREACHABLE);
        cr_expect(expect_read("a", PINROUTE_OK, PINROUTE_PINNED).pin_left_ms <= 15000);
        uint32_t left_ms = expect_read("b", PINROUTE_OK, PINROUTE_PINNED).pin_left_ms;
        cr_expect(left_ms > 200000 && left_ms <= 300000, "cut to max_pin_seconds");
        cr_expect(expect_read("c", PINROUTE_OK, PINROUTE_PINNED).pin_left_ms <= 5000);
        expect_read("d", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
        fake_start(&fake, live.dir);
        pinroute_set_timeout(pr, 5000);
        live_beat(&live, 1); /* closes the breaker */
        cr_expect_eq(record("d", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 3);
        cr_expect_eq(fake.orders->holds, 1);
        expect_read("a", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("b", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("c", PINROUTE_OK, PINROUTE_BALANCED);
        record("d", 0);
        cr_expect_eq(fake.orders->records, 4, "once");
}

Test(tell, too_many_failed_records_pin_every_key_of_the_process)
{
        fake_kill(&fake);
        pinroute_set_timeout(pr, 1);
        for (int i = 0; i < 65; i++) {
                char key[16];
                snprintf(key, sizeof key, "key-%d", i);
                expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
                cr_expect_eq(record(key, 0), PINROUTE_E_UNREACHABLE);
        }
        expect_read("nobody", PINROUTE_OK, PINROUTE_PINNED);
        expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
}

/* ---- many at once ---- */

#define MANY 200

static struct pinroute_key keys[MANY];
static char names[MANY][8];

static const struct pinroute_key *keys_from(unsigned first)
{
        for (unsigned i = 0; i < MANY; i++) {
                snprintf(names[i], sizeof names[i], "k%u", i);
                keys[i] = (struct pinroute_key){names[i], strlen(names[i])};
        }
        return keys + first;
}

static int record_many(unsigned n, unsigned seconds)
{
        errno = 77;
        int status = pinroute_record_writes(pr, cluster, keys_from(0), n, seconds);
        cr_expect_eq(errno, 77);
        return status;
}

static bool is_key(const uint64_t words[2], const char *name)
{
        struct pnr_key key = pnr_key_of(name, strlen(name));
        return memcmp(words, key.w, sizeof key.w) == 0;
}

Test(tell, many_writes_are_told_in_one_frame_of_64)
{
        cr_expect_eq(record_many(64, 7), PINROUTE_OK);
        cr_expect_eq(fake.orders->batches, 1);
        cr_expect_eq(fake.orders->records, 64);
        const struct pnr_records *f = &fake.orders->last_many;
        cr_expect_str_eq(f->head.cluster, "main");
        cr_expect_eq(f->head.ms, 7000);
        cr_expect_eq(f->head.n, 64);
        for (unsigned i = 0; i < 64; i++)
                cr_expect(is_key(f->key[i], names[i]));
        cr_expect_eq(record_many(2, 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->batches, 2);
        cr_expect_eq(f->head.ms, 0);
        cr_expect_eq(record_many(MANY, 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->batches, 6);
        cr_expect_eq(fake.orders->records, 66 + MANY);
        cr_expect_eq(record_many(129, 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->batches, 8);
        cr_expect_eq(fake.orders->last.op, PNR_OP_RECORD, "one key needs no such frame");
        cr_expect(is_key(fake.orders->last.key, names[128]));
        expect_read(names[0], PINROUTE_OK, PINROUTE_BALANCED);
}

Test(tell, no_writes_are_recorded_without_a_word_and_a_bad_key_sends_none)
{
        char big[PINROUTE_KEY_MAX + 1] = {1};
        cr_expect_eq(record_many(0, 0), PINROUTE_OK);
        cr_expect_eq(pinroute_record_writes(pr, cluster, NULL, 0, 0), PINROUTE_OK);
        const struct pinroute_key bad[] = {{NULL, 1}, {"", 0}, {big, sizeof big}};
        for (unsigned i = 0; i < 3; i++) {
                keys_from(0);
                keys[MANY - 1] = bad[i];
                cr_expect_eq(pinroute_record_writes(pr, cluster, keys, MANY, 0), PINROUTE_E_INVALID);
        }
        cr_expect_eq(pinroute_record_writes(pr, cluster, NULL, 1, 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_writes(pr, 7, keys_from(0), 1, 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_writes(NULL, cluster, keys_from(0), 1, 0), PINROUTE_E_INVALID);
        cr_expect_eq(fake.orders->records, 0);
}

Test(tell, an_older_daemon_is_told_one_by_one_and_one_that_takes_few_in_fews)
{
        fake.orders->records_max = 0;
        cr_expect_eq(record_many(64, 7), PINROUTE_OK);
        cr_expect_eq(fake.orders->batches, 0);
        cr_expect_eq(fake.orders->records, 64);
        cr_expect_eq(fake.orders->connections, 2, "one of them when the handle was opened");
        cr_expect(is_key(fake.orders->last.key, names[63]));
        fake_kill(&fake);
        fake.orders->records_max = 10;
        fake_start(&fake, live.dir);
        cr_expect_eq(record("first", 0), PINROUTE_OK);
        cr_expect_eq(record_many(64, 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->batches, 7);
        cr_expect_eq(fake.orders->records, 129);
}

Test(tell, of_many_writes_that_failed_those_that_were_not_told_are_pinned_here_and_sent_again)
{
        fake_kill(&fake);
        pinroute_set_timeout(pr, 10);
        cr_expect_eq(record_many(3, 0), PINROUTE_E_UNREACHABLE);
        for (unsigned i = 0; i < 3; i++)
                expect_read(names[i], PINROUTE_OK, PINROUTE_PINNED);
        expect_read("k3", PINROUTE_OK, PINROUTE_BALANCED);
        fake_start(&fake, live.dir);
        pinroute_set_timeout(pr, 5000);
        live_beat(&live, 1);
        cr_expect_eq(record_many(1, 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 4);
        expect_read(names[2], PINROUTE_OK, PINROUTE_BALANCED);
        fake.orders->status = PINROUTE_E_CLUSTER;
        cr_expect_eq(record_many(3, 0), PINROUTE_E_CLUSTER);
        expect_read(names[0], PINROUTE_OK, PINROUTE_BALANCED);
        fake.orders->status = 4711;
        cr_expect_eq(record_many(3, 0), PINROUTE_E_REFUSED);
        expect_read(names[0], PINROUTE_OK, PINROUTE_PINNED);
        expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
        cr_expect_eq(record_many(MANY, 0), PINROUTE_E_REFUSED);
        expect_read("nobody", PINROUTE_OK, PINROUTE_PINNED);
}

/* ---- now and later ---- */

static int send_keys(unsigned first, unsigned n, struct pinroute_pending *p)
{
        memset(p, 0xee, sizeof *p);
        errno = 77;
        int status = pinroute_record_send(pr, cluster, keys_from(first), n, 0, p);
        cr_expect_eq(errno, 77);
        return status;
}

static int wait_for_it(struct pinroute_pending *p)
{
        errno = 77;
        int status = pinroute_record_wait(pr, p);
        cr_expect_eq(errno, 77);
        return status;
}

static void await_done(unsigned n)
{
        while (fake.orders->done < n)
                poll(NULL, 0, 1);
}

static void freeze(bool frozen) { cr_assert_eq(kill(fake.pid, frozen ? SIGSTOP : SIGCONT), 0); }

Test(tell, what_was_sent_is_pinned_here_until_the_wait_is_answered)
{
        struct pinroute_pending p;
        cr_expect_eq(record("first", 0), PINROUTE_OK);
        freeze(true); /* whoever waits for an answer now waits for his deadline */
        pinroute_set_timeout(pr, 60000);
        cr_expect_eq(send_keys(0, 64, &p), PINROUTE_OK);
        for (unsigned i = 0; i < 64; i++)
                expect_read(names[i], PINROUTE_OK, PINROUTE_PINNED);
        expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
        freeze(false);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
        cr_expect_eq(fake.orders->batches, 1);
        cr_expect_eq(fake.orders->records, 65, "told once");
        for (unsigned i = 0; i < 64; i++)
                expect_read(names[i], PINROUTE_OK, PINROUTE_BALANCED);
        fake_kill(&fake);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK, "the same again, and nobody is asked");
}

Test(tell, several_that_are_under_way_are_waited_for_in_any_order_and_others_ask_between)
{
        struct pinroute_pending p[4];
        unsigned first[] = {0, 20, 40, 60};
        for (unsigned i = 0; i < 4; i++)
                cr_expect_eq(send_keys(first[i], i + 1, &p[i]), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p[1]), PINROUTE_OK);
        expect_read("k20", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED); /* its answer came before */
        expect_read("k40", PINROUTE_OK, PINROUTE_PINNED);
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p[3]), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p[0]), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p[2]), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 11, "each told once");
        cr_expect_eq(fake.orders->connections, 2);
}

Test(tell, each_has_its_own_answer)
{
        struct pinroute_pending p[3];
        cr_expect_eq(send_keys(0, 2, &p[0]), PINROUTE_OK);
        cr_expect_eq(record("other", 0), PINROUTE_OK); /* so that the first is answered now */
        fake.orders->status = PINROUTE_E_CLUSTER;
        cr_expect_eq(send_keys(10, 2, &p[1]), PINROUTE_OK);
        cr_expect_eq(record("other", 0), PINROUTE_E_CLUSTER);
        fake.orders->status = PINROUTE_E_REFUSED;
        cr_expect_eq(send_keys(20, 2, &p[2]), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p[2]), PINROUTE_E_REFUSED);
        cr_expect_eq(wait_for_it(&p[1]), PINROUTE_E_CLUSTER);
        cr_expect_eq(wait_for_it(&p[0]), PINROUTE_OK);
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("k10", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("k20", PINROUTE_OK, PINROUTE_PINNED);
        fake.orders->status = PINROUTE_OK;
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        expect_read("k20", PINROUTE_OK, PINROUTE_BALANCED);
        for (int i = 0; i < 3; i++)
                cr_expect_eq(wait_for_it(&p[i]), i == 0   ? PINROUTE_OK
                                                 : i == 1 ? PINROUTE_E_CLUSTER
                                                          : PINROUTE_E_REFUSED);
}

Test(tell, a_daemon_that_goes_before_it_answers_is_told_again_when_it_is_back)
{
        struct pinroute_pending p;
        cr_expect_eq(record("first", 0), PINROUTE_OK);
        freeze(true);
        cr_expect_eq(send_keys(0, 5, &p), PINROUTE_OK);
        fake_kill(&fake);
        fake_start(&fake, live.dir);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 6);
        expect_read("k4", PINROUTE_OK, PINROUTE_BALANCED);
        freeze(true);
        cr_expect_eq(send_keys(10, 5, &p), PINROUTE_OK);
        fake_kill(&fake);
        pinroute_set_timeout(pr, 20);
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_UNREACHABLE);
        expect_read("k14", PINROUTE_OK, PINROUTE_PINNED);
        fake_start(&fake, live.dir);
        pinroute_set_timeout(pr, 5000);
        live_beat(&live, 1);
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 12, "what it owed was sent again");
        expect_read("k14", PINROUTE_OK, PINROUTE_BALANCED);
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_UNREACHABLE, "as it was then");
}

Test(tell, a_wait_that_is_over_closes_the_connection_and_the_answer_is_never_taken_for_another)
{
        struct pinroute_pending p, q;
        cr_expect_eq(record("first", 0), PINROUTE_OK);
        freeze(true);
        pinroute_set_timeout(pr, 20);
        cr_expect_eq(send_keys(0, 2, &p), PINROUTE_OK);
        cr_expect_eq(send_keys(10, 2, &q), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_UNREACHABLE);
        expect_read("k0", PINROUTE_OK, PINROUTE_PINNED);
        expect_read("k10", PINROUTE_OK, PINROUTE_PINNED);
        pinroute_set_timeout(pr, 5000);
        freeze(false);
        fake.orders->status = PINROUTE_E_REFUSED; /* of all that is asked from now on */
        cr_expect_eq(wait_for_it(&q), PINROUTE_E_REFUSED, "it asked again");
        expect_read("k10", PINROUTE_OK, PINROUTE_PINNED);
}

Test(tell, an_answer_that_is_none_is_asked_for_again)
{
        static const int kinds[] = {FAKE_WRONG_NUMBER, FAKE_SHORT, FAKE_LONG, FAKE_EMPTY, FAKE_CLOSES};
        cr_expect_eq(record("first", 0), PINROUTE_OK);
        for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
                struct pinroute_pending p;
                unsigned before = fake.orders->records, done = fake.orders->done;
                fake.orders->kind = kinds[i];
                cr_expect_eq(send_keys(0, 2, &p), PINROUTE_OK);
                await_done(done + 1);
                fake.orders->kind = FAKE_ANSWERS;
                cr_expect_eq(wait_for_it(&p), PINROUTE_OK, "kind %d", kinds[i]);
                cr_expect_eq(fake.orders->records, before + 4, "kind %d", kinds[i]);
                expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
        }
}

Test(tell, what_nobody_waits_for_is_paid_by_its_answer_or_sent_again)
{
        struct pinroute_pending p;
        cr_expect_eq(send_keys(0, 64, &p), PINROUTE_OK);
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 65, "the answer was met on the way");
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
        freeze(true);
        cr_expect_eq(send_keys(0, 3, &p), PINROUTE_OK);
        fake_kill(&fake);
        fake_start(&fake, live.dir);
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 69);
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
        for (unsigned i = 0; i < 100; i++)
                cr_expect_eq(send_keys(i, 1, &p), PINROUTE_OK);
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        for (unsigned i = 0; i < 100; i++)
                expect_read(names[i], PINROUTE_OK, PINROUTE_BALANCED);
}

Test(tell, where_too_much_is_under_way_send_waits_for_the_answer_itself)
{
        struct pinroute_pending p[17], q;
        for (unsigned i = 0; i < 17; i++)
                cr_expect_eq(send_keys(i, 1, &p[i]), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 17);
        expect_read("k16", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("k15", PINROUTE_OK, PINROUTE_BALANCED); /* its answer came before */
        for (unsigned i = 0; i < 17; i++)
                cr_expect_eq(wait_for_it(&p[i]), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 17, "each told once");
        cr_expect_eq(send_keys(0, 40, &p[0]), PINROUTE_OK);
        cr_expect_eq(send_keys(40, 40, &q), PINROUTE_OK);
        expect_read("k79", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("k39", PINROUTE_OK, PINROUTE_BALANCED);
        cr_expect_eq(wait_for_it(&q), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p[0]), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 97);
}

Test(tell, an_older_daemon_is_sent_one_key_ahead_and_told_of_more_at_once)
{
        struct pinroute_pending p;
        fake.orders->records_max = 0;
        cr_expect_eq(send_keys(0, 1, &p), PINROUTE_OK);
        expect_read("k0", PINROUTE_OK, PINROUTE_PINNED);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
        cr_expect_eq(send_keys(0, 3, &p), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 4);
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
        fake_kill(&fake);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
}

Test(tell, a_daemon_that_is_not_there_fails_the_send_and_the_wait_says_so_at_once)
{
        struct pinroute_pending p;
        fake_kill(&fake);
        pinroute_set_timeout(pr, 20);
        cr_expect_eq(send_keys(0, 2, &p), PINROUTE_E_UNREACHABLE);
        pinroute_set_timeout(pr, 60000);
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_UNREACHABLE);
        expect_read("k0", PINROUTE_OK, PINROUTE_PINNED);
        pinroute_set_timeout(pr, 20);
        freeze(false);
        fake_start(&fake, live.dir);
        fake.orders->kind = FAKE_NEVER;
        for (int i = 0; i < 3; i++)
                cr_expect_eq(record("other", 0), PINROUTE_E_UNREACHABLE);
        pinroute_set_timeout(pr, 60000);
        unsigned before = fake.orders->connections;
        cr_expect_eq(send_keys(10, 2, &p), PINROUTE_E_UNREACHABLE, "the breaker is open");
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(fake.orders->connections, before);
        expect_read("k10", PINROUTE_OK, PINROUTE_PINNED);
}

Test(tell, a_key_that_others_owe_for_stays_owed_when_one_of_them_is_answered)
{
        struct pinroute_pending p, q;
        cr_expect_eq(record("first", 0), PINROUTE_OK);
        unsigned done = fake.orders->done;
        cr_expect_eq(send_keys(0, 1, &p), PINROUTE_OK);
        await_done(done + 1);
        fake.orders->status = PINROUTE_E_REFUSED;
        cr_expect_eq(record("k0", 1000), PINROUTE_E_REFUSED);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK, "it was asked before");
        expect_read("k0", PINROUTE_OK, PINROUTE_PINNED);
        fake.orders->status = PINROUTE_OK;
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
        cr_expect_eq(send_keys(0, 1, &p), PINROUTE_OK);
        cr_expect_eq(send_keys(0, 1, &q), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&q), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
}

Test(tell, a_child_may_wait_for_what_its_parent_sent_and_takes_no_answer_of_its_own_for_that)
{
        struct pinroute_pending p, own;
        cr_expect_eq(send_keys(0, 2, &p), PINROUTE_OK);
        pid_t child = fork();
        if (child == 0) {
                fake.orders->status = PINROUTE_E_CLUSTER;
                bool good = pinroute_record_send(pr, cluster, keys_from(20), 2, 0, &own) == PINROUTE_OK;
                good = good && pinroute_record_wait(pr, &own) == PINROUTE_E_CLUSTER;
                fake.orders->status = PINROUTE_OK;
                good = good && pinroute_record_send(pr, cluster, keys_from(30), 2, 0, &own) == PINROUTE_OK;
                fake.orders->status = good ? PINROUTE_E_REFUSED : PINROUTE_OK;
                good = good && pinroute_record_wait(pr, &p) == PINROUTE_E_REFUSED;
                _exit(good ? 0 : 1);
        }
        int ended;
        cr_assert_eq(waitpid(child, &ended, 0), child);
        cr_expect_eq(ended, 0);
        fake.orders->status = PINROUTE_OK;
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
        expect_read("k0", PINROUTE_OK, PINROUTE_BALANCED);
}

Test(tell, what_was_never_sent_or_by_another_handle_is_not_waited_for)
{
        struct pinroute_pending p, none = {0};
        char big[PINROUTE_KEY_MAX + 1] = {1};
        cr_expect_eq(wait_for_it(&none), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_wait(pr, NULL), PINROUTE_E_INVALID);
        cr_expect_eq(send_keys(0, 65, &p), PINROUTE_E_INVALID);
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_INVALID);
        cr_expect_eq(send_keys(0, 0, &p), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
        cr_expect_eq(pinroute_record_send(pr, cluster, NULL, 1, 0, &p), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_send(pr, 7, keys_from(0), 1, 0, &p), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_send(NULL, cluster, keys_from(0), 1, 0, &p), PINROUTE_E_INVALID);
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_send(pr, cluster, keys_from(0), 1, 0, NULL), PINROUTE_E_INVALID);
        const struct pinroute_key bad = {big, sizeof big};
        cr_expect_eq(pinroute_record_send(pr, cluster, &bad, 1, 0, &p), PINROUTE_E_INVALID);
        cr_expect_eq(fake.orders->records, 0);
        cr_expect_eq(send_keys(0, 2, &p), PINROUTE_OK);
        cr_expect_eq(pinroute_record_wait(NULL, &p), PINROUTE_E_INVALID);
        pinroute_close(&pr);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
        cr_expect_eq(wait_for_it(&p), PINROUTE_E_INVALID);
        cr_expect_eq(record("other", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 3, "nothing was sent for it again");
}

Test(tell, where_it_has_no_room_to_be_owed_and_the_answer_does_not_come_every_key_is_pinned)
{
        struct pinroute_pending p, q;
        cr_expect_eq(record("first", 0), PINROUTE_OK);
        freeze(true);
        pinroute_set_timeout(pr, 20);
        cr_expect_eq(send_keys(0, 40, &p), PINROUTE_OK);
        cr_expect_eq(send_keys(40, 40, &q), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(wait_for_it(&q), PINROUTE_E_UNREACHABLE);
        expect_read("k79", PINROUTE_OK, PINROUTE_PINNED);
        freeze(false);
        pinroute_set_timeout(pr, 5000);
        cr_expect_eq(wait_for_it(&p), PINROUTE_OK);
        expect_read("k79", PINROUTE_OK, PINROUTE_PINNED);
}

struct others {
        atomic_bool stop;
        unsigned recorded, failed;
};

static void *record_others(void *arg)
{
        struct others *o = arg;
        while (!atomic_load(&o->stop)) {
                o->recorded++;
                o->failed += pinroute_record_write(pr, cluster, "other", 5, 0) != PINROUTE_OK;
        }
        return NULL;
}

Test(tell, what_one_thread_sends_no_other_sends_again)
{
        pthread_t thread;
        struct others others = {false};
        struct pinroute_pending p;
        pthread_create(&thread, NULL, record_others, &others);
        for (unsigned i = 0; i < 1000; i++) {
                cr_assert_eq(send_keys(0, 30, &p), PINROUTE_OK);
                cr_assert_eq(wait_for_it(&p), PINROUTE_OK);
        }
        atomic_store(&others.stop, true);
        pthread_join(thread, NULL);
        cr_expect_eq(others.failed, 0);
        cr_expect_eq(fake.orders->batches, 1000);
        cr_expect_eq(fake.orders->records, 30000 + others.recorded);
}
