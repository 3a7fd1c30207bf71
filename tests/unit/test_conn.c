/* test_conn.c -- workers' connections: served in turns, closed for garbage and silence, never waited for. */
#include "tests/unit/core_play.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "client/pinroute.h"
#include "daemon/conn.h"

static struct event_base *base;
static struct conns conns;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size;
static int listener;

static void open_all(void)
{
        core_open();
        base = event_base_new();
        listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
        int n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "pnr-conn-%d", (int)getpid());
        address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
        cr_assert_eq(bind(listener, (struct sockaddr *)&address, address_size), 0);
        cr_assert_eq(listen(listener, 256), 0);
        cr_assert(conns_init(&conns, base, &core, listener));
}

static void close_all(void)
{
        conns_fini(&conns);
        event_base_free(base);
        close(listener);
        core_close();
}

TestSuite(conn, .init = open_all, .fini = close_all);

static unsigned taken, pins; /* of the last turn: frames, and what they pin */

/* One turn of the daemon's loop. */
static void turn(void)
{
        event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        taken = conns.n_batch;
        pins = conns.n_pins;
        core_now = clock_mono();
        core_turn(&core, conns.item, conns.n_batch, NULL, NULL, core_now);
        conns_reply(&conns);
}

static int client(void)
{
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, address_size), 0);
        return fd;
}

static int connected(void)
{
        uint64_t before = core.stats.accepted;
        int fd = client();
        for (unsigned i = 0; core.stats.accepted == before; i++) {
                cr_assert_lt(i, 2000);
                turn();
        }
        return fd;
}

static struct pnr_request hello(uint64_t number)
{
        return (struct pnr_request){
            .magic = PNR_WIRE_MAGIC, .version = PNR_WIRE_VERSION, .op = PNR_OP_HELLO, .number = number};
}

/* Its keys are number << 8 and on, also where it may not have so many. */
static struct pnr_records records(uint64_t number, unsigned n)
{
        struct pnr_records f = {.head = hello(number)};
        f.head.op = PNR_OP_RECORDS;
        strcpy(f.head.cluster, "main");
        f.head.ms = 60000;
        f.head.n = n;
        for (unsigned i = 0; i < n && i < PNR_RECORDS_MAX; i++) {
                f.key[i][0] = (number << 8) + i;
                f.key[i][1] = ~f.key[i][0];
        }
        return f;
}

