/* fuzz_token.c -- what comes back from browsers, under the parser and the judge: libFuzzer, ASan and UBSan.
 * An input is a text, or fields that are signed here, whose text may then be struck; each answer is checked
 * against a second opinion. */
#include <errno.h>

#include "proto/token.h"
#include "tests/fuzz/fuzz.h"

static const struct pnr_token_keys keys = {.n = 2, .key = {{1, 2, 3}, {4, 5, 6}}};

/* How an input begins that is not just a text. */
struct fields {
        uint64_t cluster, key[2], stamp;
        int64_t issued_ms;
        uint32_t left_ms;
        int64_t wall_ms;
        uint64_t asked_cluster;
        uint32_t max_pin_ms;
} __attribute__((packed));

static bool same(const struct pnr_token *a, const struct pnr_token *b)
{
        return a->cluster == b->cluster && a->key.w[0] == b->key.w[0] && a->key.w[1] == b->key.w[1] &&
               a->stamp == b->stamp && a->issued_ms == b->issued_ms && a->left_ms == b->left_ms;
}

/* The same bytes on the heap, none behind them: who reads on is seen. */
static bool read_alone(const char *text, size_t len, struct pnr_token *ret)
{
        char *alone = malloc(len ? len : 1);
        MUST_BE(alone);
        memcpy(alone, text, len);
        memset(ret, 0xff, sizeof *ret);
        errno = 77;
        bool good = pnr_token_read(alone, len, &keys, ret);
        MUST_BE(errno == 77);
        free(alone);
        return good;
}

/* Whatever was read is what one of the keys signs as this very text. */
static void check_read(const char *text, size_t len)
{
        static const struct pnr_token zeros;
        struct pnr_token t;
        if (!read_alone(text, len, &t)) {
                MUST_BE(same(&t, &zeros));
                return;
        }
        bool found = false;
        for (uint32_t i = 0; i < keys.n; i++) {
                struct pnr_token_keys one = {.n = 1};
                char again[PNR_TOKEN_CHARS + 1];
                memcpy(one.key[0], keys.key[i], sizeof one.key[0]);
                pnr_token_sign(&t, &one, again);
                found |= len == PNR_TOKEN_CHARS && memcmp(again, text, len) == 0;
        }
        MUST_BE(found && t.stamp != 0);
}

/* The verdict in numbers that do not overflow. */
static void check_judge(const struct pnr_token *t, const struct fields *f)
{
        uint32_t left_ms = 77;
        enum pnr_token_verdict v = pnr_token_judge(t, f->asked_cluster, f->wall_ms, f->max_pin_ms, &left_ms);
        __int128 issued_ms = t->issued_ms, deadline_ms = issued_ms + t->left_ms, wall_ms = f->wall_ms;
        __int128 ahead_ms = wall_ms + PNR_TOKEN_AHEAD_MS + PNR_TOKEN_SLACK_MS;
        __int128 here_ms = deadline_ms + PNR_TOKEN_SLACK_MS - wall_ms;
        MUST_BE(v == PNR_TOKEN_GOOD ? left_ms > 0 && left_ms <= t->left_ms && left_ms <= f->max_pin_ms
                                    : left_ms == 0);
        MUST_BE((v == PNR_TOKEN_FOREIGN) == (t->cluster != f->asked_cluster));
        if (ahead_ms > INT64_MAX || deadline_ms + PNR_TOKEN_SLACK_MS > INT64_MAX)
                return; /* in the year 292 million sums are cut */
        switch (v) {
        case PNR_TOKEN_FOREIGN: break;
        case PNR_TOKEN_FORGED: MUST_BE(deadline_ms > ahead_ms); break;
        case PNR_TOKEN_EXPIRED: MUST_BE(here_ms <= 0 || t->left_ms == 0 || f->max_pin_ms == 0); break;
        case PNR_TOKEN_GOOD:
                MUST_BE(deadline_ms <= ahead_ms && left_ms <= here_ms);
                MUST_BE(left_ms == t->left_ms || left_ms == f->max_pin_ms || left_ms == here_ms);
                break;
        }
}

/* Pairs of bytes: which character becomes which. */
static void strike(char text[PNR_TOKEN_CHARS], const uint8_t *data, size_t size)
{
        for (size_t i = 0; i + 1 < size; i += 2)
                text[data[i] % PNR_TOKEN_CHARS] = (char)data[i + 1];
}

static void check_signed(const struct fields *f, const uint8_t *strokes, size_t n)
{
        struct pnr_token t = {.cluster = f->cluster,
                              .key = {{f->key[0], f->key[1]}},
                              .stamp = f->stamp,
                              .issued_ms = f->issued_ms,
                              .left_ms = f->left_ms};
        struct pnr_token got;
        char text[PNR_TOKEN_CHARS + 1], struck[PNR_TOKEN_CHARS];
        pnr_token_sign(&t, &keys, text);
        MUST_BE(read_alone(text, PNR_TOKEN_CHARS, &got) == (t.stamp != 0));
        if (t.stamp != 0)
                MUST_BE(same(&got, &t));
        check_judge(&t, f);
        memcpy(struck, text, sizeof struck);
        strike(struck, strokes, n);
        if (memcmp(struck, text, sizeof struck) != 0)
                MUST_BE(!read_alone(struck, sizeof struck, &got));
        check_read(struck, sizeof struck);
        check_read(text, n % (PNR_TOKEN_CHARS + 1));
}

/* Near one another, since dates that a fuzzer draws are seldom so. */
static void draw_near(struct fields *f, uint8_t how)
{
        if (how & 2)
                f->issued_ms = (int64_t)((uint64_t)f->wall_ms + (uint64_t)(f->issued_ms % 200000000));
        if (how & 4)
                f->left_ms %= 400000;
        if (how & 8)
                f->cluster = f->asked_cluster;
}

/* First byte: a text as it is, or fields and strokes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct fields f;
        if (size == 0 || data[0] % 2 == 0 || size - 1 < sizeof f) {
                check_read((const char *)data + (size > 0), size - (size > 0));
                return 0;
        }
        memcpy(&f, data + 1, sizeof f);
        draw_near(&f, data[0]);
        check_signed(&f, data + 1 + sizeof f, size - 1 - sizeof f);
        return 0;
}
