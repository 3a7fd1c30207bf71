/* sent.c -- requests that were sent ahead of their answers, and those answers until somebody asks for them.
 * Pure.  Owns: struct sent. */
#include "client/sent.h"

static struct sent_one *oldest(struct sent *s, enum sent_state state)
{
        struct sent_one *first = NULL;
        for (struct sent_one *one = s->one; one < s->one + SENT_MAX; one++)
                if (one->state == state && (!first || one->number < first->number))
                        first = one;
        return first;
}

struct sent_one *sent_room(struct sent *s)
{
        struct sent_one *room = oldest(s, SENT_FREE);
        room = room ? room : oldest(s, SENT_HAD);
        return room ? room : oldest(s, SENT_ANSWERED);
}

void sent_put(struct sent *s, struct sent_one *at, uint64_t serial, const struct pnr_request *q)
{
        *at = (struct sent_one){.serial = serial, .number = q->number, .op = q->op, .state = SENT_AWAITED};
        s->awaited++;
}

struct sent_one *sent_next(struct sent *s) { return s->awaited ? oldest(s, SENT_AWAITED) : NULL; }

bool sent_answer(struct sent *s, const struct pnr_reply *r, size_t size)
{
        struct sent_one *one = sent_next(s);
        if (!one || !pnr_reply_valid(r, size, &(struct pnr_request){.op = one->op, .number = one->number}))
                return false;
        one->status = r->status;
        one->state = SENT_ANSWERED;
        s->awaited--;
        return true;
}

struct sent_one *sent_find(struct sent *s, uint64_t serial)
{
        for (struct sent_one *one = s->one; one < s->one + SENT_MAX; one++)
                if (one->state != SENT_FREE && one->serial == serial)
                        return one;
        return NULL;
}

void sent_lose(struct sent *s)
{
        for (struct sent_one *one = s->one; s->awaited && one < s->one + SENT_MAX; one++)
                if (one->state == SENT_AWAITED)
                        *one = (struct sent_one){.state = SENT_FREE};
        s->awaited = 0;
}
