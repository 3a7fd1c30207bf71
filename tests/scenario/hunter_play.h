/* hunter_play.h -- the hunter's players: writers, and readers that aim at what was just written.
 * They use libpinroute as its manual says and append what they saw; they judge nothing. */
#ifndef SCENARIO_HUNTER_PLAY_H
#define SCENARIO_HUNTER_PLAY_H

#include "hunter_board.h"
#include "hunter_pg.h"

#define HOT_KEYS  32 /* written again and again, on both hosts */
#define COLD_FROM 1000
#define MINE      8 /* keys that a writer remembers */

struct player {
        struct board *board;
        struct board_host *news; /* this host's */
        struct crew_at at;
        struct pg pg;
        uint64_t dice;
        uint32_t pin_ms, max_pin_ms;
        uint8_t host;
        bool sync, sync_now;
        int history; /* descriptor */
        uint32_t mine[MINE];
        unsigned written;
};

static volatile sig_atomic_t play_over;

/* Marsaglia's xorshift64: a seed replays a player's choices. */
static inline uint32_t dice(struct player *p, uint32_t below)
{
        p->dice ^= p->dice << 13;
        p->dice ^= p->dice >> 7;
        p->dice ^= p->dice << 17;
        return (uint32_t)((p->dice >> 16) % below);
}

static inline bool chance(struct player *p, uint32_t percent) { return dice(p, 100) < percent; }

/* A player that is killed loses nothing of what it has done. */
static inline void note(struct player *p, const struct hunt_event *e)
{
        struct hunt_event all = *e;
        all.host = p->host;
        CREW_MUST(write(p->history, &all, sizeof all) == (ssize_t)sizeof all);
}

static inline struct crew_key key_of(uint32_t key) { return crew_key("hunted", key); }

/* ---- reading ---- */

static inline void take_decision(struct player *p, struct hunt_event *e, const struct pinroute_decision *d)
{
        e->reason = (uint8_t)d->reason;
        e->role = (uint8_t)d->role;
        e->node = (int8_t)pg_find(&p->pg, d->node);
        e->value = HUNT_NOTHING;
        e->read_us = 0;
}

static inline void ask_node(struct hunt_event *e, uint32_t row, struct pg_node *n)
{
        char sql[80];
        snprintf(sql, sizeof sql, "select v from hunted where k = %u", row);
        e->value = pg_number(n, sql);
        e->read_us = crew_now_us();
}

static inline void decide(struct player *p, uint32_t key, struct hunt_event *e)
{
        struct crew_key k = key_of(key);
        struct pinroute_decision d;
        bool keyed = key != HUNT_NO_KEY;
        *e = (struct hunt_event){.op = keyed ? HUNT_READ : HUNT_UNKEYED, .key = key, .keyed = keyed};
        e->began_us = crew_now_us();
        e->status = (uint8_t)crew_read(&p->at, keyed ? &k : NULL, &d);
        e->ended_us = crew_now_us();
        take_decision(p, e, &d);
}

/* Connect first, decide after, read at once. */
static inline void read_key(struct player *p, uint32_t key)
{
        struct hunt_event e;
        bool fresh = true;
        for (int tries = 0; fresh && tries < 3; tries++) {
                decide(p, key, &e);
                struct pg_node *n = pg_open(&p->pg, e.node, &fresh);
                if (n && !fresh && key != HUNT_NO_KEY)
                        ask_node(&e, key, n);
                note(p, &e);
        }
}

/* Decisions alone: they follow so soon on what happened that no query could. */
static inline void glance(struct player *p, uint32_t key, unsigned times)
{
        struct hunt_event e;
        while (times--) {
                decide(p, key, &e);
                note(p, &e);
        }
}

static inline void read_scope(struct player *p, struct pinroute_scope *s, struct hunt_event *e)
{
        struct pinroute_decision d;
        bool fresh;
        if (!e->began_us) /* what a scope repeats was decided then */
                e->began_us = crew_now_us();
        e->status = (uint8_t)pinroute_scope_read(s, &d);
        e->ended_us = crew_now_us();
        take_decision(p, e, &d);
        struct pg_node *n = pg_open(&p->pg, e->node, &fresh);
        if (n && !fresh)
                ask_node(e, e->key, n);
        note(p, e);
}

