/* test_hosts.c -- which names a client may call the HTTP server by. */
#include <criterion/criterion.h>
#include <regex.h>

#include "daemon/hosts.h"
#include "tests/unit/seeded.h"

Test(hosts, this_machine_is_localhost_and_every_address_in_digits)
{
        const char *good[] = {"localhost", "LOCALHOST:80",   "localhost.",     "localhost.:9899",
                              "127.0.0.1", "127.0.0.1:9899", "127.9.9.9:1",    "10.0.0.7:9899",
                              "[::1]",     "[::1]:9899",     "[fe80::1]:65535"};
        for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
                cr_expect(hosts_admit(good[i], ""), "%s", good[i]);
}

Test(hosts, a_name_that_somebody_elses_dns_could_turn_is_none_of_ours)
{
        const char *bad[] = {"evil.example",
                             "evil.example:9899",
                             "localhost.evil.example",
                             "127.0.0.1.evil.example",
                             "evil.localhost",
                             "localhostevil",
                             "xlocalhost",
                             "1.2.3",
                             "0x7f.1",
                             "2130706433",
                             "127.0.0.01.",
                             "::1",
                             "[127.0.0.1]",
                             "[::1",
                             "[]",
                             "[::1]x",
                             "[::1]:",
                             "[::1]:9x",
                             "localhost:",
                             "localhost:123456",
                             "localhost:80:80",
                             "localhost:80 ",
                             " localhost",
                             "localhost@evil.example",
                             "evil.example#@localhost",
                             "localhost/",
                             ".",
                             "",
                             ":80",
                             "[::1]evil.example",
                             "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]"};
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
                cr_expect_not(hosts_admit(bad[i], ""), "%s", bad[i]);
}

Test(hosts, a_name_of_the_config_is_known_as_a_whole_and_in_any_case)
{
        const char *names = " metrics.example.com  app-1\thost_2 ";
        cr_expect(hosts_admit("metrics.example.com", names));
        cr_expect(hosts_admit("Metrics.Example.Com.:9899", names));
        cr_expect(hosts_admit("app-1", names));
        cr_expect(hosts_admit("HOST_2:1", names));
        cr_expect_not(hosts_admit("example.com", names));
        cr_expect_not(hosts_admit("app", names));
        cr_expect_not(hosts_admit("app-11", names));
        cr_expect_not(hosts_admit("metrics.example.com,app-1", names));
        cr_expect_not(hosts_admit("app-1", "metrics.example.com,app-1"), "a comma is part of no name");
}

/* Whatever is put together of what hosts are made of: what is admitted looks like one of three kinds. */
Test(hosts, nothing_else_is_ever_admitted)
{
        static const char *const part[] = {"localhost",    "127.0.0.1", "::1", "[", "]", ":",     "80", ".",
                                           "evil.example", "a",         "@",   "/", " ", "99999", "6",  "%",
                                           "10.1.2.3",     "fe80::"};
        uint64_t seed = seeded_start(29);
        unsigned admitted = 0;
        regex_t known;
        cr_assert_eq(
            regcomp(&known,
                    "^((localhost|a)|([0-9]{1,3}\\.){3}[0-9]{1,3}|\\[[0-9a-f:.]+\\])\\.?(:[0-9]{1,5})?$",
                    REG_EXTENDED | REG_NOSUB),
            0);
        for (unsigned i = 0; i < 200000; i++) {
                char host[128] = "";
                for (uint64_t n = seeded_below(&seed, 6); n > 0; n--)
                        strcat(host, part[seeded_below(&seed, sizeof part / sizeof *part)]);
                bool admits = hosts_admit(host, "a");
                admitted += admits;
                cr_assert(!admits || !regexec(&known, host, 0, NULL, 0), "%s", host);
        }
        regfree(&known);
        cr_expect_gt(admitted, 1000);
}
