/* test_probe.c -- one node's connection against a server of a few lines; the faults that need more are in
 * scenario/test_prober.py. */
#include "daemon/probe.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/test_probe.XXXXXX";
static char hosts[64], resolv_conf[64];
static struct event_base *base;
static struct probe_host host;
static struct probe *probe;
static pid_t server;
static unsigned port;
static struct prober_result result[8];
static unsigned n_results;

/* The server: a child that plays `script` to each client. */

static void put(int fd, const void *bytes, size_t size)
{
        if (send(fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
                _exit(0);
}

static void put_message(int fd, char kind, const void *body, size_t size)
{
        uint32_t length = htonl((uint32_t)size + 4);

        put(fd, &kind, 1);
        put(fd, &length, 4);
        put(fd, body, size);
}

static void take(int fd, void *bytes, size_t size)
{
        if (recv(fd, bytes, size, MSG_WAITALL) != (ssize_t)size)
                _exit(0);
}

static void take_body(int fd)
{
        char body[8192];
        uint32_t length;

        take(fd, &length, 4);
        if (ntohl(length) < 4 || ntohl(length) > sizeof body)
                _exit(1);
        take(fd, body, ntohl(length) - 4);
}

static void log_in(int fd)
{
        take_body(fd);
        put_message(fd, 'R', "\0\0\0", 4);
        put_message(fd, 'Z', "I", 1);
}

static void take_question(int fd)
{
        char kind;

        take(fd, &kind, 1);
        if (kind != 'Q')
                _exit(0);
        take_body(fd);
}

static void put_row(int fd)
{
        static const char *const value[] = {"f",       "0/4000028", "000000020000000000000004", "f",
                                            NULL,      NULL,        "7000000000000000001",      "8192",
                                            "16777216"};
        char columns[512] = {0, 9}, cells[512] = {0, 9};
        size_t column = 2, cell = 2;

        for (int i = 0; i < 9; i++) {
                uint32_t size = value[i] ? (uint32_t)strlen(value[i]) : UINT32_MAX, wire = htonl(size);
                memcpy(columns + column, "c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0", 20);
                column += 20;
                memcpy(cells + cell, &wire, 4);
                cell += 4;
                if (value[i])
                        memcpy(cells + cell, value[i], size);
                cell += value[i] ? size : 0;
        }
        put_message(fd, 'T', columns, column);
        put_message(fd, 'D', cells, cell);
        put_message(fd, 'C', "SELECT 1", 9);
        put_message(fd, 'Z', "I", 1);
}

static void answer(int fd)
{
        log_in(fd);
        for (;;) {
                take_question(fd);
                put_row(fd);
        }
}

static void answer_then_die(int fd)
{
        static const char last[] = "SFATAL\0VFATAL\0C57P01\0Mgoing down for good\0";

        log_in(fd);
        take_question(fd);
        put_row(fd);
        put_message(fd, 'E', last, sizeof last);
        close(fd);
}

static void say_nothing(int fd)
{
        char byte;

        while (recv(fd, &byte, 1, 0) == 1)
                ;
}

static void refuse_with_the_password(int fd)
{
        static const char why[] = "SFATAL\0VFATAL\0C28P01\0Mno user with password s3cret here\0";

        take_body(fd);
        put_message(fd, 'E', why, sizeof why);
        close(fd);
}

static void serve(void (*script)(int fd))
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t size = sizeof a;
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        cr_assert_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
        cr_assert_eq(getsockname(listener, (struct sockaddr *)&a, &size), 0);
        cr_assert_eq(listen(listener, 16), 0);
        port = ntohs(a.sin_port);
        server = fork();
        if (server == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;) {
                        int fd = accept(listener, NULL, NULL);
                        if (fork() == 0) {
                                prctl(PR_SET_PDEATHSIG, SIGKILL);
                                script(fd);
                                _exit(0);
                        }
                        close(fd);
                }
        }
        close(listener);
}

/* The probe */

static void on_result(void *arg, const struct prober_result *r)
{
        (void)arg;
        cr_assert_lt(n_results, 8u);
        result[n_results++] = *r;
}

static void write_file(const char *path, const char *text)
{
        FILE *f = fopen(path, "w");

        cr_assert_not_null(f);
        fputs(text, f);
        fclose(f);
}

static void begin(void)
{
        cr_assert_not_null(mkdtemp(dir));
        snprintf(hosts, sizeof hosts, "%s/hosts", dir);
        snprintf(resolv_conf, sizeof resolv_conf, "%s/resolv.conf", dir);
        write_file(hosts, "127.0.0.9 db.example\n127.0.0.1 db.example\n");
        write_file(resolv_conf, "nameserver 127.0.0.9:9\n");
        base = event_base_new();
        host = (struct probe_host){.base = base, .user = "me", .result = on_result};
        host.resolver = resolver_open(base, resolv_conf, hosts);
}

static void end(void)
{
        probe_close(&probe);
        resolver_close(&host.resolver);
        event_base_loop(base, EVLOOP_NONBLOCK);
        event_base_free(base);
        if (server > 0) {
                kill(server, SIGKILL);
                waitpid(server, NULL, 0);
        }
        unlink(hosts);
        unlink(resolv_conf);
        rmdir(dir);
}

