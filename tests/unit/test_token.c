/* test_token.c -- tokens: their bytes, who may have signed them, and how long they are good.
 * The golden text was computed by Python's hmac, base64 and struct. */
#include "proto/token.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const struct pnr_token sample = {.cluster = 0x1122334455667788,
                                        .key = {{0x0102030405060708, 0x1112131415161718}},
                                        .stamp = 0xabcdef123456789a,
                                        .issued_ms = 1700000000000,
                                        .left_ms = 15000};
static const char golden[] =
    "AQAAAIh3ZlVEMyIRCAcGBQQDAgEYFxYVFBMSEZp4VjQS782rAGjlz4sBAACYOgAA2Nkde0IADJASOuwyOUbznQ";

static struct pnr_token_keys keys_from(unsigned first, unsigned n)
{
        struct pnr_token_keys keys = {.n = n};
        for (unsigned i = 0; i < n; i++)
                for (unsigned j = 0; j < PNR_TOKEN_KEY_SIZE; j++)
                        keys.key[i][j] = (uint8_t)(first + i * 64 + j);
        return keys;
}

static bool same(const struct pnr_token *a, const struct pnr_token *b)
{
        return a->cluster == b->cluster && a->key.w[0] == b->key.w[0] && a->key.w[1] == b->key.w[1] &&
               a->stamp == b->stamp && a->issued_ms == b->issued_ms && a->left_ms == b->left_ms;
}

static bool reads(const char *text, size_t len, const struct pnr_token_keys *keys)
{
        struct pnr_token t;
        static const struct pnr_token zeros;
        memset(&t, 0xff, sizeof t);
        errno = E2BIG;
        bool good = pnr_token_read(text, len, keys, &t);
        cr_expect_eq(errno, E2BIG);
        cr_expect(same(&t, good ? &sample : &zeros));
        return good;
}

Test(token, a_token_is_the_text_that_its_version_says)
{
        char text[PNR_TOKEN_CHARS + 1];
        struct pnr_token_keys keys = keys_from(0, 1);
        pnr_token_sign(&sample, &keys, text);
        cr_expect_str_eq(text, golden, "tokens are on their way: bump VERSION and accept both");
        cr_expect(reads(golden, PNR_TOKEN_CHARS, &keys));
}

Test(token, a_clusters_number_is_for_life)
{
        static const char main_name[PNR_NAME_SIZE] = "main", other[PNR_NAME_SIZE] = "main2";
        cr_expect_eq(pnr_token_cluster(main_name), 0xc1ecdebcd84e9fe3ull, "0x%016lx",
                     pnr_token_cluster(main_name));
        cr_expect_neq(pnr_token_cluster(main_name), pnr_token_cluster(other));
}

/* Also the last one, of whose bits only two mean something: libsodium wants the others 0. */
Test(token, one_character_changed_is_not_ours)
{
        struct pnr_token_keys keys = keys_from(0, 1);
        char text[PNR_TOKEN_CHARS + 1];
        unsigned tried = 0;
        for (unsigned i = 0; i < PNR_TOKEN_CHARS; i++) {
                memcpy(text, golden, sizeof text);
                for (const char *c = alphabet; *c; c++) {
                        text[i] = *c;
                        if (*c == golden[i])
                                continue;
                        cr_expect_not(reads(text, PNR_TOKEN_CHARS, &keys), "%u: %c", i, *c);
                        tried++;
                }
                for (unsigned c = 0; c < 256; c++) {
                        text[i] = (char)c;
                        if (c == 0 || !strchr(alphabet, (int)c))
                                cr_expect_not(reads(text, PNR_TOKEN_CHARS, &keys), "%u: %u", i, c);
                }
        }
        cr_expect_eq(tried, PNR_TOKEN_CHARS * 63);
}

/* libsodium takes a byte of 0xff for an underscore. */
Test(token, no_byte_stands_for_a_character_that_it_is_not)
{
        struct pnr_token_keys keys = keys_from(0, 1);
        struct pnr_token t = sample, got;
        char text[PNR_TOKEN_CHARS + 1];
        for (unsigned six = 0; six < 64; six++) {
                t.stamp = six << 2 | 1; /* its first byte is at the beginning of a character */
                pnr_token_sign(&t, &keys, text);
                for (unsigned i = 0; i < PNR_TOKEN_CHARS; i++)
                        for (unsigned c = 128; c < 256; c++) {
                                char was = text[i];
                                text[i] = (char)c;
                                cr_assert_not(pnr_token_read(text, PNR_TOKEN_CHARS, &keys, &got), "%c: %u",
                                              was, c);
                                text[i] = was;
                        }
        }
}

Test(token, only_86_characters_are_a_token)
{
        struct pnr_token_keys keys = keys_from(0, 1);
        char text[4096];
        memset(text, 'A', sizeof text);
        memcpy(text, golden, PNR_TOKEN_CHARS);
        for (size_t len = 0; len <= sizeof text; len++)
                cr_expect_eq(reads(text, len, &keys), len == PNR_TOKEN_CHARS, "%zu", len);
        memcpy(text + PNR_TOKEN_CHARS, "==", 2);
        cr_expect_not(reads(text, PNR_TOKEN_CHARS + 2, &keys), "padded");
        cr_expect_not(reads(NULL, 0, &keys));
}

