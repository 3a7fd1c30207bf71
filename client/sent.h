/* sent.h -- requests that were sent ahead of their answers, and those answers until somebody asks for them.
 * In memory that a fork wipes; zeros are a good start. */
#ifndef PINROUTE_SENT_H
#define PINROUTE_SENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

#define SENT_MAX 16

enum sent_state { SENT_FREE = 0, SENT_AWAITED, SENT_ANSWERED, SENT_HAD };

struct sent_one {
        uint64_t
            serial; /* by which the answer is asked for: unlike the number, not even a child has it twice */
        uint64_t number; /* on the wire */
        uint32_t status; /* answered */
        uint16_t op;
        uint16_t state;
};

struct sent {
        unsigned awaited;
        struct sent_one one[SENT_MAX];
};

/* A free place, else that of an answer that was had, else that of the oldest, which then is lost to whoever asks;
 * NULL: all are awaited. */
struct sent_one *sent_room(struct sent *s);

/* q, with its number, goes out now. */
void sent_put(struct sent *s, struct sent_one *at, uint64_t serial, const struct pnr_request *q);

/* The one whose answer comes next; NULL: none is awaited. */
struct sent_one *sent_next(struct sent *s);

/* An answer has come.  false: it is not the one that is due, and nothing on this connection can be believed. */
bool sent_answer(struct sent *s, const struct pnr_reply *r, size_t size);

struct sent_one *sent_find(struct sent *s, uint64_t serial);

/* Its answer was asked for, and may be again for as long as its place is not needed. */
static inline void sent_have(struct sent_one *one) { one->state = SENT_HAD; }

/* All that are awaited will get no answer. */
void sent_lose(struct sent *s);

#endif
