/* test_wire.c -- frames are what they were, and which frames are refused. */
#include "proto/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/golden.h"

static struct pnr_request record(void)
{
        return (struct pnr_request){.magic = PNR_WIRE_MAGIC,
                                    .version = 1,
                                    .op = PNR_OP_RECORD,
                                    .number = 0x1122334455667788,
                                    .cluster = "main",
                                    .key = {0x0102030405060708, 0xa1a2a3a4a5a6a7a8},
                                    .ms = 15000};
}

static struct pnr_records records(unsigned n)
{
        struct pnr_records f = {.head = record()};
        f.head.op = PNR_OP_RECORDS;
        f.head.key[0] = f.head.key[1] = 0;
        f.head.n = n;
        for (unsigned i = 0; i < n; i++) {
                f.key[i][0] = 0x0102030405060700 + i;
                f.key[i][1] = 0xa1a2a3a4a5a6a700 + i;
        }
        return f;
}

static struct pnr_reply reply(void)
{
        return (struct pnr_reply){.magic = PNR_WIRE_MAGIC,
                                  .version = 1,
                                  .op = PNR_OP_RECORD,
                                  .number = 0x1122334455667788,
                                  .status = 6,
                                  .epoch = 0xe0e1e2e3e4e5e6e7,
                                  .now_ms = 0x0000000012345678,
                                  .turn = 9,
                                  .generation = 0x42};
}

#define BUMP "PNR_WIRE_VERSION"

Test(wire, frames_are_the_bytes_that_their_version_says)
{
        struct pnr_request hello = {
            .magic = PNR_WIRE_MAGIC, .version = PNR_WIRE_VERSION, .op = PNR_OP_HELLO, .number = 1};
        struct pnr_request q = record(), hold = record(), token = record(), counts = hello;
        struct pnr_records many = records(PNR_RECORDS_MAX);
        struct pnr_reply r = reply(), welcome = reply(), able;
        welcome.op = PNR_OP_HELLO;
        welcome.records_max = PNR_RECORDS_MAX;
        able = welcome; /* of a daemon that knows counts; the other is of one before */
        able.features = PNR_FEATURE_COUNTS;
        counts.op = PNR_OP_COUNTS;
        hold.op = PNR_OP_HOLD;
        hold.ms = 500;
        token.op = PNR_OP_TOKEN;
        token.stamp = 0xc0c1c2c3c4c5c6c7;
        cr_expect_eq(PNR_WIRE_VERSION, 1, "a new version has files of its own: add them, keep these");
        expect_golden("wire-1-hello", &hello, sizeof hello, BUMP);
        expect_golden("wire-1-record", &q, sizeof q, BUMP);
        expect_golden("wire-1-hold", &hold, sizeof hold, BUMP);
        expect_golden("wire-1-token", &token, sizeof token, BUMP);
        expect_golden("wire-1-records", &many, sizeof many, BUMP);
        expect_golden("wire-1-reply", &r, sizeof r, BUMP);
        expect_golden("wire-1-reply-hello", &welcome, sizeof welcome, BUMP);
        expect_golden("wire-1-counts", &counts, sizeof counts, BUMP);
        expect_golden("wire-1-reply-hello-counts", &able, sizeof able, BUMP);
}

Test(wire, a_request_is_taken_only_if_every_byte_is_known)
{
        struct pnr_request q = record();
        cr_expect(pnr_request_valid(&q, sizeof q));
        cr_expect_not(pnr_request_valid(&q, sizeof q - 1));
        cr_expect_not(pnr_request_valid(&q, sizeof q + 1));
        q.magic ^= 1;
        cr_expect_not(pnr_request_valid(&q, sizeof q));
        q = record();
        q.version = 2;
        cr_expect_not(pnr_request_valid(&q, sizeof q));
        for (unsigned op = 0; op < 9; op++) {
                q = record();
                q.op = (uint16_t)op;
                cr_expect_eq(pnr_request_valid(&q, sizeof q),
                             op == PNR_OP_RECORD || op == PNR_OP_HOLD || op == PNR_OP_TOKEN, "op %u", op);
                q.stamp = 1;
                cr_expect_eq(pnr_request_valid(&q, sizeof q), op == PNR_OP_TOKEN, "a stamp with op %u", op);
        }
        for (size_t i = 0; i < sizeof q.reserved / sizeof *q.reserved; i++) {
                q = record();
                q.reserved[i] = 1ull << 63;
                cr_expect_not(pnr_request_valid(&q, sizeof q));
        }
        q = record(), q.n = 1;
        cr_expect_not(pnr_request_valid(&q, sizeof q));
}