/* A request that brings a token, from either host. */
static inline bool read_letter(struct player *p)
{
        struct board_letter l;
        struct pinroute_scope s;
        if (!board_letter(p->news, dice(p, 4), &l))
                return false;
        struct crew_key k = key_of(l.key);
        bool keyed = chance(p, 60);
        pinroute_scope_begin(&s, p->at.pr, p->at.cluster, keyed ? k.text : NULL, keyed ? k.len : 0);
        struct hunt_event e = {
            .op = HUNT_ACCEPT, .key = l.key, .token = l.token, .value = HUNT_NOTHING, .node = HUNT_NOTHING};
        e.began_us = crew_now_us();
        e.status = (uint8_t)pinroute_token_accept(p->at.pr, p->at.cluster, l.text, &s);
        e.ended_us = crew_now_us();
        note(p, &e);
        if (e.status != PINROUTE_OK)
                return true;
        e = (struct hunt_event){.op = HUNT_SCOPE, .key = l.key, .token = l.token, .keyed = keyed};
        read_scope(p, &s, &e);
        if (chance(p, 30))
                read_scope(p, &s, &e);
        pinroute_scope_end(&s);
        return true;
}

/* Of what was written: each order of age as often as another, from just now to a pin's time. */
static inline uint32_t aim(struct player *p)
{
        uint32_t key = chance(p, 30) ? board_failure(p->news, dice(p, BOARD_FAILED)) : HUNT_NO_KEY;
        if (key == HUNT_NO_KEY)
                key = board_news(p->news, dice(p, 2u << dice(p, 11)));
        return key == HUNT_NO_KEY ? dice(p, HOT_KEYS) : key;
}

static inline void reader(struct player *p)
{
        unsigned seen = 0;
        while (!play_over) {
                unsigned heard = board_wait(p->news, seen, 1000 + dice(p, 2000));
                uint32_t way = dice(p, 100);
                if (heard != seen && way >= 60)
                        read_key(p, board_news(p->news, 0));
                else if (way < 8)
                        read_key(p, HUNT_NO_KEY);
                else if (way >= 30 || !read_letter(p))
                        read_key(p, aim(p));
                seen = heard;
        }
}

/* ---- writing ---- */

static inline bool failed(int status)
{
        return status == PINROUTE_E_UNREACHABLE || status == PINROUTE_E_REFUSED;
}

static inline void hold(struct player *p, uint32_t key, uint32_t ms)
{
        struct crew_key k = key_of(key);
        ms = ms < p->max_pin_ms ? ms : p->max_pin_ms;
        struct hunt_event e = {
            .op = HUNT_HOLD, .key = key, .ms = ms, .value = HUNT_NOTHING, .node = HUNT_NOTHING};
        e.began_us = crew_now_us();
        e.status = (uint8_t)pinroute_hold(p->at.pr, p->at.cluster, k.text, k.len, ms);
        e.ended_us = crew_now_us();
        note(p, &e);
}

static inline struct hunt_event record(struct player *p, uint32_t key, int32_t value, unsigned seconds)
{
        struct crew_key k = key_of(key);
        uint32_t ms = seconds ? seconds * 1000 : p->pin_ms;
        struct hunt_event e = {.op = HUNT_RECORD, .key = key, .value = value, .node = HUNT_NOTHING};
        e.ms = ms < p->max_pin_ms ? ms : p->max_pin_ms;
        e.began_us = crew_now_us();
        e.status = (uint8_t)crew_record(&p->at, &k, seconds);
        e.ended_us = crew_now_us();
        uint32_t pid = e.status == PINROUTE_OK ? atomic_exchange(&p->board->wish.shoot[p->host], 0) : 0;
        if (pid)
                kill((pid_t)pid, SIGKILL);
        note(p, &e);
        board_tell(p->news, key);
        if (failed(e.status))
                board_failed(p->news, key);
        glance(p, key, pid ? 10 : 2);
        return e;
}

