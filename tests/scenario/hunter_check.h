/* hunter_check.h -- the hunter's judge: the promise of libpinroute, rule by rule, held against a history.
 * Reads DIR/events-* and DIR/faults; believes the players' clocks and what the servers gave, nothing else.
 * No read is left out: one whose query came late, since its player was stopped in between, can only have seen more, for
 * a server that went back has broken the connection, and players decide again after they connect.
 *
 * A line of DIR/faults is one of these, times in us of CLOCK_MONOTONIC; hunter.py writes them.
 *   at TIME WHAT...                     for the story of a violation
 *   back HOST START READY               a daemon was started anew: its floor covers what failed before START
 *   empty HOST TIME                     in place of a store that was lost while no daemon ran: holds are gone
 *   excluded HOST NODE FROM UNTIL WHY.. no decision may name it as a replica
 *   silent HOST FROM UNTIL              no daemon for longer than stale_after: keyed reads go to the primary */
#ifndef SCENARIO_HUNTER_CHECK_H
#define SCENARIO_HUNTER_CHECK_H

#include <dirent.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "hunter_event.h"

#define CHECK_SLACK_US 150000 /* the daemon reads its clock once a turn, both read coarse ones */
#define STORIES        3      /* told in full */
#define STORY_US       3000000
#define STORY_LINES    60
#define OWED           256 /* of one process at a time */

enum { MIN_CAUGHT_UP = 20 };

struct history {
        int pid;
        const struct hunt_event *event;
        size_t n;
};

/* From then until then, reads of this host for this key see this version. */
struct claim {
        uint32_t key;
        uint8_t host;
        bool hold; /* and go to the primary, whatever the version */
        int32_t value;
        int64_t from_us, until_us;
};

struct excluded {
        unsigned host;
        int node;
        int64_t from_us, until_us;
};

struct back {
        unsigned host;
        int64_t start_us, ready_us;
};

struct fault {
        int64_t at_us;
        char text[120];
};

#define LIST(type)                                                                                           \
        struct {                                                                                             \
                type *at;                                                                                    \
                size_t n, room;                                                                              \
        }
/* The place of one more. */
#define MORE(list)                                                                                           \
        ((list).n == (list).room                                                                             \
             ? (void)((list).at = check_grow((list).at, sizeof *(list).at, &(list).room))                    \
             : (void)0,                                                                                      \
         &(list).at[(list).n++])

struct check {
        LIST(struct history) players;
        LIST(struct claim) claims; /* by host, key and time */
        LIST(struct excluded) excluded;
        LIST(struct excluded) silent;
        LIST(struct back) backs;
        LIST(struct back) empties;
        LIST(struct fault) faults;
        LIST(const struct hunt_event *) tokens; /* by number; NULL: nobody has noted it */
        int64_t longest_us;                     /* of all claims */
        uint64_t events, commits, recorded, unreachable, holds, accepted, asked, keyed, keyed_replica,
            unkeyed, unkeyed_replica, caught_up, reason[CREW_REASONS], violations;
};

static void *check_grow(void *at, size_t size, size_t *room)
{
        *room = *room ? *room * 2 : 64;
        at = realloc(at, *room * size);
        CREW_MUST(at);
        return at;
}

/* ---- reading it ---- */