static void open_probe(const char *where, const char *more)
{
        char conninfo[512];

        snprintf(conninfo, sizeof conninfo, "%s port=%u dbname=d sslmode=disable %s", where, port, more);
        probe_close(&probe);
        probe = probe_open(&host, 7, conninfo);
        cr_assert_str_eq(probe_conninfo(probe), conninfo);
}

static const struct prober_result *next(void)
{
        static unsigned seen;

        while (n_results == seen)
                event_base_loop(base, EVLOOP_ONCE);
        cr_assert_eq(result[seen].node, 7u);
        return &result[seen++];
}

static const struct prober_result *check(uint64_t number, uint32_t timeout_ms)
{
        probe_check(probe, number, timeout_ms);
        const struct prober_result *r = next();
        cr_assert_eq(r->number, number);
        return r;
}

static void check_fails(uint64_t number, uint32_t timeout_ms, const char *why)
{
        const struct prober_result *r = check(number, timeout_ms);

        cr_assert_eq(r->kind, (uint32_t)PROBER_FAILED, "%s", r->text);
        cr_assert_str_eq(r->text, why);
        cr_assert_eq(r->position.bytes, 0u);
}

TestSuite(probe, .init = begin, .fini = end, .timeout = 30);

Test(probe, an_answer_becomes_facts_and_the_connection_stays)
{
        serve(answer);
        open_probe("host=127.0.0.1", "");
        const struct prober_result *r = check(41, 5000);
        cr_assert_eq(r->kind, (uint32_t)PROBER_ANSWER, "%s", r->text);
        cr_assert_eq(r->system_identifier, 7000000000000000001ull);
        cr_assert_eq(r->position.bytes, 0x4000000ull);
        cr_assert_eq(r->timeline, 2u);
        cr_assert_eq(r->in_recovery, 0);
        cr_assert_eq(r->connected, 1);
        cr_assert_gt(r->took_us, 0u);
        cr_assert_str_eq(r->text, "");
        cr_assert_eq(check(42, 5000)->connected, 0);
}

Test(probe, the_end_of_an_idle_connection_is_told_with_the_servers_last_words)
{
        serve(answer_then_die);
        open_probe("host=127.0.0.1", "");
        cr_assert_eq(check(1, 5000)->kind, (uint32_t)PROBER_ANSWER);
        const struct prober_result *r = next();
        cr_assert_eq(r->kind, (uint32_t)PROBER_BROKEN);
        cr_assert_eq(r->number, 0u);
        cr_assert_str_eq(r->text, "FATAL: going down for good");
        cr_assert_eq(check(2, 5000)->connected, 1);
}

Test(probe, silence_ends_at_the_deadline_and_each_step_has_its_name)
{
        serve(say_nothing);
        open_probe("host=127.0.0.1", "");
        check_fails(1, 50, "no answer within 50 ms (connecting)");
        open_probe("host=nowhere.example", "");
        check_fails(2, 50, "no answer within 50 ms (resolving nowhere.example)");
        check_fails(3, 60, "no answer within 60 ms (resolving nowhere.example)");
}

Test(probe, a_name_with_two_addresses_is_reached_by_the_one_that_answers)
{
        serve(answer);
        open_probe("host=db.example", "");
        cr_assert_eq(check(1, 5000)->kind, (uint32_t)PROBER_ANSWER);
}

Test(probe, a_newer_check_overtakes_and_asks_anew)
{
        serve(say_nothing);
        open_probe("host=127.0.0.1", "");
        probe_check(probe, 1, 5000);
        probe_check(probe, 2, 50);
        const struct prober_result *first = next(), *second = next();
        cr_assert_eq(first->number, 1u);
        cr_assert_str_eq(first->text, "overtaken by a newer check");
        cr_assert_eq(second->number, 2u);
        cr_assert_str_eq(second->text, "no answer within 50 ms (connecting)");
}

Test(probe, a_password_that_the_server_knows_is_not_repeated)
{
        serve(refuse_with_the_password);
        open_probe("host=127.0.0.1", "password=s3cret");
        check_fails(1, 5000, "FATAL: no user with password ****** here");
}

Test(probe, a_conninfo_that_cannot_be_one_server_fails_each_check_and_shows_nothing_of_it)
{
        port = 1;
        open_probe("host=a,b", "");
        check_fails(1, 5000, "the connection string names several hosts: a node is one server");
        open_probe("hostaddr=127.0.0.1,127.0.0.2", "");
        check_fails(2, 5000, "the connection string names several hosts: a node is one server");
        open_probe("service=x", "");
        check_fails(3, 5000, "the connection string has service=: write host= and port=");
        open_probe("password=se cret", "");
        check_fails(4, 5000, "the connection string is not valid");
        check_fails(5, 0, "the connection string is not valid");
}

Test(probe, a_probe_may_be_closed_in_any_state)
{
        serve(say_nothing);
        open_probe("host=127.0.0.1", "");
        probe_check(probe, 1, 5000);
        event_base_loop(base, EVLOOP_ONCE);
        open_probe("host=nowhere.example", "");
        probe_check(probe, 2, 5000);
        probe_close(&probe);
        cr_assert_null(probe);
        event_base_loop(base, EVLOOP_NONBLOCK);
        cr_assert_eq(n_results, 0u);
}
