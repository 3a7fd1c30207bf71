/* fuzz.h -- what the fuzzers share: an input that is taken apart, and what must hold.
 * Most inputs are scripts: a letter for what happens, then its arguments, so that seeds can be written by hand. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST_BE(what)                                                                                        \
        do {                                                                                                 \
                if (!(what)) {                                                                               \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                           \
                        abort();                                                                             \
                }                                                                                            \
        } while (0)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
        const uint8_t *at, *end;
};

static inline struct input input_of(const uint8_t *data, size_t size)
{
        return (struct input){data, data + size};
}

static inline size_t input_left(const struct input *in) { return (size_t)(in->end - in->at); }

/* 0 where there is no more. */
static inline uint8_t take(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

/* A byte below `n`: '0' is 0, '1' is 1. */
static inline unsigned take_below(struct input *in, unsigned n)
{
        return (unsigned)(uint8_t)(take(in) - '0') % n;
}

static inline void take_bytes(struct input *in, void *to, size_t n)
{
        size_t some = n < input_left(in) ? n : input_left(in);
        memset(to, 0, n);
        memcpy(to, in->at, some);
        in->at += some;
}

/* A letter for a number that is worth a try, or '#' and eight bytes for any. */
static inline uint64_t take_number(struct input *in)
{
        static const uint64_t worth[] = {0,
                                         1,
                                         2,
                                         3,
                                         9,
                                         10,
                                         50,
                                         100,
                                         249,
                                         250,
                                         999,
                                         1000,
                                         5000,
                                         15000,
                                         59999,
                                         60000,
                                         60001,
                                         300000,
                                         300001,
                                         86400000,
                                         INT32_MAX,
                                         UINT32_MAX,
                                         1ull << 32,
                                         1ull << 40,
                                         1ull << 50,
                                         1ull << 62,
                                         INT64_MAX,
                                         1ull << 63,
                                         UINT64_MAX - 1,
                                         UINT64_MAX};
        uint8_t c = take(in);
        uint64_t number;
        if (c != '#')
                return worth[(unsigned)(uint8_t)(c - 'a') % (sizeof worth / sizeof *worth)];
        take_bytes(in, &number, sizeof number);
        return number;
}

/* A count of strokes, then pairs: where, and what to.  Returns how many. */
static inline unsigned take_strokes(struct input *in, void *bytes, size_t size)
{
        unsigned n = take_below(in, 5);
        for (unsigned i = 0; i < n; i++) {
                uint8_t at = take(in);
                ((uint8_t *)bytes)[at % size] = take(in);
        }
        return n;
}

#endif
