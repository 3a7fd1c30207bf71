/* test_address.c -- http_listen as a socket address, and who can reach it. */
#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "daemon/address.h"

static struct sockaddr_storage at;

Test(address, an_address_of_either_family_is_read_with_its_port)
{
        struct sockaddr_in *v4 = (struct sockaddr_in *)&at;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&at;
        cr_assert_eq(address_read("127.0.0.1:9899", &at), sizeof *v4);
        cr_expect_eq(at.ss_family, AF_INET);
        cr_expect_eq(ntohs(v4->sin_port), 9899);
        cr_expect_eq(ntohl(v4->sin_addr.s_addr), INADDR_LOOPBACK);
        cr_assert_eq(address_read("[::1]:80", &at), sizeof *v6);
        cr_expect_eq(at.ss_family, AF_INET6);
        cr_expect_eq(ntohs(v6->sin6_port), 80);
        cr_expect(IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr));
}

Test(address, a_path_and_nothing_are_no_address)
{
        const char *none[] = {
            "",     "/run/x:80", "localhost:80",   ":80",
            "[:80", "[]:80",     "[localhost]:80", "[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]:80"};
        for (unsigned i = 0; i < sizeof none / sizeof *none; i++)
                cr_expect_eq(address_read(none[i], &at), 0, "%s", none[i]);
}

Test(address, loopback_and_paths_are_of_this_machine_alone)
{
        const char *here[] = {"", "/run/x", "127.0.0.1:80", "127.1.2.3:80", "[::1]:80"};
        const char *anywhere[] = {"0.0.0.0:80",        "[::]:80",     "10.0.0.1:80",
                                  "126.255.255.255:1", "128.0.0.1:1", "[::ffff:127.0.0.1]:80",
                                  "[fe80::1]:80"};
        for (unsigned i = 0; i < sizeof here / sizeof *here; i++)
                cr_expect(address_is_local(here[i]), "%s", here[i]);
        for (unsigned i = 0; i < sizeof anywhere / sizeof *anywhere; i++)
                cr_expect_not(address_is_local(anywhere[i]), "%s", anywhere[i]);
}
