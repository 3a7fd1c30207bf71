/* hunter_board.h -- what players tell each other: fresh news of keys, tokens in the mail, what hunter.py asks for.
 * It aims the readers, no more: nothing here is evidence. */
#ifndef SCENARIO_HUNTER_BOARD_H
#define SCENARIO_HUNTER_BOARD_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "hunter_event.h"

#define BOARD_NEWS   4096 /* a power of two */
#define BOARD_MAIL   64
#define BOARD_FAILED 16
#define BOARD_OLD_US 3000000

struct board_news {
        _Atomic uint32_t key;
        _Atomic int64_t at_us;
};

struct board_letter {
        atomic_uint version; /* odd: being written */
        uint32_t token, key;
        char text[PINROUTE_TOKEN_SIZE];
};

struct board_host {
        atomic_uint heard; /* futex: how much news there was */
        struct board_news news[BOARD_NEWS];
        atomic_uint failures;
        struct board_news
            failed[BOARD_FAILED]; /* keys whose record failed: nobody but a restart's floor covers them */
        atomic_uint mailed;
        struct board_letter mail[BOARD_MAIL];
};

/* hunter.py writes the wishes, by their offsets: all of them 32-bit words from the start on. */
struct board {
        struct {
                atomic_uint async;    /* all commits are asynchronous; 0: half the players' */
                atomic_uint pause_ms; /* of a writer between two rounds, on average */
                atomic_uint quiet;    /* nobody writes */
                atomic_uint
                    flood[HUNT_HOSTS]; /* records of keys that nobody reads, up to this many, by one writer */
                atomic_uint shoot[HUNT_HOSTS]; /* the pid that dies right after the next OK of this host */
        } wish;
        atomic_uint tokens; /* numbers given out */
        atomic_uint cold;   /* keys given out */
        struct board_host host[HUNT_HOSTS];
};

static inline void board_tell(struct board_host *h, uint32_t key)
{
        unsigned at = atomic_fetch_add(&h->heard, 1) % BOARD_NEWS;
        atomic_store(&h->news[at].key, key);
        atomic_store(&h->news[at].at_us, crew_now_us());
        syscall(SYS_futex, &h->heard, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Waits until there is more news than `seen`, `us` at most; returns how much there is. */
static inline unsigned board_wait(struct board_host *h, unsigned seen, long us)
{
        struct timespec t = {.tv_nsec = us * 1000};
        if (atomic_load(&h->heard) == seen)
                syscall(SYS_futex, &h->heard, FUTEX_WAIT, seen, &t, NULL, 0);
        return atomic_load(&h->heard);
}

/* The news that is `back` older than the newest; HUNT_NO_KEY: there was none. */
static inline uint32_t board_news(struct board_host *h, unsigned back)
{
        unsigned heard = atomic_load(&h->heard);
        return back < heard && back < BOARD_NEWS ? atomic_load(&h->news[(heard - 1 - back) % BOARD_NEWS].key)
                                                 : HUNT_NO_KEY;
}

static inline void board_failed(struct board_host *h, uint32_t key)
{
        unsigned at = atomic_fetch_add(&h->failures, 1) % BOARD_FAILED;
        atomic_store(&h->failed[at].key, key);
        atomic_store(&h->failed[at].at_us, crew_now_us());
}

/* HUNT_NO_KEY: none failed of late. */
static inline uint32_t board_failure(struct board_host *h, unsigned at)
{
        int64_t at_us = atomic_load(&h->failed[at % BOARD_FAILED].at_us);
        return crew_now_us() - at_us < BOARD_OLD_US ? atomic_load(&h->failed[at % BOARD_FAILED].key)
                                                    : HUNT_NO_KEY;
}

static inline void board_mail(struct board_host *h, uint32_t token, uint32_t key, const char *text)
{
        struct board_letter *l = &h->mail[atomic_fetch_add(&h->mailed, 1) % BOARD_MAIL];
        atomic_fetch_add(&l->version, 1);
        l->token = token;
        l->key = key;
        memcpy(l->text, text, sizeof l->text);
        atomic_fetch_add(&l->version, 1);
}

/* Another writer's half-written letter is no letter; a writer that was killed in the middle spoils it for good. */
static inline bool board_letter(struct board_host *h, unsigned back, struct board_letter *ret)
{
        unsigned mailed = atomic_load(&h->mailed);
        if (back >= mailed || back >= BOARD_MAIL)
                return false;
        struct board_letter *l = &h->mail[(mailed - 1 - back) % BOARD_MAIL];
        unsigned version = atomic_load(&l->version);
        ret->token = l->token;
        ret->key = l->key;
        memcpy(ret->text, l->text, sizeof ret->text);
        atomic_thread_fence(memory_order_acquire);
        return version % 2 == 0 && atomic_load(&l->version) == version;
}

#endif
