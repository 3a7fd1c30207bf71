/* test_ask.c -- one request, one reply, one deadline, against a daemon that misbehaves. */
#include "client/ask.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "tests/unit/fake_daemon.h"

#define MS CLOCK_NS_PER_MS

static char dir[64];
static struct fake fake;
static struct ask_fresh *fresh;
static struct ask client;
static const struct view_pulse pulse = {77, 1000};

static unsigned sockets_before; /* the test runner's */

static unsigned open_sockets(void)
{
        unsigned n = 0 - sockets_before;
        struct stat st;
        for (int fd = 0; fd < 256; fd++)
                n += fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
        return n;
}

static void setup(void)
{
        strcpy(dir, "/dev/shm/pnr-ask-XXXXXX");
        cr_assert_not_null(mkdtemp(dir));
        fake_start(&fake, dir);
        fresh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_eq(madvise(fresh, 4096, MADV_WIPEONFORK), 0);
        cr_assert(ask_init(&client, fresh, dir));
        sockets_before = open_sockets();
}

static void teardown(void)
{
        ask_fini(&client);
        fake_fini(&fake);
        rmdir(dir);
}

TestSuite(ask, .init = setup, .fini = teardown);

static int record_with(struct view_pulse p, int timeout_ms)
{
        struct pnr_request q = {.op = PNR_OP_RECORD, .cluster = "main", .key = {1, 2}, .ms = 5};
        struct pnr_reply r;
        return ask(&client, &q, p, clock_ns() + timeout_ms * MS, &r);
}

static int record(int timeout_ms) { return record_with(pulse, timeout_ms); }