Test(token, the_first_key_signs_and_all_are_accepted)
{
        struct pnr_token_keys old = keys_from(0, 1), both = keys_from(128, 2), most = keys_from(64, 4);
        char text[PNR_TOKEN_CHARS + 1];
        cr_expect_not(reads(golden, PNR_TOKEN_CHARS, &both));
        memcpy(both.key[1], old.key[0], PNR_TOKEN_KEY_SIZE);
        cr_expect(reads(golden, PNR_TOKEN_CHARS, &both));
        pnr_token_sign(&sample, &both, text);
        cr_expect_not(reads(text, PNR_TOKEN_CHARS, &old), "it was signed with the old key");
        cr_expect(reads(text, PNR_TOKEN_CHARS, &both));
        memcpy(most.key[3], old.key[0], PNR_TOKEN_KEY_SIZE);
        cr_expect(reads(golden, PNR_TOKEN_CHARS, &most));
        most.n = 3;
        cr_expect_not(reads(golden, PNR_TOKEN_CHARS, &most), "a key beyond the last");
        most.n = 0;
        cr_expect_not(reads(golden, PNR_TOKEN_CHARS, &most));
        most.n = UINT32_MAX;
        cr_expect(reads(golden, PNR_TOKEN_CHARS, &most), "and none beyond the array");
}

Test(token, one_without_a_stamp_is_not_ours)
{
        struct pnr_token_keys keys = keys_from(0, 1);
        struct pnr_token t = sample, got;
        char text[PNR_TOKEN_CHARS + 1];
        t.stamp = 0;
        pnr_token_sign(&t, &keys, text);
        cr_expect_not(pnr_token_read(text, PNR_TOKEN_CHARS, &keys, &got));
}

Test(token, one_of_another_version_is_not_ours_however_well_it_is_signed)
{
        static const char text[] =
            "AgAAAIh3ZlVEMyIRCAcGBQQDAgEYFxYVFBMSEZp4VjQS782rAGjlz4sBAACYOgAAf3jXTf1Efx4kIdR26kag_g";
        struct pnr_token_keys keys = keys_from(0, 1);
        cr_expect_not(reads(text, PNR_TOKEN_CHARS, &keys));
}

/* ---- the judge ---- */

#define ISSUED  1700000000000ll
#define MAX_PIN 300000u

static enum pnr_token_verdict judge_at(int64_t wall_ms, uint32_t of_ms, uint32_t *left_ms)
{
        struct pnr_token t = sample;
        t.left_ms = of_ms;
        t.issued_ms = ISSUED;
        *left_ms = 0xdead;
        enum pnr_token_verdict v = pnr_token_judge(&t, t.cluster, wall_ms, MAX_PIN, left_ms);
        if (v != PNR_TOKEN_GOOD)
                cr_expect_eq(*left_ms, 0);
        return v;
}

Test(token, what_is_left_is_neither_more_than_was_said_nor_less_than_a_skewed_clock_leaves)
{
        uint32_t left_ms;
        cr_expect_eq(judge_at(ISSUED, 15000, &left_ms), PNR_TOKEN_GOOD);
        cr_expect_eq(left_ms, 15000);
        cr_expect_eq(judge_at(ISSUED + 60000, 15000, &left_ms), PNR_TOKEN_GOOD);
        cr_expect_eq(left_ms, 15000);
        cr_expect_eq(judge_at(ISSUED + 61000, 15000, &left_ms), PNR_TOKEN_GOOD);
        cr_expect_eq(left_ms, 14000);
        cr_expect_eq(judge_at(ISSUED, MAX_PIN + 1, &left_ms), PNR_TOKEN_GOOD);
        cr_expect_eq(left_ms, MAX_PIN, "max_pin_seconds holds for tokens, too");
}

/* Of every skew within the slack and every age: what a token gives is enough to outlast the issuer's pin. */
Test(token, clocks_that_differ_by_less_than_the_slack_lose_nothing)
{
        for (int64_t skew_ms = -PNR_TOKEN_SLACK_MS; skew_ms <= PNR_TOKEN_SLACK_MS; skew_ms += 1000)
                for (int64_t age_ms = 0; age_ms < 15000; age_ms += 500) {
                        uint32_t left_ms;
                        cr_expect_eq(judge_at(ISSUED + skew_ms + age_ms, 15000, &left_ms), PNR_TOKEN_GOOD,
                                     "skew %ld, age %ld", skew_ms, age_ms);
                        cr_expect_geq(left_ms, 15000 - age_ms);
                        cr_expect_leq(left_ms, 15000);
                }
}

