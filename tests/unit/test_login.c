/* test_login.c -- what libpq is told, and that no server gets a password in clear text by asking for it. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/login.h"

static int listener, peer;
static char conninfo[256], heard[2048];
static size_t n_heard;
static PQconninfoOption *parsed;
static PGconn *conn;
static const char *wrong;

static void open_server(void)
{
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t size = sizeof at;
        listener = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(bind(listener, (struct sockaddr *)&at, size), 0);
        cr_assert_eq(listen(listener, 1), 0);
        cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
        snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%u dbname=d password=s3cret",
                 ntohs(at.sin_port));
        peer = -1;
}

static void close_server(void)
{
        PQfinish(conn);
        login_forget(parsed);
        close(listener);
        close(peer);
}

TestSuite(login, .init = open_server, .fini = close_server, .timeout = 20);

static void hear(int timeout_ms)
{
        struct pollfd more = {.fd = peer, .events = POLLIN};
        while (poll(&more, 1, timeout_ms) == 1) {
                ssize_t n = recv(peer, heard + n_heard, sizeof heard - n_heard, 0);
                if (n <= 0)
                        return;
                n_heard += (size_t)n;
        }
}

/* libpq has sent its first message; *heard has it. */
static void begin(const char *more, bool may)
{
        char all[512];
        snprintf(all, sizeof all, "%s %s", conninfo, more);
        parsed = PQconninfoParse(all, NULL);
        cr_assert_not_null(parsed);
        conn = login_start(&(struct login){.conninfo = parsed, .user = "me", .timeout_ms = 1234});
        peer = accept(listener, NULL, NULL);
        struct pollfd ready = {.fd = PQsocket(conn), .events = POLLOUT};
        PostgresPollingStatusType next = PGRES_POLLING_WRITING;
        while (next == PGRES_POLLING_WRITING && poll(&ready, 1, 5000) == 1)
                next = login_poll(conn, parsed, may, &wrong);
        cr_assert_eq(next, PGRES_POLLING_READING);
        hear(200);
}

static void answer(const char *bytes, size_t size, bool may)
{
        struct pollfd ready = {.fd = PQsocket(conn), .events = POLLIN};
        cr_assert_eq(send(peer, bytes, size, 0), (ssize_t)size);
        cr_assert_eq(poll(&ready, 1, 5000), 1);
        login_poll(conn, parsed, may, &wrong);
}

static bool heard_has(const char *text) { return memmem(heard, n_heard, text, strlen(text)) != NULL; }

Test(login, the_first_message_has_what_we_say_and_no_password)
{
        begin("sslmode=disable options='-c work_mem=1MB' application_name=other", false);
        cr_expect(heard_has("user") && heard_has("me") && heard_has("pinrouted"));
        cr_expect(heard_has("-c work_mem=1MB -c statement_timeout=1234 -c lock_timeout=1234"));
        cr_expect_not(heard_has("other"));
        cr_expect_not(heard_has("s3cret"));
        cr_expect_null(wrong);
}

Test(login, who_asks_for_the_password_in_clear_text_does_not_get_it_in_whatever_pieces_he_asks)
{
        static const char ask[] = "R\0\0\0\x08\0\0\0\3";
        begin("sslmode=disable", true); /* allowed, but this is no TLS that was verified */
        for (unsigned i = 0; i < 9; i++) {
                cr_expect_null(wrong);
                answer(ask + i, 1, true);
        }
        cr_assert_not_null(wrong);
        cr_expect(strstr(wrong, "in clear text: not sent without sslmode=verify-full"), "%s", wrong);
        n_heard = 0;
        hear(100);
        cr_expect_eq(n_heard, 0u);
}

Test(login, another_way_to_prove_a_password_is_gone_along_with)
{
        begin("sslmode=disable", false);
        n_heard = 0;
        answer("R\0\0\0\x0c\0\0\0\5salt", 13, false);
        hear(200);
        cr_expect_null(wrong);
        cr_expect(heard_has("md5"));
        cr_expect_not(heard_has("s3cret"));
}

Test(login, options_are_found_and_addresses_told_from_names)
{
        begin("sslmode=disable", false);
        cr_expect_str_eq(login_option(parsed, "dbname"), "d");
        cr_expect_null(login_option(parsed, "sslrootcert"));
        cr_expect_null(login_option(NULL, "host"));
        cr_expect(login_is_address("10.0.0.1") && login_is_address("::1") &&
                  login_is_address("fe80::1%eth0"));
        cr_expect_not(login_is_address("db") || login_is_address("10.0.0.256") || login_is_address(""));
}
