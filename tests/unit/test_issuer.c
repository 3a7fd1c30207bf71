/* test_issuer.c -- stamps that never come twice, and which keys are in force. */
#include "daemon/issuer.h"

#include <criterion/criterion.h>
#include <string.h>

#include "daemon/log.h"
#include "proto/token.h"

static const struct pnr_token_keys none;

static void quiet(void)
{
        log_init("test");
        log_set_level(0);
}

TestSuite(issuer, .init = quiet);

static struct pnr_token_keys keys_of(uint8_t byte)
{
        struct pnr_token_keys keys = {.n = 2};
        memset(keys.key[0], byte, sizeof keys.key[0]);
        memset(keys.key[1], byte + 1, sizeof keys.key[1]);
        return keys;
}

static bool same(const struct pnr_token_keys *a, const struct pnr_token_keys *b)
{
        return a->n == b->n && !memcmp(a->key, b->key, sizeof a->key);
}

Test(issuer, each_stamp_covers_those_before_it_and_no_other_issuer_s)
{
        struct issuer a, b;
        issuer_init(&a, &none);
        issuer_init(&b, &none);
        cr_expect_neq(a.keys.issuer, b.keys.issuer, "one in 16 million that this fails");
        uint64_t first = issuer_next(&a), second = issuer_next(&a), other = issuer_next(&b);
        cr_expect(pnr_stamp_covers(second, first) && !pnr_stamp_covers(first, second));
        cr_expect(!pnr_stamp_covers(second, other) && !pnr_stamp_covers(other, first));
}

Test(issuer, a_number_has_24_bits_and_is_not_that_of_the_stubs)
{
        uint32_t any = 0;
        for (unsigned i = 0; i < 10000; i++) {
                struct issuer is;
                issuer_init(&is, &none);
                cr_assert(is.keys.issuer > 0 && is.keys.issuer < 1u << 24);
                any |= is.keys.issuer;
        }
        cr_expect_eq(any, (1u << 24) - 1);
}

Test(issuer, a_count_that_has_run_out_goes_on_under_another_number)
{
        struct issuer is;
        issuer_init(&is, &none);
        is.dirty = false;
        is.count = (1ull << PNR_STAMP_COUNT_BITS) - 2;
        uint64_t last = issuer_next(&is);
        cr_expect_not(is.dirty);
        uint64_t next = issuer_next(&is);
        cr_expect(is.dirty, "stubs have to know it");
        cr_expect_eq(last & 0xffffffffffull, 0xffffffffffull);
        cr_expect_not(pnr_stamp_covers(last, next), "the new write would go unpinned");
        cr_expect_neq(last >> PNR_STAMP_COUNT_BITS, next >> PNR_STAMP_COUNT_BITS);
}

Test(issuer, configured_keys_come_first_then_those_found_then_a_random_one)
{
        struct pnr_token_keys found = keys_of(1), configured = keys_of(5);
        struct issuer is;
        issuer_init(&is, &found);
        issuer_configure(&is, &none);
        cr_expect(same(&is.keys, &found));
        issuer_configure(&is, &configured);
        cr_expect(same(&is.keys, &configured));
        issuer_configure(&is, &none);
        cr_expect(same(&is.keys, &configured), "what was signed a moment ago is accepted still");
        cr_expect_eq(is.keys.issuer, issuer_next(&is) >> PNR_STAMP_COUNT_BITS);

        struct issuer a, b;
        issuer_init(&a, &none), issuer_configure(&a, &none);
        issuer_init(&b, &none), issuer_configure(&b, &none);
        cr_expect(pnr_token_keys_valid(&a.keys) && a.keys.n == 1 && !same(&a.keys, &b.keys));
}

Test(issuer, keys_are_published_at_first_and_when_they_change)
{
        struct pnr_token_keys found = keys_of(1), configured = keys_of(5);
        struct issuer is;
        issuer_init(&is, &found);
        issuer_configure(&is, &none);
        cr_expect(is.dirty, "the store that they were found in may have been replaced");
        is.dirty = false;
        issuer_configure(&is, &found);
        cr_expect_not(is.dirty);
        issuer_configure(&is, &configured);
        cr_expect(is.dirty);
        is.dirty = false;
        configured.n = 1;
        memset(configured.key[1], 0, sizeof configured.key[1]);
        issuer_configure(&is, &configured);
        cr_expect(is.dirty && is.keys.n == 1, "a key that was dropped is accepted no longer");
}

Test(issuer, a_fingerprint_is_the_key_s_and_shows_nothing_of_it)
{
        struct issuer a, b;
        struct pnr_token_keys keys = keys_of(0xab);
        char first[ISSUER_FINGERPRINT_SIZE], second[ISSUER_FINGERPRINT_SIZE],
            elsewhere[ISSUER_FINGERPRINT_SIZE];
        issuer_init(&a, &keys);
        issuer_init(&b, &keys);
        issuer_fingerprint(&a, 0, first);
        issuer_fingerprint(&a, 1, second);
        issuer_fingerprint(&b, 0, elsewhere);
        cr_expect_str_eq(first, elsewhere);
        cr_expect_str_neq(first, second);
        cr_expect(strlen(first) == 8 && !strstr(first, "abab"), "%s", first);
}