Test(wire, a_frame_of_records_has_its_own_size_and_its_keys_and_nothing_behind_them)
{
        struct pnr_records f = records(3);
        cr_expect(pnr_frame_valid(&f, sizeof f));
        cr_expect_eq(pnr_frame_size(&f.head), sizeof f);
        cr_expect_not(pnr_request_valid(&f.head, sizeof f.head));
        for (size_t size = 0; size < sizeof f + 2; size++)
                cr_assert_eq(pnr_frame_valid(&f, size), size == sizeof f, "of %zu bytes", size);
        for (unsigned n = 0; n < PNR_RECORDS_MAX + 2; n++) {
                f = records(n < PNR_RECORDS_MAX ? n : PNR_RECORDS_MAX), f.head.n = n;
                cr_expect_eq(pnr_frame_valid(&f, sizeof f), n >= 1 && n <= PNR_RECORDS_MAX, "%u keys", n);
        }
        for (unsigned i = 3; i < PNR_RECORDS_MAX; i++) {
                f = records(3), f.key[i][i % 2] = 1;
                cr_expect_not(pnr_frame_valid(&f, sizeof f), "key %u", i);
        }
        f = records(3), f.head.key[1] = 1;
        cr_expect_not(pnr_frame_valid(&f, sizeof f));
        f = records(3), f.head.stamp = 1;
        cr_expect_not(pnr_frame_valid(&f, sizeof f));
        f = records(3), f.head.reserved[1] = 1;
        cr_expect_not(pnr_frame_valid(&f, sizeof f));
        f = records(3), f.head.cluster[0] = 0;
        cr_expect_not(pnr_frame_valid(&f, sizeof f));
        f = records(3), f.head.version++;
        cr_expect_not(pnr_frame_valid(&f, sizeof f));
        for (unsigned op = 0; op < 9; op++) {
                f = records(3), f.head.op = (uint16_t)op;
                cr_expect_eq(pnr_frame_valid(&f, sizeof f), op == PNR_OP_RECORDS, "op %u", op);
                f = (struct pnr_records){.head = record()}, f.head.op = (uint16_t)op;
                cr_expect_eq(pnr_frame_valid(&f, sizeof f.head),
                             op == PNR_OP_RECORD || op == PNR_OP_HOLD || op == PNR_OP_TOKEN, "op %u", op);
        }
}

Test(wire, hello_and_counts_carry_nothing)
{
        for (int i = 0; i < 2; i++) {
                struct pnr_request whole = {
                    .magic = PNR_WIRE_MAGIC, .version = 1, .op = i ? PNR_OP_COUNTS : PNR_OP_HELLO};
                struct pnr_request q = whole;
                cr_expect(pnr_request_valid(&q, sizeof q));
                q.cluster[63] = 1;
                cr_expect_not(pnr_request_valid(&q, sizeof q));
                q = whole, q.key[1] = 1;
                cr_expect_not(pnr_request_valid(&q, sizeof q));
                q = whole, q.ms = 1;
                cr_expect_not(pnr_request_valid(&q, sizeof q));
                q = whole, q.stamp = 1;
                cr_expect_not(pnr_request_valid(&q, sizeof q));
        }
}

Test(wire, a_reply_is_taken_only_for_the_request_that_was_asked)
{
        struct pnr_request q = record();
        struct pnr_reply r = reply();
        cr_expect(pnr_reply_valid(&r, sizeof r, &q));
        cr_expect_not(pnr_reply_valid(&r, 0, &q));
        cr_expect_not(pnr_reply_valid(&r, sizeof r + 1, &q));
        r = reply(), r.number++;
        cr_expect_not(pnr_reply_valid(&r, sizeof r, &q));
        r = reply(), r.op = PNR_OP_HOLD;
        cr_expect_not(pnr_reply_valid(&r, sizeof r, &q));
        r = reply(), r.version = 2;
        cr_expect_not(pnr_reply_valid(&r, sizeof r, &q));
        r = reply(), r.magic = 0;
        cr_expect_not(pnr_reply_valid(&r, sizeof r, &q));
        r = reply(), memset(&r.generation, 0xff, sizeof r - offsetof(struct pnr_reply, generation));
        cr_expect(pnr_reply_valid(&r, sizeof r, &q), "what a newer daemon says beside is not looked at");
}

static bool valid(const char *text)
{
        char name[PNR_NAME_SIZE] = {0};
        memcpy(name, text, strnlen(text, sizeof name));
        return pnr_name_valid(name);
}

Test(wire, names_are_words_of_1_to_63_bytes_and_nuls)
{
        cr_expect(valid("a") && valid("shadow-1.eu_WEST"));
        cr_expect(valid("123456789012345678901234567890123456789012345678901234567890123"));
        cr_expect_not(valid("1234567890123456789012345678901234567890123456789012345678901234"));
        cr_expect_not(valid("") || valid("a b") || valid("a/b") || valid("\xc3\xa4") || valid("a\n") ||
                      valid("@"));
        char name[PNR_NAME_SIZE] = "main";
        name[63] = 'x';
        cr_expect_not(pnr_name_valid(name));
}
