/* test_wire.c -- golden frames, and which frames are refused. */
#include "proto/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

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

static void expect_bytes(const void *frame, size_t size, const char *hex)
{
        char got[257] = "";
        for (size_t i = 0; i < size; i++)
                snprintf(got + 2 * i, 3, "%02x", ((const unsigned char *)frame)[i]);
        cr_expect_str_eq(got, hex);
}

Test(wire, frames_of_version_1_are_these_bytes)
{
        struct pnr_request q = record();
        struct pnr_reply r = reply();
        expect_bytes(&q, sizeof q,
                     "504e5257"
                     "0100"
                     "0200"
                     "8877665544332211"
                     "6d61696e000000000000000000000000"
                     "00000000000000000000000000000000"
                     "00000000000000000000000000000000"
                     "00000000000000000000000000000000"
                     "0807060504030201"
                     "a8a7a6a5a4a3a2a1"
                     "983a0000"
                     "00000000000000000000000000000000000000000000000000000000");
        expect_bytes(&r, sizeof r,
                     "504e5257"
                     "0100"
                     "0200"
                     "8877665544332211"
                     "06000000"
                     "00000000"
                     "e7e6e5e4e3e2e1e0"
                     "7856341200000000"
                     "0900000000000000"
                     "4200000000000000"
                     "0000000000000000");
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
                cr_expect_eq(pnr_request_valid(&q, sizeof q), op == PNR_OP_RECORD || op == PNR_OP_HOLD,
                             "op %u", op);
        }
        for (size_t i = 0; i < 7; i++) {
                q = record();
                q.reserved[i] = 1u << 31;
                cr_expect_not(pnr_request_valid(&q, sizeof q));
        }
}

Test(wire, hello_carries_nothing)
{
        struct pnr_request hello = {.magic = PNR_WIRE_MAGIC, .version = 1, .op = PNR_OP_HELLO}, q = hello;
        cr_expect(pnr_request_valid(&q, sizeof q));
        q.cluster[63] = 1;
        cr_expect_not(pnr_request_valid(&q, sizeof q));
        q = hello, q.key[1] = 1;
        cr_expect_not(pnr_request_valid(&q, sizeof q));
        q = hello, q.ms = 1;
        cr_expect_not(pnr_request_valid(&q, sizeof q));
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