/* The version that this commit made of the key; HUNT_NOTHING: it failed, or nobody knows. */
static inline int32_t commit(struct player *p, uint32_t key)
{
        struct pinroute_decision d;
        bool fresh, sync = p->sync && !atomic_load(&p->board->wish.async);
        char sql[160];
        pinroute_route_write(p->at.pr, p->at.cluster, &d);
        struct pg_node *n = pg_open(&p->pg, pg_find(&p->pg, d.node), &fresh);
        if (!n)
                return HUNT_NOTHING;
        snprintf(sql, sizeof sql, "set synchronous_commit = %s", sync ? "local" : "off");
        if ((fresh || sync != p->sync_now) && pg_number(n, sql) < 0)
                return HUNT_NOTHING;
        p->sync_now = sync;
        snprintf(
            sql, sizeof sql,
            "insert into hunted values (%u, 1) on conflict (k) do update set v = hunted.v + 1 returning v",
            key);
        return n->conn ? pg_number(n, sql) : HUNT_NOTHING;
}

static inline void post(struct player *p, const struct hunt_event *of)
{
        struct crew_key k = key_of(of->key);
        char text[PINROUTE_TOKEN_SIZE];
        struct hunt_event e = {.op = HUNT_ISSUE, .key = of->key, .value = of->value, .node = HUNT_NOTHING};
        e.token = atomic_fetch_add(&p->board->tokens, 1);
        e.began_us = crew_now_us();
        int64_t gone_ms = (e.began_us - of->began_us) / 1000 + 1;
        e.ms = gone_ms < of->ms ? of->ms - (uint32_t)gone_ms : 0;
        e.status = (uint8_t)pinroute_token_issue(p->at.pr, p->at.cluster, k.text, k.len, text, sizeof text);
        e.ended_us = crew_now_us();
        note(p, &e);
        if (e.status == PINROUTE_OK)
                board_mail(&p->board->host[chance(p, 70) ? !p->host : p->host], e.token, e.key, text);
}

/* Half of those whose record failed stop telling the daemon anything for a while: what they owe stays owed. */
static inline void sulk(struct player *p, uint32_t key)
{
        int64_t until_us = crew_now_us() + 200000 + dice(p, 1500000);
        while (!play_over && crew_now_us() < until_us) {
                read_key(p, key);
                usleep(5000 + dice(p, 20000));
        }
}

static inline void flood(struct player *p)
{
        unsigned n = atomic_exchange(&p->board->wish.flood[p->host], 0);
        for (unsigned i = 0; i < n && !play_over; i++) {
                struct crew_key k = crew_key("flood", i);
                if (crew_record(&p->at, &k, 1) != PINROUTE_OK)
                        return;
        }
}

static inline void write_round(struct player *p)
{
        static const unsigned seconds[] = {0, 0, 0, 0, 0, 1, 1, 2, 3, 4};
        bool cold = chance(p, 30);
        uint32_t key = cold ? COLD_FROM + atomic_fetch_add(&p->board->cold, 1) : dice(p, HOT_KEYS);
        bool holds = chance(p, 12), short_too = chance(p, cold ? 40 : 5);
        if (holds)
                hold(p, key, 300 + dice(p, 1500));
        if (holds && short_too)
                hold(p, key, 1 + dice(p, 200));
        int32_t value = commit(p, key);
        if (value == HUNT_NOTHING)
                return;
        struct hunt_event e = record(p, key, value, seconds[dice(p, 10)]);
        if (short_too) /* what is repeated, or comes late, shortens nothing */
                record(p, key, value, 1);
        if (chance(p, 40))
                post(p, &e);
        p->mine[p->written++ % MINE] = key;
        uint32_t way = failed(e.status) ? dice(p, 100) : 100;
        if (way < 20)
                kill(getpid(), SIGKILL); /* nobody will send it again */
        if (way < 60)
                sulk(p, key);
}

static inline void writer(struct player *p)
{
        while (!play_over) {
                uint32_t pause_ms = atomic_load(&p->board->wish.pause_ms);
                if (!atomic_load(&p->board->wish.quiet))
                        write_round(p);
                if (atomic_load(&p->board->wish.flood[p->host]))
                        flood(p);
                if (p->written && chance(p, 50))
                        read_key(p, p->mine[dice(p, p->written < MINE ? p->written : MINE)]);
                usleep(500 + dice(p, pause_ms * 2000 + 1));
        }
}

#endif
