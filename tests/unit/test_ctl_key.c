/* test_ctl_key.c -- KEY from the command line and from a stream. */
#include <criterion/criterion.h>
#include <string.h>

#include "client/ctl_key.h"

static const char *from_stream(const char *bytes, size_t len, struct ctl_key *key)
{
        FILE *f = fmemopen((void *)(uintptr_t)bytes, len, "r");
        const char *wrong = ctl_key_read("-", f, key);
        fclose(f);
        return wrong;
}

Test(ctl_key, a_key_is_the_same_from_both_places)
{
        static struct ctl_key a, b;
        char hex_a[33], hex_b[33];
        cr_assert_null(ctl_key_read("alice", NULL, &a));
        cr_assert_null(from_stream("alice\n", 6, &b));
        cr_expect(a.len == 5 && b.len == 5 && memcmp(a.bytes, b.bytes, 5) == 0);
        ctl_key_hex(&a, hex_a), ctl_key_hex(&b, hex_b);
        cr_expect_str_eq(hex_a, hex_b);
        cr_expect_eq(strspn(hex_a, "0123456789abcdef"), 32);
        struct pnr_key k = pnr_key_of("alice", 5);
        char first[17];
        snprintf(first, sizeof first, "%016llx", (unsigned long long)k.w[0]);
        cr_expect_eq(strncmp(hex_a, first, 16), 0, "w[0] first");
}

Test(ctl_key, one_newline_is_taken_off_and_nuls_are_bytes)
{
        static struct ctl_key key;
        cr_assert_null(from_stream("a\0\n\n", 4, &key));
        cr_expect(key.len == 3 && memcmp(key.bytes, "a\0\n", 3) == 0);
        cr_expect(from_stream("\n", 1, &key));
}

Test(ctl_key, its_length_is_1_to_4096)
{
        static struct ctl_key key;
        static char text[PNR_KEY_MAX + 3];
        memset(text, 'x', PNR_KEY_MAX + 1);
        cr_expect(ctl_key_read("", NULL, &key));
        cr_expect(ctl_key_read(text, NULL, &key));
        cr_expect(from_stream(text, PNR_KEY_MAX + 1, &key));
        text[PNR_KEY_MAX] = '\n';
        cr_expect_null(from_stream(text, PNR_KEY_MAX + 1, &key));
        cr_expect_eq(key.len, PNR_KEY_MAX);
        text[PNR_KEY_MAX] = '\0';
        cr_expect_null(ctl_key_read(text, NULL, &key));
        cr_expect_eq(key.len, PNR_KEY_MAX);
}
