/* test_gate.c -- what passes the gate in front of libpq's send(), and what stays. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/gate.h"

static int ends[2];

static void open_ends(void) { cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0); }

static void close_ends(void)
{
        close(ends[0]);
        close(ends[1]);
}

TestSuite(gate, .init = open_ends, .fini = close_ends);

/* Is it told that all went out, and how much did? */
static size_t passed(const char *data, size_t size)
{
        char heard[256];
        cr_assert_eq(send(ends[0], data, size, MSG_NOSIGNAL), (ssize_t)size);
        ssize_t n = recv(ends[1], heard, sizeof heard, MSG_DONTWAIT);
        if (n < 0)
                return 0;
        cr_assert_arr_eq(heard, data, (size_t)n);
        return (size_t)n;
}

#define MESSAGE(text) text, sizeof text

Test(gate, a_message_that_is_the_password_stays_and_is_told)
{
        gate_close("s3cret");
        cr_expect_eq(passed(MESSAGE("p\0\0\0\x0bs3cret")), 0);
        cr_expect(gate_open());
        gate_close("s3cret");
        cr_expect_eq(passed("p\0\0\0\x0bs3cret", 11), 0, "nor without the byte that ends it");
        cr_expect(gate_open());
}

Test(gate, everything_else_passes)
{
        static const char startup[] = "\0\0\0\x20\0\3\0\0user\0s3cret\0database\0s3cret\0";
        gate_close("s3cret");
        cr_expect_eq(passed(startup, sizeof startup), sizeof startup, "a user may be called like it");
        cr_expect_eq(passed(MESSAGE("p\0\0\0\x0emd5012345")), sizeof "p\0\0\0\x0emd5012345");
        cr_expect_eq(passed(MESSAGE("p\0\0\0\x0es3cret2")), sizeof "p\0\0\0\x0es3cret2", "another word");
        cr_expect_eq(passed(MESSAGE("p\0\0\0\x07s3")), sizeof "p\0\0\0\x07s3");
        cr_expect_not(gate_open());
        cr_expect_eq(passed(MESSAGE("p\0\0\0\x0bs3cret")), sizeof "p\0\0\0\x0bs3cret", "it is open");
        for (unsigned i = 0; i < 2; i++) {
                gate_close(i ? "" : NULL);
                cr_expect_eq(passed(MESSAGE("p\0\0\0\5")), sizeof "p\0\0\0\5");
                cr_expect_not(gate_open());
        }
}

Test(gate, what_was_seen_at_work_is_there)
{
        cr_expect_eq(passed("x", 1), 1);
        cr_expect_not(gate_is_there(false), "that was not libpq");
        gate_close(NULL);
        cr_expect_eq(passed("x", 1), 1);
        gate_open();
        cr_expect(gate_is_there(false));
        cr_expect_not(gate_is_there(true));
}