static bool tell(int fd, uint64_t number, unsigned n)
{
        struct pnr_records f = records(number, n);
        return send(fd, &f, sizeof f, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof f;
}

static void ask(int fd, uint64_t number)
{
        struct pnr_request q = hello(number);
        cr_assert_eq(send(fd, &q, sizeof q, MSG_NOSIGNAL), (ssize_t)sizeof q);
}

/* The number that was answered; 0: no answer yet; -1: closed. */
static int64_t answer(int fd)
{
        struct pnr_reply r;
        ssize_t n = recv(fd, &r, sizeof r, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return 0;
        return n == (ssize_t)sizeof r ? (int64_t)r.number : -1;
}

static void expect_served(int fd)
{
        static uint64_t number = 1000;
        ask(fd, ++number);
        turn();
        cr_expect_eq(answer(fd), (int64_t)number);
}

Test(conn, each_connection_gets_one_frame_a_turn_and_its_answers_in_order)
{
        int a = connected(), b = connected();
        for (uint64_t i = 1; i <= 3; i++)
                ask(a, i);
        ask(b, 10);
        turn();
        cr_expect_eq(taken, 2, "of both, in one transaction");
        cr_expect_eq(answer(a), 1);
        cr_expect_eq(answer(a), 0);
        cr_expect_eq(answer(b), 10);
        turn();
        cr_expect_eq(taken, 1);
        turn();
        cr_expect_eq(answer(a), 2);
        cr_expect_eq(answer(a), 3);
        turn();
        cr_expect_eq(taken, 0);
        close(a);
        turn();
        cr_expect_eq(conns.n, 1);
        expect_served(b);
        close(b);
}

Test(conn, a_malformed_frame_closes_its_connection_only)
{
        unsigned char frame[sizeof(struct pnr_records) + 1000];
        struct pnr_request good = hello(1), q;
        int other = connected();
        for (unsigned i = 0; i < 13; i++) {
                int fd = connected();
                size_t size = sizeof q;
                q = good;
                switch (i) {
                case 0: q.magic++; break;
                case 1: q.version++; break;
                case 2: q.op = 99; break;
                case 3: q.reserved[1] = 1; break;
                case 4: size = sizeof q - 1; break;
                case 5: size = 1; break;
                case 6: size = sizeof q + 1; break;
                case 7: size = sizeof frame; break;
                case 8: q.op = PNR_OP_RECORD; break; /* of a cluster without a name */
                case 9: size = sizeof(struct pnr_records); break;
                case 10: q = records(1, 2).head; break;
                case 11: q = records(1, PNR_RECORDS_MAX + 1).head, size = sizeof(struct pnr_records); break;
                case 12: q = records(1, 2).head, size = sizeof(struct pnr_records) + 1; break;
                }
                memset(frame, 0, sizeof frame);
                memcpy(frame, &q, sizeof q);
                uint64_t closed = core.stats.closed_garbage;
                cr_assert_eq(send(fd, frame, size, 0), (ssize_t)size);
                turn();
                cr_expect_eq(answer(fd), -1, "case %u", i);
                cr_expect_eq(core.stats.closed_garbage, closed + 1, "case %u", i);
                expect_served(other);
                close(fd);
        }
        int fd = connected();
        uint64_t closed = core.stats.closed_garbage;
        send(fd, "", 0, 0); /* reads as an end of stream */
        turn();
        cr_expect_eq(answer(fd), -1);
        cr_expect_eq(core.stats.closed_garbage, closed);
        expect_served(other);
        cr_expect_eq(conns.n, 1);
        close(fd);
        close(other);
}

Test(conn, a_client_that_never_reads_is_closed_and_the_others_are_served)
{
        int deaf = connected(), other = connected();
        struct pnr_request q = hello(1);
        unsigned i = 0;
        while (core.stats.closed_slow == 0) {
                cr_assert_lt(i++, 20000);
                send(deaf, &q, sizeof q, MSG_NOSIGNAL | MSG_DONTWAIT);
                turn();
                if (i % 64 == 0)
                        expect_served(other);
        }
        cr_expect_eq(core.stats.closed_slow, 1);
        cr_expect_eq(conns.n, 1);
        expect_served(other);
        close(deaf);
        close(other);
}

Test(conn, a_client_that_leaves_before_its_answer_harms_nobody)
{
        int gone = connected(), other = connected();
        ask(gone, 1);
        ask(other, 2);
        close(gone);
        turn();
        turn();
        cr_expect_eq(answer(other), 2);
        cr_expect_eq(conns.n, 1);
        cr_expect_eq(core.stats.closed_slow, 0);
        close(other);
}

Test(conn, when_all_places_are_taken_the_one_idle_longest_goes)
{
        core_conf.max_clients = 4;
        int fd[5];
        for (unsigned i = 0; i < 4; i++)
                fd[i] = connected();
        expect_served(fd[0]); /* now fd[1] is the one idle longest */
        fd[4] = client();
        for (unsigned i = 0; core.stats.accepted < 5; i++) {
                cr_assert_lt(i, 2000, "the newcomer gets in");
                poll(NULL, 0, 1);
                turn();
        }
        cr_expect_eq(core.stats.closed_idle, 1);
        cr_expect_eq(answer(fd[1]), -1);
        cr_expect_eq(conns.n, 4);
        for (unsigned i = 0; i < 5; i++) {
                if (i != 1)
                        expect_served(fd[i]);
                close(fd[i]);
        }
}

/* Turns until this client, which asks, has its answer; the two keep asking. */
static void await_among(int fd, uint64_t number, const int busy[2])
{
        ask(fd, number);
        for (unsigned i = 0;; i++) {
                for (unsigned k = 0; k < 2; k++) {
                        struct pnr_request q = hello(1);
                        send(busy[k], &q, sizeof q, MSG_NOSIGNAL | MSG_DONTWAIT);
                        while (answer(busy[k]) > 0)
                                ;
                }
                turn();
                int64_t got = answer(fd);
                cr_assert_lt(i, 1000, "never heard");
                cr_assert_geq(got, 0, "closed unheard");
                if (got > 0)
                        return;
        }
}

Test(conn, where_all_are_busy_the_first_come_gives_its_place_up_and_nobody_goes_unheard)
{
        core_conf.max_clients = 2;
        int busy[2], fresh[2];
        for (unsigned i = 0; i < 2; i++) {
                busy[i] = connected();
                do
                        turn();
                while (
                    !mono_reached(core.last_turn, mono_plus(TAILQ_LAST(&conns.by_use, conn_list)->since, 1)));
        }
        for (unsigned i = 0; i < 2; i++) {
                fresh[i] = client();
                await_among(fresh[i], 100 + i, busy);
                cr_expect_leq(conns.n, 2);
                cr_expect_lt(answer(busy[i]), 0, "who came first");
                if (i == 0)
                        cr_expect_geq(answer(busy[1]), 0);
                await_among(fresh[i], 200 + i, busy);
        }
        cr_expect_eq(core.stats.closed_idle, 0);
        cr_expect_eq(core.stats.closed_in_turn, 2);
        for (unsigned i = 0; i < 2; i++)
                close(fresh[i]);
        close(busy[0]);
        close(busy[1]);
}

Test(conn, without_descriptors_the_connected_are_served_and_the_loop_does_not_spin)
{
        struct rlimit was, low;
        int a = connected(), b = client();
        getrlimit(RLIMIT_NOFILE, &was);
        int next = dup(a);
        close(next);
        low = (struct rlimit){(rlim_t)next, was.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        for (unsigned i = 0; i < 1000; i++)
                turn();
        cr_expect_gt(core.stats.accept_failures, 0);
        cr_expect_lt(core.stats.accept_failures, 500);
        cr_expect_eq(conns.n, 1, "who had a place, or the other");
        setrlimit(RLIMIT_NOFILE, &was);
        for (unsigned i = 0; core.stats.accepted < 2; i++) {
                cr_assert_lt(i, 5000);
                poll(NULL, 0, 1);
                turn();
        }
        expect_served(b);
        close(a);
        close(b);
}

Test(conn, few_descriptors_are_few_places_and_some_stay_free)
{
        struct rlimit was, low;
        int fd[100], next = dup(2);
        close(next);
        unsigned places = (unsigned)next + 10; /* what is open already is most of the other half */
        cr_assert_lt(places, 64);
        getrlimit(RLIMIT_NOFILE, &was);
        for (unsigned i = 0; i < places + 10; i++) {
                int here = client();
                fd[i] = fcntl(here, F_DUPFD, 200); /* out of the daemon's way */
                cr_assert_geq(fd[i], 200);
                close(here);
        }
        low = (struct rlimit){2 * places, was.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        for (unsigned i = 0; i < 20; i++) {
                turn();
                cr_assert_leq(conns.n, places);
        }
        cr_expect_eq(conns.n, places);
        int spare = dup(2);
        cr_expect_geq(spare, 0);
        close(spare);
        setrlimit(RLIMIT_NOFILE, &was);
        for (unsigned i = 0; i < places + 10; i++)
                close(fd[i]);
}

Test(conn, while_paused_no_frame_is_taken)
{
        int a = connected(), b = client();
        ask(a, 1);
        conns_pause(&conns, true);
        for (unsigned i = 0; i < 10; i++)
                turn();
        cr_expect_eq(answer(a), 0);
        cr_expect_eq(conns.n, 1);
        conns_pause(&conns, false);
        turn();
        turn();
        cr_expect_eq(answer(a), 1);
        cr_expect_eq(conns.n, 2);
        close(a);
        close(b);
}

Test(conn, a_rest_of_the_listener_does_not_end_a_pause)
{
        const struct timeval over = {.tv_usec = 1};
        int a = connected(), b = client();
        event_del(conns.acceptable);
        event_add(conns.again, &over);
        conns_pause(&conns, true);
        for (unsigned i = 0; i < 10; i++) {
                poll(NULL, 0, 1);
                turn();
        }
        cr_expect_eq(conns.n, 1);
        conns_pause(&conns, false);
        turn();
        cr_expect_eq(conns.n, 2);
        close(a);
        close(b);
}

Test(conn, what_may_not_be_acknowledged_is_closed_without_an_answer)
{
        int fd = connected();
        core.silent_until = mono_plus(clock_mono(), 60000);
        ask(fd, 1);
        turn();
        cr_expect_eq(answer(fd), -1);
        cr_expect_eq(conns.n, 0);
        close(fd);
}

Test(conn, a_turn_takes_a_bounded_batch_and_the_next_one_the_rest)
{
        static int fd[CONN_BATCH + 20];
        struct rlimit l;
        getrlimit(RLIMIT_NOFILE, &l);
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
        if (l.rlim_cur < 4 * CONN_BATCH)
                cr_skip("too few descriptors");
        core_conf.max_clients = 4096;
        for (unsigned i = 0; i < CONN_BATCH + 20; i++)
                fd[i] = connected();
        for (unsigned i = 0; i < CONN_BATCH + 20; i++)
                ask(fd[i], i + 1);
        unsigned sum = 0, turns = 0;
        for (; sum < CONN_BATCH + 20; turns++) {
                cr_assert_lt(turns, 1000);
                turn();
                cr_assert_leq(taken, CONN_BATCH);
                sum += taken;
        }
        for (unsigned i = 0; i < CONN_BATCH + 20; i++) {
                cr_assert_eq(answer(fd[i]), i + 1);
                close(fd[i]);
        }
}

Test(conn, many_records_of_a_frame_are_pinned_and_answered_once)
{
        int fd = connected();
        cr_assert(tell(fd, 7, PNR_RECORDS_MAX));
        turn();
        cr_expect_eq(taken, 1);
        cr_expect_eq(pins, PNR_RECORDS_MAX);
        cr_expect_eq(answer(fd), 7);
        for (unsigned i = 0; i < PNR_RECORDS_MAX; i++)
                cr_expect_eq(core_pin("main", (7 << 8) + i).until_ms, core_now.ms + 60000);
        cr_assert(tell(fd, 8, 1));
        ask(fd, 9);
        turn();
        cr_expect_eq(pins, 1);
        turn();
        cr_expect_eq(answer(fd), 8);
        cr_expect_eq(answer(fd), 9);
        cr_expect_eq(core_pin("main", 8 << 8).until_ms, core_now.ms + 60000);
        close(fd);
}

#define GREEDY 32

/* They always have something in their sockets. */
static void feed(const int greedy[GREEDY])
{
        for (unsigned i = 0; i < GREEDY; i++) {
                while (answer(greedy[i]) > 0)
                        ;
                while (tell(greedy[i], i + 1, PNR_RECORDS_MAX))
                        ;
        }
}

Test(conn, whoever_records_one_key_is_answered_in_that_turn_beside_many_who_send_all_that_they_can)
{
        int greedy[GREEDY], one = -1, other = -1;
        for (unsigned i = 0; i < GREEDY; i++)
                greedy[i] = connected();
        one = connected();
        other = connected();
        unsigned most = 0;
        for (unsigned i = 0; i < 8; i++) { /* libevent begins with 32 events a turn */
                feed(greedy);
                turn();
        }
        for (uint64_t i = 1; i <= 50; i++) {
                feed(greedy);
                ask(one, i);
                ask(other, i);
                turn();
                cr_assert_eq(answer(one), (int64_t)i);
                cr_assert_eq(answer(other), (int64_t)i);
                cr_assert_leq(pins, CONN_BATCH);
                most = pins > most ? pins : most;
        }
        cr_expect_geq(most, CONN_BATCH - 2 * PNR_RECORDS_MAX, "and the turns are full");
        for (unsigned i = 0; i < GREEDY; i++)
                close(greedy[i]);
        close(one);
        close(other);
}

Test(conn, of_many_who_send_all_that_they_can_each_has_its_turn)
{
        int greedy[GREEDY];
        unsigned served[GREEDY] = {0}, least = UINT32_MAX, most = 0;
        for (unsigned i = 0; i < GREEDY; i++)
                greedy[i] = connected();
        for (unsigned t = 0; t < 200; t++) {
                for (unsigned i = 0; i < GREEDY; i++) {
                        while (tell(greedy[i], i + 1, PNR_RECORDS_MAX))
                                ;
                        while (answer(greedy[i]) > 0)
                                served[i]++;
                }
                turn();
        }
        for (unsigned i = 0; i < GREEDY; i++) {
                least = served[i] < least ? served[i] : least;
                most = served[i] > most ? served[i] : most;
                close(greedy[i]);
        }
        cr_expect_leq(3 * most, 4 * least, "%u to %u: who is before others in a turn gains a part of one",
                      least, most);
}

Test(conn, one_that_waits_for_its_turn_may_go_meanwhile)
{
        int greedy[GREEDY];
        for (unsigned i = 0; i < GREEDY; i++)
                greedy[i] = connected();
        feed(greedy);
        turn();
        for (unsigned i = 1; i < GREEDY; i++)
                close(greedy[i]);
        for (unsigned i = 0; conns.n > 1; i++) {
                cr_assert_lt(i, 20000);
                turn();
        }
        while (answer(greedy[0]) > 0)
                ;
        do
                turn();
        while (taken > 0);
        while (answer(greedy[0]) > 0)
                ;
        expect_served(greedy[0]);
        close(greedy[0]);
}

/* Descriptors that came with the answer to a COUNTS. */
static unsigned handed(int client_fd, uint32_t *status)
{
        struct pnr_request q = hello(77);
        struct pnr_reply r;
        union {
                char bytes[CMSG_SPACE(4 * sizeof(int))];
                struct cmsghdr first;
        } room;
        struct iovec to = {.iov_base = &r, .iov_len = sizeof r};
        struct msghdr m = {
            .msg_iov = &to, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
        int fd[4];
        q.op = PNR_OP_COUNTS;
        cr_assert_eq(send(client_fd, &q, sizeof q, MSG_NOSIGNAL), (ssize_t)sizeof q);
        turn();
        cr_assert_eq(recvmsg(client_fd, &m, MSG_DONTWAIT), (ssize_t)sizeof r);
        *status = r.status;
        if (!CMSG_FIRSTHDR(&m))
                return 0;
        unsigned n = (unsigned)((room.first.cmsg_len - CMSG_LEN(0)) / sizeof *fd);
        memcpy(fd, CMSG_DATA(&room.first), n * sizeof *fd);
        for (unsigned i = 0; i < n; i++)
                close(fd[i]);
        return n;
}

/* That connections were heard with; whose turn it is to go is decided by it. */
static uint64_t heard(void)
{
        uint64_t n = 0;
        struct conn *c;
        TAILQ_FOREACH (c, &conns.by_use, by_use)
                n += c->requests;
        return n;
}

Test(conn, memory_to_count_in_is_handed_out_once_on_a_connection)
{
        uint32_t status;
        int a = connected(), b = connected();
        cr_expect_eq(handed(a, &status), 0, "there is none");
        cr_expect_eq(status, PINROUTE_E_REFUSED);
        core.counts = counts_open();
        cr_expect_eq(handed(a, &status), 2);
        cr_expect_eq(status, PINROUTE_OK);
        cr_expect_eq(handed(a, &status), 0);
        cr_expect_eq(status, PINROUTE_E_REFUSED);
        cr_expect_eq(handed(b, &status), 2);
        cr_expect_eq(core.stats.counts_refused, 2);
        cr_expect_eq(core.stats.records, 0);
        cr_expect_eq(heard(), 0, "that is no more than a second greeting");
        expect_served(a);
        cr_expect_eq(heard(), 1);
        struct rlimit was, tight;
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
        tight = (struct rlimit){(rlim_t)core.conf->max_clients, was.rlim_max};
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
        cr_expect_eq(handed(connected(), &status), 0, "connections want all that there are");
        cr_expect_eq(status, PINROUTE_E_REFUSED);
        setrlimit(RLIMIT_NOFILE, &was);
        counts_close(&core.counts);
}

/* Memory was handed out while connections might want fewer descriptors: each was one. */
Test(conn, families_of_processes_take_their_descriptors_from_the_places_of_connections)
{
        enum { FAMILIES = 100, PLACES = 20 };
        struct rlimit was, tight;
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
        core.counts = counts_open();
        counts_limit(core.counts, FAMILIES);
        for (int i = 0; i < FAMILIES; i++) {
                int fd[2];
                cr_assert(counts_give(core.counts, i + 1, fd));
                cr_assert_neq(mmap(NULL, 1, PROT_READ, MAP_SHARED, fd[0], 0), MAP_FAILED);
                close(fd[0]);
        }
        tight = (struct rlimit){FAMILIES + PLACES + CONN_SPARE_FDS, was.rlim_max};
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
        for (int i = 0; i < PLACES + 5; i++)
                client();
        for (int i = 0; i < 5; i++)
                turn();
        cr_expect_eq(conns.n, PLACES);
        setrlimit(RLIMIT_NOFILE, &was);
        counts_close(&core.counts);
}