Test(token, it_expires_the_slack_after_its_deadline)
{
        uint32_t left_ms;
        cr_expect_eq(judge_at(ISSUED + 15000 + PNR_TOKEN_SLACK_MS - 1, 15000, &left_ms), PNR_TOKEN_GOOD);
        cr_expect_eq(left_ms, 1);
        cr_expect_eq(judge_at(ISSUED + 15000 + PNR_TOKEN_SLACK_MS, 15000, &left_ms), PNR_TOKEN_EXPIRED);
        cr_expect_eq(judge_at(ISSUED, 0, &left_ms), PNR_TOKEN_EXPIRED);
        cr_expect_eq(judge_at(INT64_MAX, 15000, &left_ms), PNR_TOKEN_EXPIRED);
}

Test(token, one_dated_a_day_ahead_is_no_honest_hosts)
{
        uint32_t left_ms;
        int64_t ahead_ms = PNR_TOKEN_AHEAD_MS + PNR_TOKEN_SLACK_MS;
        cr_expect_eq(judge_at(ISSUED + 15000 - ahead_ms, 15000, &left_ms), PNR_TOKEN_GOOD);
        cr_expect_eq(left_ms, 15000);
        cr_expect_eq(judge_at(ISSUED + 15000 - ahead_ms - 1, 15000, &left_ms), PNR_TOKEN_FORGED);
        cr_expect_eq(judge_at(ISSUED, UINT32_MAX, &left_ms), PNR_TOKEN_FORGED, "it would end in weeks");
        cr_expect_eq(judge_at(INT64_MIN, 15000, &left_ms), PNR_TOKEN_FORGED);
        cr_expect_eq(judge_at(0, 15000, &left_ms), PNR_TOKEN_FORGED);
}

Test(token, one_of_another_cluster_is_foreign_whatever_its_dates)
{
        struct pnr_token t = sample;
        uint32_t left_ms;
        t.issued_ms = ISSUED;
        cr_expect_eq(pnr_token_judge(&t, t.cluster + 1, ISSUED, MAX_PIN, &left_ms), PNR_TOKEN_FOREIGN);
        cr_expect_eq(pnr_token_judge(&t, 0, 0, MAX_PIN, &left_ms), PNR_TOKEN_FOREIGN);
}

/* Signed by one of ours, and damaged before: sums stay in range, and nothing lasts longer than was said. */
Test(token, no_date_is_too_odd_to_be_judged)
{
        static const int64_t odd[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, ISSUED, INT64_MAX - 1, INT64_MAX};
        static const uint32_t left[] = {0, 1, 60000, INT32_MAX, UINT32_MAX};
        for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++)
                for (unsigned j = 0; j < sizeof odd / sizeof *odd; j++)
                        for (unsigned k = 0; k < sizeof left / sizeof *left; k++) {
                                struct pnr_token t = sample;
                                uint32_t left_ms;
                                t.issued_ms = odd[i];
                                t.left_ms = left[k];
                                bool good = pnr_token_judge(&t, t.cluster, odd[j], MAX_PIN, &left_ms) ==
                                            PNR_TOKEN_GOOD;
                                cr_expect(good ? left_ms > 0 && left_ms <= left[k] : left_ms == 0);
                        }
}

/* ---- stamps and keys ---- */

Test(token, a_stamp_covers_itself_and_what_its_issuer_counted_before)
{
        uint64_t five = pnr_stamp(7, 5), six = pnr_stamp(7, 6), others = pnr_stamp(8, 1);
        cr_expect(pnr_stamp_covers(five, five) && pnr_stamp_covers(six, five));
        cr_expect_not(pnr_stamp_covers(five, six));
        cr_expect_not(pnr_stamp_covers(six, others) || pnr_stamp_covers(others, six));
        cr_expect_not(pnr_stamp_covers(0, five));
        cr_expect_not(pnr_stamp_covers(pnr_stamp(0, 6), pnr_stamp(0, 5)), "two stubs' clocks say nothing");
        cr_expect(pnr_stamp_covers(pnr_stamp(0, 5), pnr_stamp(0, 5)));
        cr_expect_eq(pnr_stamp(1, 1ull << PNR_STAMP_COUNT_BITS), pnr_stamp(1, 0), "a count stays its own");
}

Test(token, keys_are_one_to_four_and_nothing_lies_behind_them)
{
        struct pnr_token_keys keys;
        for (unsigned n = 0; n <= PNR_TOKEN_KEYS_MAX; n++) {
                keys = keys_from(0, n);
                cr_expect_eq(pnr_token_keys_valid(&keys), n > 0, "%u", n);
        }
        keys.n = PNR_TOKEN_KEYS_MAX + 1;
        cr_expect_not(pnr_token_keys_valid(&keys));
        keys.n = UINT32_MAX;
        cr_expect_not(pnr_token_keys_valid(&keys));
        keys.n = PNR_TOKEN_KEYS_MAX - 1;
        cr_expect_not(pnr_token_keys_valid(&keys), "a key that does not count");
        keys = keys_from(0, 2);
        keys.issuer = 1u << PNR_ISSUER_BITS;
        cr_expect_not(pnr_token_keys_valid(&keys));
        keys = keys_from(0, 2);
        keys.reserved[6] = 1;
        cr_expect_not(pnr_token_keys_valid(&keys));
}
