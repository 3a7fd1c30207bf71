/* test_sent.c -- what was sent ahead: answers come in order, and each is had by who sent it. */
#include "client/sent.h"

#include <criterion/criterion.h>

static struct sent sent;

static struct pnr_request request(uint64_t number, unsigned op)
{
        return (struct pnr_request){.op = (uint16_t)op, .number = number};
}

static void put(uint64_t serial, uint64_t number)
{
        struct pnr_request q = request(number, PNR_OP_RECORDS);
        struct sent_one *room = sent_room(&sent);
        cr_assert_not_null(room);
        sent_put(&sent, room, serial, &q);
}

static bool answer(uint64_t number, unsigned op, uint32_t status, size_t size)
{
        struct pnr_reply r = {.magic = PNR_WIRE_MAGIC,
                              .version = PNR_WIRE_VERSION,
                              .op = (uint16_t)op,
                              .number = number,
                              .status = status};
        return sent_answer(&sent, &r, size);
}

static bool answered(uint64_t number, uint32_t status)
{
        return answer(number, PNR_OP_RECORDS, status, sizeof(struct pnr_reply));
}

Test(sent, answers_come_in_the_order_of_the_questions_and_are_found_by_serial)
{
        cr_expect_null(sent_next(&sent));
        cr_expect_not(answered(1, 0), "nothing is awaited");
        put(100, 1), put(101, 2), put(102, 5);
        cr_expect_eq(sent_next(&sent)->number, 1);
        cr_expect_not(answered(2, 0), "it is not its turn");
        cr_expect_not(answer(1, PNR_OP_RECORD, 0, sizeof(struct pnr_reply)), "of another op");
        cr_expect_not(answer(1, PNR_OP_RECORDS, 0, sizeof(struct pnr_reply) - 1));
        cr_expect(answered(1, 0));
        cr_expect(answered(2, 6));
        cr_expect_eq(sent_next(&sent)->number, 5);
        cr_expect_eq(sent_find(&sent, 100)->status, 0);
        cr_expect_eq(sent_find(&sent, 101)->status, 6);
        cr_expect_eq(sent_find(&sent, 101)->state, SENT_ANSWERED);
        cr_expect_eq(sent_find(&sent, 102)->state, SENT_AWAITED);
        cr_expect_null(sent_find(&sent, 103));
        sent_have(sent_find(&sent, 101));
        cr_expect_eq(sent_find(&sent, 101)->status, 6);
}

Test(sent, a_lost_connection_loses_what_is_awaited_and_no_answer_that_came)
{
        put(100, 1), put(101, 2), put(102, 3);
        cr_expect(answered(1, 0));
        sent_lose(&sent);
        cr_expect_null(sent_next(&sent));
        cr_expect_not_null(sent_find(&sent, 100));
        cr_expect_null(sent_find(&sent, 101));
        cr_expect_null(sent_find(&sent, 102));
        put(103, 4);
        cr_expect(answered(4, 0), "numbers go on");
}

Test(sent, where_all_are_awaited_there_is_no_room_and_the_oldest_answer_makes_some)
{
        for (uint64_t i = 0; i < SENT_MAX; i++)
                put(100 + i, 1 + i);
        cr_expect_null(sent_room(&sent));
        cr_expect(answered(1, 0) && answered(2, 0));
        put(200, 50);
        cr_expect_null(sent_find(&sent, 100), "nobody asked for it");
        cr_expect_not_null(sent_find(&sent, 101));
        cr_expect(answered(3, 0));
        sent_have(sent_find(&sent, 102));
        put(201, 51);
        cr_expect_null(sent_find(&sent, 102), "nobody will ask for it again");
        cr_expect_not_null(sent_find(&sent, 101));
}
