/* test_resolve.c -- names to addresses: from the hosts file, from a name server, and when there is none. */
#include "daemon/resolve.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct event_base *base;
static struct resolver *resolver;
static char dir[] = "/tmp/test_resolve.XXXXXX";
static char resolv_conf[64], hosts[64];
static unsigned calls;

static void write_file(const char *path, const char *text)
{
        char temporary[96];

        snprintf(temporary, sizeof temporary, "%s.new", path);
        FILE *f = fopen(temporary, "w");
        cr_assert_not_null(f);
        fputs(text, f);
        fclose(f);
        cr_assert_eq(rename(temporary, path), 0);
}

static void begin(void)
{
        cr_assert_not_null(mkdtemp(dir));
        snprintf(resolv_conf, sizeof resolv_conf, "%s/resolv.conf", dir);
        snprintf(hosts, sizeof hosts, "%s/hosts", dir);
        base = event_base_new();
        calls = 0;
}

static void end(void)
{
        if (resolver)
                resolver_close(&resolver);
        event_base_loop(base, EVLOOP_NONBLOCK); /* evdns lets go of what was cancelled from the loop */
        event_base_free(base);
        unlink(resolv_conf);
        unlink(hosts);
        rmdir(dir);
}

static void on_done(void *arg)
{
        (void)arg;
        calls++;
}

/* A name server that never answers; returns its socket. */
static int silent_server(void)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t size = sizeof a;
        char line[64];
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
        cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
        snprintf(line, sizeof line, "nameserver 127.0.0.1:%u\n", ntohs(a.sin_port));
        write_file(resolv_conf, line);
        return fd;
}

static bool has(const struct lookup *l, const char *address)
{
        for (unsigned i = 0; i < lookup_count(l); i++)
                if (strcmp(lookup_address(l, i), address) == 0)
                        return true;
        return false;
}

TestSuite(resolve, .init = begin, .fini = end, .timeout = 20);

Test(resolve, the_hosts_file_answers_at_once_and_a_change_of_it_counts)
{
        write_file(hosts, "127.0.0.7 db db.example\n");
        resolver = resolver_open(base, resolv_conf, hosts);
        struct lookup *l = lookup_open(resolver, "db.example", on_done, NULL);

        cr_assert_str_eq(lookup_name(l), "db.example");
        cr_assert_eq(lookup_count(l), 0u);
        cr_assert(lookup_start(l));
        cr_assert_eq(lookup_count(l), 1u);
        cr_assert_str_eq(lookup_address(l, 0), "127.0.0.7");
        cr_assert_str_eq(lookup_address(l, 1), "");
        cr_assert_str_eq(lookup_error(l), "");

        write_file(hosts, "127.0.0.8 db.example\n127.0.0.9 db.example\n");
        cr_assert(lookup_start(l));
        cr_assert_eq(lookup_count(l), 2u);
        cr_assert(has(l, "127.0.0.8") && has(l, "127.0.0.9"));
        cr_assert_eq(calls, 0u, "an answer inside lookup_start() is its caller's");
        lookup_close(&l);
}

Test(resolve, without_files_or_servers_a_name_fails_and_nothing_else_happens)
{
        resolver = resolver_open(base, resolv_conf, hosts);
        struct lookup *l = lookup_open(resolver, "db.example", on_done, NULL);

        write_file(resolv_conf, "# nobody\n");
        if (!lookup_start(l))
                while (calls == 0)
                        event_base_loop(base, EVLOOP_ONCE);
        cr_assert_eq(lookup_count(l), 0u);
        cr_assert_str_neq(lookup_error(l), "");
        lookup_close(&l);
        cr_assert_null(l);
        lookup_close(&l);
}

Test(resolve, a_dead_server_ends_in_an_error_and_the_last_good_address_stays)
{
        int fd = silent_server();
        write_file(hosts, "127.0.0.7 db.example\n");
        resolver = resolver_open(base, resolv_conf, hosts);
        struct lookup *l = lookup_open(resolver, "db.example", on_done, NULL);

        cr_assert(lookup_start(l));
        write_file(hosts, "");
        cr_assert(!lookup_start(l));
        cr_assert(!lookup_start(l), "joins the one that is under way");
        while (calls == 0)
                event_base_loop(base, EVLOOP_ONCE);
        cr_assert_eq(calls, 1u);
        cr_assert_str_neq(lookup_error(l), "");
        cr_assert_eq(lookup_count(l), 1u);
        cr_assert_str_eq(lookup_address(l, 0), "127.0.0.7");
        lookup_close(&l);
        close(fd);
}

Test(resolve, a_lookup_that_is_closed_while_it_runs_never_calls_back)
{
        int fd = silent_server();
        resolver = resolver_open(base, resolv_conf, hosts);
        struct lookup *l = lookup_open(resolver, "db.example", on_done, NULL);

        cr_assert(!lookup_start(l));
        lookup_close(&l);
        for (int i = 0; i < 10; i++)
                event_base_loop(base, EVLOOP_NONBLOCK);
        cr_assert_eq(calls, 0u);
        close(fd);
}