static void check_load_one(struct check *c, const char *dir, const char *name)
{
        char path[PATH_MAX + 300];
        struct stat st;
        struct history *h = MORE(c->players);
        *h = (struct history){0};
        CREW_MUST(sscanf(name, "events-%*u-%d", &h->pid) == 1);
        snprintf(path, sizeof path, "%s/%s", dir, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CREW_MUST(fd >= 0 && fstat(fd, &st) == 0);
        h->n = (size_t)st.st_size / sizeof *h->event;
        if (h->n) {
                void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
                CREW_MUST(map != MAP_FAILED);
                h->event = map;
        }
        close(fd);
        c->events += h->n;
}

static void check_load_players(struct check *c, const char *dir)
{
        DIR *d = opendir(dir);
        CREW_MUST(d);
        for (struct dirent *e = readdir(d); e; e = readdir(d))
                if (strncmp(e->d_name, "events-", 7) == 0)
                        check_load_one(c, dir, e->d_name);
        closedir(d);
}

static void check_load_fault(struct check *c, const char *line)
{
        struct excluded x = {0};
        struct back b = {0};
        struct fault f = {0};
        long long from, until;
        if (sscanf(line, "at %lld %119[^\n]", &from, f.text) == 2) {
                f.at_us = from;
                *MORE(c->faults) = f;
        } else if (sscanf(line, "back %u %lld %lld", &b.host, &from, &until) == 3) {
                b.start_us = from;
                b.ready_us = until;
                *MORE(c->backs) = b;
        } else if (sscanf(line, "empty %u %lld", &b.host, &from) == 2) {
                b.start_us = from;
                *MORE(c->empties) = b;
        } else if (sscanf(line, "excluded %u %d %lld %lld", &x.host, &x.node, &from, &until) == 4) {
                x.from_us = from;
                x.until_us = until;
                *MORE(c->excluded) = x;
        } else if (sscanf(line, "silent %u %lld %lld", &x.host, &from, &until) == 3) {
                x.from_us = from;
                x.until_us = until;
                *MORE(c->silent) = x;
        } else {
                fprintf(stderr, "hunter: no such line in faults: %s", line);
                exit(2);
        }
}

static void check_load_faults(struct check *c, const char *dir)
{
        char path[PATH_MAX], line[256];
        snprintf(path, sizeof path, "%s/faults", dir);
        FILE *f = fopen(path, "re");
        CREW_MUST(f);
        while (fgets(line, sizeof line, f))
                check_load_fault(c, line);
        fclose(f);
}

/* ---- what was promised ---- */

static int64_t check_end(const struct hunt_event *e) { return e->began_us + e->ms * 1000ll - CHECK_SLACK_US; }

static bool check_failed(const struct hunt_event *e)
{
        return e->status == PINROUTE_E_UNREACHABLE || e->status == PINROUTE_E_REFUSED;
}

static void check_claim(struct check *c, const struct hunt_event *e, int64_t from_us)
{
        struct claim claim = {.key = e->key,
                              .host = e->host,
                              .hold = e->op == HUNT_HOLD,
                              .value = e->op == HUNT_HOLD ? 0 : e->value,
                              .from_us = from_us,
                              .until_us = check_end(e)};
        for (size_t i = 0; claim.hold && i < c->empties.n; i++)
                if (c->empties.at[i].host == e->host && c->empties.at[i].start_us > e->began_us &&
                    c->empties.at[i].start_us < claim.until_us)
                        claim.until_us = c->empties.at[i].start_us;
        if (claim.until_us <= claim.from_us)
                return;
        if (c->longest_us < claim.until_us - claim.from_us)
                c->longest_us = claim.until_us - claim.from_us;
        *MORE(c->claims) = claim;
}

/* A record that failed is owed by its process alone, until a daemon is started anew: its floor covers the write. */
static void check_claim_later(struct check *c, const struct hunt_event *e)
{
        for (size_t i = 0; i < c->backs.n; i++)
                if (c->backs.at[i].host == e->host && c->backs.at[i].start_us > e->ended_us) {
                        check_claim(c, e, c->backs.at[i].ready_us);
                        return;
                }
}

static void check_token(struct check *c, const struct hunt_event *e)
{
        while (c->tokens.n <= e->token)
                *MORE(c->tokens) = NULL;
        c->tokens.at[e->token] = e;
}

static void check_promise(struct check *c, const struct hunt_event *e)
{
        bool ok = e->status == PINROUTE_OK;
        c->accepted += e->op == HUNT_ACCEPT && ok;
        if (e->op == HUNT_ISSUE && ok)
                check_token(c, e);
        if (e->op != HUNT_RECORD && e->op != HUNT_HOLD)
                return;
        c->commits += e->op == HUNT_RECORD;
        c->recorded += e->op == HUNT_RECORD && ok;
        c->holds += e->op == HUNT_HOLD && ok;
        c->unreachable += check_failed(e);
        if (ok)
                check_claim(c, e, e->ended_us);
        else if (check_failed(e) && e->op == HUNT_RECORD)
                check_claim_later(c, e);
}

static int check_order(const void *left, const void *right)
{
        const struct claim *a = left, *b = right;
        if (a->host != b->host)
                return a->host < b->host ? -1 : 1;
        if (a->key != b->key)
                return a->key < b->key ? -1 : 1;
        return a->from_us < b->from_us ? -1 : a->from_us > b->from_us;
}

static int check_by_time(const void *left, const void *right)
{
        const struct back *a = left, *b = right;
        return a->start_us < b->start_us ? -1 : a->start_us > b->start_us;
}

/* What held for this key on this host from before `before` until after `after`. */
struct held {
        bool pinned, hold;
        int32_t value;
};

static struct held check_held(const struct check *c, unsigned host, uint32_t key, int64_t before_us,
                              int64_t after_us)
{
        struct claim want = {.key = key, .host = (uint8_t)host, .from_us = before_us};
        struct held held = {0};
        size_t lo = 0, hi = c->claims.n; /* at[lo-1] is before it, at[hi] is not */
        while (lo < hi) {
                size_t mid = (lo + hi) / 2;
                if (check_order(&c->claims.at[mid], &want) < 0)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        while (lo-- > 0) {
                const struct claim *claim = &c->claims.at[lo];
                if (claim->host != host || claim->key != key || claim->from_us < before_us - c->longest_us)
                        break;
                if (claim->until_us <= after_us)
                        continue;
                held.pinned = true;
                held.hold = held.hold || claim->hold;
                held.value = held.value > claim->value ? held.value : claim->value;
        }
        return held;
}

/* ---- the story of a violation ---- */

static void check_tell(int pid, const struct hunt_event *e, int64_t zero_us)
{
        printf("    %10.3f ms  +%.3f  pid %d host %u %-7s", (double)(e->began_us - zero_us) / 1e3,
               (double)(e->ended_us - e->began_us) / 1e3, pid, e->host,
               e->op < HUNT_OPS ? hunt_op_name[e->op] : "?");
        if (e->op == HUNT_READ || e->op == HUNT_SCOPE || e->op == HUNT_UNKEYED)
                printf(" %s%s node %d %s", e->keyed ? "keyed " : "", pinroute_reason_name(e->reason), e->node,
                       e->role == PINROUTE_REPLICA ? "replica" : "primary");
        else
                printf(" %s", pinroute_strerror(e->status));
        if (e->value != HUNT_NOTHING)
                printf(" value %d", e->value);
        if (e->read_us)
                printf(" at %.3f ms", (double)(e->read_us - zero_us) / 1e3);
        if (e->ms)
                printf(" for %u ms", e->ms);
        if (e->op == HUNT_ISSUE || e->op == HUNT_ACCEPT || e->op == HUNT_SCOPE)
                printf(" token %u", e->token);
        putchar('\n');
}

struct line {
        int64_t at_us;
        int pid;
        const struct hunt_event *event;
        const char *text;
};

static int check_line_order(const void *left, const void *right)
{
        const struct line *a = left, *b = right;
        return a->at_us < b->at_us ? -1 : a->at_us > b->at_us;
}

static void check_story(const struct check *c, const struct hunt_event *v)
{
        LIST(struct line) story = {0};
        for (size_t p = 0; p < c->players.n; p++)
                for (size_t i = 0; i < c->players.at[p].n; i++) {
                        const struct hunt_event *e = &c->players.at[p].event[i];
                        if (e->key == v->key && e->began_us > v->began_us - STORY_US &&
                            e->began_us <= v->ended_us)
                                *MORE(story) = (struct line){e->began_us, c->players.at[p].pid, e, NULL};
                }
        for (size_t i = 0; i < c->faults.n; i++)
                if (c->faults.at[i].at_us > v->began_us - STORY_US &&
                    c->faults.at[i].at_us < v->ended_us + STORY_US / 10)
                        *MORE(story) = (struct line){c->faults.at[i].at_us, 0, NULL, c->faults.at[i].text};
        qsort(story.at, story.n, sizeof *story.at, check_line_order);
        for (size_t i = story.n > STORY_LINES ? story.n - STORY_LINES : 0; i < story.n; i++)
                if (story.at[i].event)
                        check_tell(story.at[i].pid, story.at[i].event, v->began_us);
                else
                        printf("    %10.3f ms  FAULT %s\n", (double)(story.at[i].at_us - v->began_us) / 1e3,
                               story.at[i].text);
        free(story.at);
}

__attribute__((format(printf, 4, 5))) static void
check_violation(struct check *c, int pid, const struct hunt_event *e, const char *format, ...)
{
        va_list args;
        if (c->violations++ >= STORIES)
                return;
        va_start(args, format);
        printf("violation: ");
        vprintf(format, args);
        va_end(args);
        printf(", key %d, by pid %d at %lld us:\n", (int)e->key, pid, (long long)e->began_us);
        check_tell(pid, e, e->began_us);
        check_story(c, e);
}

/* ---- the rules ---- */

static bool check_unpinned(const struct hunt_event *e)
{
        return e->reason == PINROUTE_BALANCED || e->reason == PINROUTE_AFFINITY ||
               e->reason == PINROUTE_NO_REPLICA;
}

/* Rules 1 and 2, for a key: no stale read, no acknowledged pin or hold lost. */
static void check_keyed(struct check *c, int pid, const struct hunt_event *e)
{
        struct held held = check_held(c, e->host, e->key, e->began_us, e->ended_us);
        c->caught_up += held.pinned && e->role == PINROUTE_REPLICA && e->value != HUNT_NOTHING;
        if (held.pinned && e->value != HUNT_NOTHING && e->value < held.value)
                check_violation(c, pid, e, "stale read: %d, not %d, from node %d (%s)", e->value, held.value,
                                e->node, pinroute_reason_name(e->reason));
        else if (held.hold && e->role != PINROUTE_PRIMARY)
                check_violation(c, pid, e, "lost hold: node %d (%s)", e->node,
                                pinroute_reason_name(e->reason));
        else if (held.pinned && check_unpinned(e))
                check_violation(c, pid, e, "lost pin: %s", pinroute_reason_name(e->reason));
}

/* The same for a scope's token: it stands for its issuer's own write, and for what its host had acknowledged. */
static void check_scope(struct check *c, int pid, const struct hunt_event *e)
{
        const struct hunt_event *t = e->token < c->tokens.n ? c->tokens.at[e->token] : NULL;
        if (!t) /* its issuer was killed before it could note that */
                return;
        struct held held = check_held(c, t->host, t->key, t->began_us, e->ended_us);
        bool alive = check_end(t) > e->ended_us;
        int32_t value = alive && t->value > held.value ? t->value : held.value;
        if (e->value != HUNT_NOTHING && e->value < value)
                check_violation(c, pid, e, "stale read with token %u: %d, not %d, from node %d (%s)",
                                e->token, e->value, value, e->node, pinroute_reason_name(e->reason));
        else if (alive && check_unpinned(e))
                check_violation(c, pid, e, "token %u is not heeded: %s", e->token,
                                pinroute_reason_name(e->reason));
}

/* Rule 4. */
static void check_excluded(struct check *c, int pid, const struct hunt_event *e)
{
        for (size_t i = 0; e->role == PINROUTE_REPLICA && i < c->excluded.n; i++) {
                const struct excluded *x = &c->excluded.at[i];
                if (x->host == e->host && x->node == e->node && e->began_us > x->from_us &&
                    e->ended_us < x->until_us)
                        check_violation(c, pid, e, "node %d is excluded since %.3f ms", e->node,
                                        (double)(e->began_us - x->from_us) / 1e3);
        }
        for (size_t i = 0; e->keyed && e->role == PINROUTE_REPLICA && i < c->silent.n; i++) {
                const struct excluded *x = &c->silent.at[i];
                if (x->host == e->host && e->began_us > x->from_us && e->ended_us < x->until_us)
                        check_violation(c, pid, e,
                                        "a keyed read from replica %d in a store stale since %.3f ms",
                                        e->node, (double)(e->began_us - x->from_us) / 1e3);
        }
}

/* Rule 3: what this process owes.  Any answer of the daemon may have settled it: from then on a replica that has the
 * write will do. */
struct debts {
        struct {
                uint32_t key;
                int32_t value;
                int64_t until_us;
                bool settled, hold;
        } one[OWED];
        unsigned n;
};

static void check_owe(struct debts *d, const struct hunt_event *e)
{
        unsigned kept = 0;
        for (unsigned i = 0; i < d->n; i++)
                if (d->one[i].until_us > e->ended_us)
                        d->one[kept++] = d->one[i];
        d->n = kept;
        bool answered = e->op == HUNT_RECORD || e->op == HUNT_HOLD || e->op == HUNT_ACCEPT;
        for (unsigned i = 0; answered && e->status == PINROUTE_OK && i < d->n; i++)
                d->one[i].settled = true;
        if (check_failed(e) && d->n < OWED && (e->op == HUNT_RECORD || e->op == HUNT_HOLD)) {
                d->one[d->n].key = e->key;
                d->one[d->n].value = e->value;
                d->one[d->n].until_us = check_end(e);
                d->one[d->n].settled = false;
                d->one[d->n++].hold = e->op == HUNT_HOLD;
        }
}

static void check_owed(struct check *c, int pid, const struct debts *d, const struct hunt_event *e)
{
        for (unsigned i = 0; i < d->n; i++) {
                if (d->one[i].key != e->key || d->one[i].until_us <= e->ended_us)
                        continue;
                if (e->role != PINROUTE_PRIMARY && (d->one[i].hold || !d->one[i].settled))
                        check_violation(c, pid, e, "an unreachable daemon is not honoured: node %d (%s)",
                                        e->node, pinroute_reason_name(e->reason));
                else if (e->value != HUNT_NOTHING && e->value < d->one[i].value)
                        check_violation(
                            c, pid, e, "stale read of the process's own write: %d, not %d, from node %d (%s)",
                            e->value, d->one[i].value, e->node, pinroute_reason_name(e->reason));
                else if (check_unpinned(e))
                        check_violation(c, pid, e, "the process's own pin is lost: %s",
                                        pinroute_reason_name(e->reason));
        }
}

static void check_count(struct check *c, const struct hunt_event *e)
{
        bool replica = e->role == PINROUTE_REPLICA, keyed = e->op != HUNT_UNKEYED;
        c->asked += e->value != HUNT_NOTHING;
        c->reason[e->reason < CREW_REASONS ? e->reason : 0]++;
        c->keyed += keyed;
        c->keyed_replica += keyed && replica;
        c->unkeyed += !keyed;
        c->unkeyed_replica += !keyed && replica;
}

static void check_player(struct check *c, const struct history *h)
{
        struct debts debts = {.n = 0};
        for (size_t i = 0; i < h->n; i++) {
                const struct hunt_event *e = &h->event[i];
                bool decision = e->op == HUNT_READ || e->op == HUNT_UNKEYED || e->op == HUNT_SCOPE;
                if (!decision) {
                        check_owe(&debts, e);
                        continue;
                }
                check_count(c, e);
                check_excluded(c, h->pid, e);
                if (e->keyed)
                        check_keyed(c, h->pid, e);
                if (e->keyed)
                        check_owed(c, h->pid, &debts, e);
                if (e->op == HUNT_SCOPE)
                        check_scope(c, h->pid, e);
        }
}

static void check_print(const struct check *c)
{
        printf(
            "violations=%llu events=%llu players=%zu commits=%llu recorded=%llu unreachable=%llu holds=%llu "
            "tokens=%llu keyed=%llu unkeyed=%llu asked=%llu caught_up=%llu keyed_offload=%.4f "
            "unkeyed_offload=%.4f",
            (unsigned long long)c->violations, (unsigned long long)c->events, c->players.n,
            (unsigned long long)c->commits, (unsigned long long)c->recorded,
            (unsigned long long)c->unreachable, (unsigned long long)c->holds, (unsigned long long)c->accepted,
            (unsigned long long)c->keyed, (unsigned long long)c->unkeyed, (unsigned long long)c->asked,
            (unsigned long long)c->caught_up, c->keyed ? (double)c->keyed_replica / (double)c->keyed : 0,
            c->unkeyed ? (double)c->unkeyed_replica / (double)c->unkeyed : 0);
        crew_print_reasons(c->reason);
        putchar('\n');
}

/* Rule 5: a hunter that hardly ever reads a pinned key from a replica proves nothing. */
static bool check_offload(const struct check *c)
{
        if (c->caught_up >= MIN_CAUGHT_UP && c->caught_up * 100 >= c->keyed &&
            c->unkeyed_replica * 10 >= c->unkeyed)
                return true;
        printf("violation: too few reads went to replicas\n");
        return false;
}

static int check_all(const char *dir)
{
        struct check c = {0};
        check_load_players(&c, dir);
        check_load_faults(&c, dir);
        if (c.backs.n)
                qsort(c.backs.at, c.backs.n, sizeof *c.backs.at, check_by_time);
        for (size_t p = 0; p < c.players.n; p++)
                for (size_t i = 0; i < c.players.at[p].n; i++)
                        check_promise(&c, &c.players.at[p].event[i]);
        if (c.claims.n)
                qsort(c.claims.at, c.claims.n, sizeof *c.claims.at, check_order);
        for (size_t p = 0; p < c.players.n; p++)
                check_player(&c, &c.players.at[p]);
        bool offloads = check_offload(&c);
        check_print(&c);
        return c.violations || !offloads;
}

#endif