/* Records against a daemon that fails: it must not take longer than asked, loosely. */
static void expect_failure(int timeout_ms)
{
        int64_t before_ns = clock_ns();
        errno = 77;
        cr_expect_eq(record(timeout_ms), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(errno, 77);
        int64_t took_ns = clock_ns() - before_ns;
        cr_expect(took_ns < (4 * timeout_ms + 100) * MS, "took %ld ms", (long)(took_ns / MS));
}

/* Says HELLO until an answer was quick enough. */
static void learn_clock(void)
{
        struct pnr_reply r;
        client.clock_known = false;
        for (int i = 0; i < 1000 && !ask_knows_clock(&client); i++)
                cr_assert_eq(ask_hello(&client, clock_ns() + 5000 * MS, &r), PINROUTE_OK);
        cr_assert(ask_knows_clock(&client));
}

Test(ask, says_hello_once_per_connection_and_keeps_it)
{
        learn_clock();
        unsigned before = fake.orders->connections;
        cr_expect_eq(fake.orders->hellos, before);
        errno = 77;
        for (int i = 0; i < 100; i++)
                cr_assert_eq(record(2000), PINROUTE_OK);
        cr_expect_eq(errno, 77);
        cr_expect_eq(fake.orders->connections, before + 1);
        cr_expect_eq(fake.orders->hellos, before + 1);
        cr_expect_eq(fake.orders->records, 100);
        cr_expect(fcntl(fresh->socket.number - 1, F_GETFD) & FD_CLOEXEC);
}

Test(ask, an_answer_that_comes_too_late_is_never_taken_for_the_next)
{
        fake.orders->kind = FAKE_LATE;
        fake.orders->late_ms = 60;
        cr_assert_eq(record(20), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(fresh->socket.number, 0, "the connection is closed");
        fake.orders->kind = FAKE_ANSWERS;
        cr_expect_eq(record(2000), PINROUTE_OK);
        cr_expect_eq(fake.orders->connections, 2);
}

Test(ask, a_silent_daemon_costs_the_deadline_and_a_wrong_answer_nothing_but_the_connection)
{
        static const int kinds[] = {FAKE_NEVER, FAKE_WRONG_NUMBER, FAKE_SHORT,
                                    FAKE_LONG,  FAKE_EMPTY,        FAKE_CLOSES};
        for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
                fake.orders->kind = kinds[i];
                expect_failure(20);
                cr_expect_eq(fresh->socket.number, 0, "kind %d", kinds[i]);
                fake.orders->kind = FAKE_ANSWERS;
                cr_expect_eq(record(2000), PINROUTE_OK, "kind %d", kinds[i]);
        }
        cr_expect_eq(open_sockets(), 1);
}

Test(ask, a_full_backlog_is_waited_for_within_the_deadline)
{
        fake_kill(&fake);
        fake_listen(&fake, dir, 0);
        int crowd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        cr_assert_eq(connect(crowd, (void *)&fake.address, sizeof fake.address), 0);
        int64_t before_ns = clock_ns();
        expect_failure(20);
        cr_expect(clock_ns() - before_ns >= 20 * MS, "not before its time");
        close(crowd);
        cr_expect_eq(open_sockets(), 1, "the listener");
}

static void *start_later(void *arg)
{
        poll(NULL, 0, 30);
        fake_start(&fake, dir);
        return arg;
}

Test(ask, a_daemon_that_comes_back_within_the_deadline_is_reached)
{
        pthread_t t;
        cr_assert_eq(record(2000), PINROUTE_OK);
        fake_kill(&fake);
        pthread_create(&t, NULL, start_later, NULL);
        cr_expect_eq(record(10000), PINROUTE_OK, "the socket refuses at first");
        pthread_join(t, NULL);
        fake_kill(&fake);
        unlink(fake.address.sun_path);
        pthread_create(&t, NULL, start_later, NULL);
        cr_expect_eq(record(10000), PINROUTE_OK, "the socket is not there at first");
        pthread_join(t, NULL);
}

Test(ask, a_daemon_that_is_not_there_is_waited_for_once)
{
        fake_kill(&fake);
        expect_failure(30);
        int64_t before_ns = clock_ns();
        for (int i = 0; i < 10; i++)
                cr_assert_eq(record(1000), PINROUTE_E_UNREACHABLE);
        cr_expect(clock_ns() - before_ns < 500 * MS, "at once");
        fake_start(&fake, dir);
        cr_expect_eq(record(2000), PINROUTE_OK, "it is found as soon as it is there");
        cr_expect_eq(fresh->failures, 0);
}

Test(ask, after_three_failures_the_breaker_asks_no_more_until_the_pulse_moves_or_a_second_is_over)
{
        fake.orders->kind = FAKE_NEVER;
        for (int i = 0; i < 3; i++)
                expect_failure(10);
        cr_expect_eq(fake.orders->connections, 3);
        int64_t before_ns = clock_ns();
        for (int i = 0; i < 100; i++)
                cr_assert_eq(record(1000), PINROUTE_E_UNREACHABLE);
        cr_expect(clock_ns() - before_ns < 500 * MS, "at once");
        cr_expect_eq(fake.orders->connections, 3, "nobody asked");
        fake.orders->kind = FAKE_ANSWERS;
        cr_expect_eq(record_with((struct view_pulse){77, 1100}, 2000), PINROUTE_OK, "the heartbeat moved");
        fake.orders->kind = FAKE_NEVER;
        for (int i = 0; i < 3; i++)
                expect_failure(10);
        cr_expect_eq(record_with((struct view_pulse){78, 1000}, 10), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(fake.orders->connections, 7, "the epoch moved: it asked");
        fake.orders->kind = FAKE_ANSWERS;
        fresh->open_until_ns = clock_ns();
        cr_expect_eq(record_with((struct view_pulse){78, 1000}, 2000), PINROUTE_OK, "its time is over");
        cr_expect_eq(fresh->failures, 0);
}

Test(ask, a_daemon_that_breaks_every_connection_opens_the_breaker_too)
{
        fake.orders->kind = FAKE_CLOSES;
        for (int i = 0; i < 20; i++)
                cr_assert_eq(record(2000), PINROUTE_E_UNREACHABLE);
        cr_expect_leq(fake.orders->connections, 9, "three for each of three requests");
        fake.orders->kind = FAKE_ANSWERS;
        fresh->open_until_ns = clock_ns();
        cr_expect_eq(record(2000), PINROUTE_OK);
}

Test(ask, hello_tells_a_clock_of_another_namespace_and_ignores_a_slow_one)
{
        struct pnr_reply r;
        fake.orders->turn = 5;
        cr_assert_eq(ask_hello(&client, clock_ns() + 2000 * MS, &r), PINROUTE_OK);
        cr_expect_eq(r.turn, 5);
        cr_expect_eq(client.clock_ahead_ms, 0);
        cr_expect_eq(open_sockets(), 0, "a prefork master keeps nothing");
        fake.orders->ahead_ms = 500000;
        cr_assert_eq(ask_hello(&client, clock_ns() + 2000 * MS, &r), PINROUTE_OK);
        cr_expect(client.clock_ahead_ms > 499000 && client.clock_ahead_ms < 501000);
        fake.orders->kind = FAKE_LATE;
        fake.orders->late_ms = 40;
        fake.orders->ahead_ms = 0;
        cr_assert_eq(ask_hello(&client, clock_ns() + 5000 * MS, &r), PINROUTE_OK);
        cr_expect(client.clock_ahead_ms > 499000, "who knows when it looked at its clock");
        fake.orders->kind = FAKE_ANSWERS;
        cr_assert_eq(ask_hello(&client, clock_ns() + 2000 * MS, &r), PINROUTE_OK);
        cr_expect_eq(client.clock_ahead_ms, 0);
        fake.orders->ahead_ms = 1ll << 60;
        cr_expect_eq(ask_hello(&client, clock_ns() + 2000 * MS, &r), PINROUTE_E_UNREACHABLE,
                     "no clock says that");
}

Test(ask, an_offset_far_below_a_second_is_another_clock_and_is_taken_to_the_earlier_side)
{
        static const int ahead_ms[] = {850, -850, 100, -100, 0};
        for (unsigned i = 0; i < sizeof ahead_ms / sizeof *ahead_ms; i++) {
                fake.orders->ahead_ms = ahead_ms[i];
                learn_clock();
                int64_t got_ms = client.clock_ahead_ms;
                cr_expect(got_ms <= ahead_ms[i] && got_ms >= ahead_ms[i] - 23, "%d: %ld", ahead_ms[i],
                          (long)got_ms);
        }
        cr_expect_eq(client.clock_ahead_ms, 0, "our own");
}

Test(ask, the_daemons_clock_is_unknown_until_a_hello_was_answered_quickly)
{
        struct pnr_reply r;
        cr_expect_not(ask_knows_clock(&client));
        fake.orders->ahead_ms = 850;
        fake.orders->kind = FAKE_LATE;
        fake.orders->late_ms = 40;
        cr_assert_eq(ask_hello(&client, clock_ns() + 5000 * MS, &r), PINROUTE_OK);
        cr_expect_not(ask_knows_clock(&client));
        cr_assert_eq(record(5000), PINROUTE_OK);
        cr_expect_not(ask_knows_clock(&client));
        fake.orders->kind = FAKE_ANSWERS;
        for (int i = 0; i < 1000 && !ask_knows_clock(&client); i++)
                cr_assert_eq(record(5000), PINROUTE_OK);
        cr_expect(ask_knows_clock(&client), "a kept connection is greeted again");
        cr_expect(client.clock_ahead_ms > 800 && client.clock_ahead_ms <= 850);
        cr_expect_eq(fake.orders->connections, 2);
        unsigned hellos = fake.orders->hellos;
        cr_assert_eq(record(5000), PINROUTE_OK);
        cr_expect_eq(fake.orders->hellos, hellos, "once is enough");
}

Test(ask, a_slow_first_hello_tells_no_more_than_that_the_clock_may_be_ours)
{
        struct pnr_reply r;
        fake.orders->kind = FAKE_LATE;
        fake.orders->late_ms = 80;
        cr_assert_eq(ask_hello(&client, clock_ns() + 5000 * MS, &r), PINROUTE_OK);
        cr_expect_not(ask_knows_clock(&client), "too slow even for that");
        fake.orders->late_ms = 25;
        for (int i = 0; i < 1000 && !ask_knows_clock(&client); i++)
                cr_assert_eq(ask_hello(&client, clock_ns() + 5000 * MS, &r), PINROUTE_OK);
        cr_expect(ask_knows_clock(&client));
        cr_expect_eq(client.clock_ahead_ms, 0);
}

Test(ask, hello_has_no_patience_with_a_daemon_that_is_not_there)
{
        struct pnr_reply r;
        fake_kill(&fake);
        int64_t before_ns = clock_ns();
        cr_expect_eq(ask_hello(&client, before_ns + 5000 * MS, &r), PINROUTE_E_UNREACHABLE);
        cr_expect(clock_ns() - before_ns < 1000 * MS);
        cr_expect_eq(fresh->failures, 0);
}

/* The application closed our descriptor and got the same number for its own socket, its file, or for nothing.
 */
static int ask_now(int timeout_ms)
{
        struct pnr_request q = {.op = PNR_OP_TOKEN, .cluster = "main", .key = {1, 2}, .ms = 5, .stamp = 6};
        struct pnr_reply r;
        return ask_if_there(&client, &q, pulse, clock_ns() + timeout_ms * MS, &r);
}

/* What is recorded meanwhile has patience: the breaker must not open because somebody had none. */
Test(ask, who_asks_only_if_the_daemon_is_there_does_not_wait_and_does_not_open_the_breaker)
{
        cr_expect_eq(ask_now(5000), PINROUTE_OK);
        fake_kill(&fake);
        int64_t before_ns = clock_ns();
        for (int i = 0; i < 10; i++) {
                errno = 77;
                cr_expect_eq(ask_now(5000), PINROUTE_E_UNREACHABLE);
                cr_expect_eq(errno, 77);
        }
        cr_expect(clock_ns() - before_ns < 1000 * MS);
        cr_expect_eq(fresh->failures, 0);
        fake_start(&fake, dir);
        cr_expect_eq(ask_now(5000), PINROUTE_OK);
        fake.orders->kind = FAKE_NEVER;
        for (int i = 0; i < 3; i++)
                cr_expect_eq(ask_now(10), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(fresh->failures, 3, "one that hangs is waited for, and counted");
}

Test(ask, a_descriptor_that_was_closed_behind_our_back_is_neither_written_to_nor_closed)
{
        for (int i = 0; i < 3; i++) {
                char byte;
                int pair[2];
                cr_assert_eq(record(2000), PINROUTE_OK);
                int number = fresh->socket.number - 1;
                cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
                int file = open("/dev/zero", O_RDWR);
                close(number);
                if (i == 0)
                        cr_assert_eq(dup2(pair[0], number), number);
                if (i == 1)
                        cr_assert_eq(dup2(file, number), number);
                cr_expect_eq(record(2000), PINROUTE_OK);
                cr_expect_eq(recv(pair[1], &byte, 1, 0), -1, "nothing was sent to it, and it was not closed");
                cr_expect_eq(errno, EAGAIN);
                if (i < 2) {
                        cr_expect_neq(fcntl(number, F_GETFD), -1);
                        cr_expect_neq(fresh->socket.number - 1, number);
                        close(number);
                }
                close(pair[0]), close(pair[1]), close(file);
                ask_fini(&client);
        }
}

static int taken[2]; /* the application's pair, the first of which takes our number */

/* Once the request is out. */
static void *take_number(void *arg)
{
        unsigned before = *(unsigned *)arg;
        while (atomic_load(&fake.orders->records) == before)
                poll(NULL, 0, 1);
        cr_assert_eq(send(taken[1], "data", 4, 0), 4);
        int number = fresh->socket.number - 1;
        cr_assert_eq(dup2(taken[0], number), number);
        taken[0] = number;
        return NULL;
}

Test(ask, while_it_waits_its_number_may_become_a_socket_whose_data_is_not_ours)
{
        pthread_t t;
        char data[8];
        unsigned before = atomic_load(&fake.orders->records) + 1;
        cr_assert_eq(record(5000), PINROUTE_OK);
        cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, taken), 0);
        fake.orders->late_ms = 50;
        fake.orders->kind = FAKE_LATE;
        pthread_create(&t, NULL, take_number, &before);
        cr_expect_eq(record(10000), PINROUTE_OK, "over another connection");
        pthread_join(t, NULL);
        cr_expect_neq(fresh->socket.number - 1, taken[0]);
        cr_expect_eq(recv(taken[0], data, sizeof data, 0), 4, "open, and its data are still there");
        cr_expect_eq(recv(taken[1], data, sizeof data, 0), -1);
        cr_expect_eq(errno, EAGAIN, "nothing was sent to it");
}

static void *record_slowly(void *arg)
{
        *(int *)arg = record(300);
        pthread_testcancel();
        return NULL;
}

Test(ask, a_thread_that_is_cancelled_ends_after_the_call_and_leaves_the_lock)
{
        pthread_t t;
        int status = -1;
        cr_assert_eq(record(5000), PINROUTE_OK);
        fake.orders->kind = FAKE_NEVER;
        pthread_create(&t, NULL, record_slowly, &status);
        while (atomic_load(&fake.orders->records) == 1)
                poll(NULL, 0, 1);
        pthread_cancel(t);
        pthread_join(t, NULL);
        cr_expect_eq(status, PINROUTE_E_UNREACHABLE);
        fake.orders->kind = FAKE_ANSWERS;
        cr_expect_eq(record(5000), PINROUTE_OK);
        cr_expect_eq(open_sockets(), 1, "no descriptor was lost");
}

Test(ask, the_first_three_descriptors_are_left_to_the_application)
{
        int keep = fcntl(0, F_DUPFD_CLOEXEC, 10);
        close(0);
        cr_expect_eq(record(2000), PINROUTE_OK);
        cr_expect(fresh->socket.number - 1 > 2);
        cr_expect_eq(fcntl(0, F_GETFD), -1, "and 0 is still closed");
        dup2(keep, 0);
        close(keep);
}

Test(ask, a_child_gives_back_its_copy_of_the_connection_and_the_parent_keeps_its_own)
{
        int st;
        cr_assert_eq(record(2000), PINROUTE_OK);
        pid_t child = fork();
        if (child == 0) {
                bool good = record(2000) == PINROUTE_OK && open_sockets() == 1 && fresh->number == 2;
                _exit(good ? 0 : 1);
        }
        cr_assert_eq(waitpid(child, &st, 0), child);
        cr_expect(WIFEXITED(st) && WEXITSTATUS(st) == 0);
        cr_expect_eq(record(2000), PINROUTE_OK);
        cr_expect_eq(fake.orders->connections, 2, "the child's, and the parent's first");
}

Test(ask, a_child_closes_nothing_that_took_the_number_of_the_connection)
{
        int st;
        cr_assert_eq(record(2000), PINROUTE_OK);
        int number = fresh->socket.number - 1;
        pid_t child = fork();
        if (child == 0) {
                int file = open("/dev/zero", O_RDWR);
                dup2(file, number);
                bool good = record(2000) == PINROUTE_OK && fcntl(number, F_GETFD) != -1;
                _exit(good ? 0 : 1);
        }
        cr_assert_eq(waitpid(child, &st, 0), child);
        cr_expect(WIFEXITED(st) && WEXITSTATUS(st) == 0);
}

Test(ask, the_lock_is_part_of_the_deadline)
{
        cr_assert(lock_take(&fresh->lock, 0));
        expect_failure(20);
        cr_expect_eq(fake.orders->connections, 0);
        cr_expect_eq(fresh->failures, 0, "nobody was asked");
        lock_give(&fresh->lock);
        cr_expect_eq(record(2000), PINROUTE_OK);
}

Test(ask, without_descriptors_it_fails_at_once)
{
        int fd[1024], n = 0;
        while (n < 1024 && (fd[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
                n++;
        bool exhausted = n < 1024;
        if (exhausted)
                expect_failure(1000);
        while (n > 0)
                close(fd[--n]);
        cr_expect_eq(record(2000), PINROUTE_OK);
}

static void on_signal(int signal) { (void)signal; }

static void *pester(void *arg)
{
        pthread_t *victim = arg;
        for (int i = 0; i < 40; i++) {
                pthread_kill(*victim, SIGUSR1);
                poll(NULL, 0, 1);
        }
        return NULL;
}

Test(ask, signals_neither_end_nor_lengthen_the_wait)
{
        pthread_t t, self = pthread_self();
        struct sigaction act = {.sa_handler = on_signal};
        sigaction(SIGUSR1, &act, NULL);
        fake.orders->kind = FAKE_NEVER;
        pthread_create(&t, NULL, pester, &self);
        int64_t before_ns = clock_ns();
        expect_failure(50);
        cr_expect(clock_ns() - before_ns >= 50 * MS, "not before its time");
        pthread_join(t, NULL);
}

Test(ask, a_directory_too_long_for_a_socket_is_refused)
{
        struct ask a;
        char longest[200];
        memset(longest, 'd', sizeof longest);
        size_t fits = sizeof a.address.sun_path - sizeof "/pinrouted.sock";
        longest[fits] = '\0';
        cr_expect(ask_init(&a, fresh, longest));
        longest[fits] = 'd';
        longest[fits + 1] = '\0';
        cr_expect_not(ask_init(&a, fresh, longest));
}

/* ---- sent ahead ---- */

static int send_ahead(uint64_t serial, int timeout_ms)
{
        struct pnr_request q = {.op = PNR_OP_RECORD, .cluster = "main", .key = {1, 2}, .ms = 5};
        return ask_send(&client, &q, serial, pulse, clock_ns() + timeout_ms * MS);
}

static int wait_for_answer(uint64_t serial, int timeout_ms, uint32_t *status)
{
        *status = 4711;
        return ask_wait(&client, serial, pulse, clock_ns() + timeout_ms * MS, status);
}

static int peek(uint64_t serial)
{
        uint32_t status;
        return ask_peek(&client, serial, clock_ns() + 2000 * MS, &status);
}

Test(ask, what_is_sent_ahead_is_answered_in_order_whoever_reads_it)
{
        uint32_t status;
        uint64_t a = ask_serial(&client), b = ask_serial(&client);
        cr_assert_eq(record(2000), PINROUTE_OK);
        client.clock_known = false; /* whoever waits for an answer would ask for that first */
        cr_assert_eq(kill(fake.pid, SIGSTOP), 0);
        errno = 77;
        cr_expect_eq(send_ahead(a, 60000), PINROUTE_OK, "nobody waits for a daemon that stands still");
        cr_expect_eq(send_ahead(b, 60000), PINROUTE_OK);
        cr_expect_eq(errno, 77);
        cr_expect_eq(peek(a), ASK_AWAITED);
        cr_assert_eq(kill(fake.pid, SIGCONT), 0);
        cr_expect_eq(record(20000), PINROUTE_OK);
        cr_expect_eq(peek(a), PINROUTE_OK);
        cr_expect_eq(peek(b), PINROUTE_OK);
        cr_expect_eq(wait_for_answer(b, 0, &status), PINROUTE_OK);
        cr_expect_eq(status, PINROUTE_OK);
        cr_expect_eq(peek(b), PINROUTE_OK, "it is kept");
        cr_expect_eq(peek(b + 1), ASK_LOST);
        cr_expect_eq(wait_for_answer(a, 0, &status), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 4);
        cr_expect_eq(fake.orders->connections, 1);
}

Test(ask, what_is_not_answered_in_time_is_lost_with_its_connection_and_so_is_all_behind_it)
{
        uint32_t status;
        uint64_t a = ask_serial(&client), b = ask_serial(&client);
        cr_assert_eq(record(2000), PINROUTE_OK);
        cr_assert_eq(kill(fake.pid, SIGSTOP), 0);
        cr_expect_eq(send_ahead(a, 2000), PINROUTE_OK);
        cr_expect_eq(send_ahead(b, 2000), PINROUTE_OK);
        cr_expect_eq(wait_for_answer(a, 10, &status), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(fresh->failures, 1);
        cr_expect_eq(wait_for_answer(b, 2000, &status), ASK_LOST);
        cr_expect_eq(fresh->failures, 1, "that says nothing new");
        cr_expect_eq(open_sockets(), 0);
        cr_assert_eq(kill(fake.pid, SIGCONT), 0);
        cr_expect_eq(record(20000), PINROUTE_OK);
}

Test(ask, a_daemon_that_only_takes_what_it_is_sent_opens_the_breaker_by_its_silence)
{
        uint32_t status;
        for (unsigned i = 0; i < ASK_BREAKER_FAILURES; i++) {
                fake.orders->kind = FAKE_ANSWERS;
                cr_assert_eq(record(2000), PINROUTE_OK);
                fake.orders->kind = FAKE_NEVER;
                fresh->failures = i;
                cr_expect_eq(send_ahead(ask_serial(&client), 2000), PINROUTE_OK);
                cr_expect_eq(fresh->failures, i, "to have sent it says nothing");
                cr_expect_eq(wait_for_answer(client.serial, 5, &status), PINROUTE_E_UNREACHABLE);
        }
        cr_expect_eq(fresh->failures, ASK_BREAKER_FAILURES);
        cr_expect_eq(send_ahead(ask_serial(&client), 60000), PINROUTE_E_UNREACHABLE);
}

Test(ask, a_frame_of_more_keys_than_the_daemon_takes_is_not_sent)
{
        struct pnr_reply r;
        struct pnr_records f = {.head = {.op = PNR_OP_RECORDS, .cluster = "main", .n = 3},
                                .key = {{1, 1}, {2, 2}, {3, 3}}};
        fake.orders->records_max = 2;
        cr_expect_eq(ask(&client, &f.head, pulse, clock_ns() + 2000 * MS, &r), ASK_TOO_MANY);
        cr_expect_eq(r.records_max, 2);
        cr_expect_eq(ask_send(&client, &f.head, ask_serial(&client), pulse, clock_ns() + 2000 * MS),
                     ASK_TOO_MANY);
        cr_expect_eq(fake.orders->records, 0);
        cr_expect_eq(open_sockets(), 1, "the connection is kept");
        f.head.n = 2;
        memset(f.key[2], 0, sizeof f.key[2]);
        cr_expect_eq(ask(&client, &f.head, pulse, clock_ns() + 2000 * MS, &r), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 2);
        cr_expect_eq(fake.orders->connections, 1);
}

Test(ask, more_than_there_is_room_for_is_not_sent_ahead)
{
        uint32_t status;
        uint64_t first = ask_serial(&client);
        cr_expect_eq(send_ahead(first, 2000), PINROUTE_OK);
        for (unsigned i = 1; i < SENT_MAX; i++)
                cr_expect_eq(send_ahead(ask_serial(&client), 2000), PINROUTE_OK);
        cr_expect_eq(send_ahead(ask_serial(&client), 2000), ASK_NO_ROOM);
        cr_expect_eq(wait_for_answer(first, 2000, &status), PINROUTE_OK);
        cr_expect_eq(send_ahead(ask_serial(&client), 2000), PINROUTE_OK);
        cr_expect_eq(record(2000), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, SENT_MAX + 2);
}

Test(ask, a_handle_knows_the_serials_that_it_gave_out)
{
        struct ask other;
        struct ask_fresh *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uint64_t ours = ask_serial(&client);
        cr_assert(ask_init(&other, page, dir));
        uint64_t theirs = ask_serial(&other);
        cr_expect(ask_gave(&client, ours) && ask_gave(&other, theirs));
        cr_expect_not(ask_gave(&client, theirs) || ask_gave(&other, ours));
        cr_expect_not(ask_gave(&client, 0) || ask_gave(&client, ours + 1));
}
