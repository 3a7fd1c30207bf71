/* fuzz_result.c -- whatever a prober that was taken over may send, through the parent's socket, into two clusters:
 * libFuzzer.  The prober is a socket pair here: posix_spawn() is handed to us by the linker.
 * What is out of place changes nothing, and no replica ends a pin without an answer that allows it. */
#include <errno.h>
#include <event2/event.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/child.h"
#include "daemon/clock.h"
#include "tests/unit/cluster_play.h"

#define CLUSTERS 2
#define STEPS    96
#define NOBODY   0x7ffffff0 /* no pid is that high */

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                       const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);

static struct event_base *base;
static struct child child;
static int prober = -1; /* its end */
static struct cluster cluster[CLUSTERS];
static struct cluster_conf conf[CLUSTERS];
static struct mono now;
static unsigned lost;

/* What was asked of a node last, and what its last answer to that said. */
static struct node_told {
        uint64_t number;
        bool has_answer;
        uint64_t position, asked; /* asked: see `questions` */
        uint32_t timeline;
        uint64_t system;
} told[CLUSTERS][PNR_NODES_MAX];

/* The newest generation pinned, and the lowest position that the primary gave in an answer to a question that was
 * asked after it. */
static struct pinned {
        uint64_t generation, questions, lowest;
        bool any_position; /* of another history since */
} pinned[CLUSTERS];

static uint64_t questions;

/* ---- the prober's place ---- */

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
        (void)path, (void)files, (void)attr, (void)argv, (void)envp;
        *pid = NOBODY;
        return 0;
}

/* The child's socket becomes one end of a pair whose other end is ours. */
static void start_prober(void)
{
        int pair[2];
        child.start_due = now;
        child_turn(&child, now);
        MUST_BE(child.pid == NOBODY);
        MUST_BE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        event_del(child.readable);
        MUST_BE(dup2(pair[0], child.fd) == child.fd);
        event_add(child.readable, NULL);
        close(pair[0]);
        if (prober >= 0)
                close(prober);
        prober = pair[1];
}

/* Takes the orders that have come: what is asked, is asked of nodes that there are. */
static void take_orders(void)
{
        struct prober_order o;
        while (recv(prober, &o, sizeof o, MSG_DONTWAIT) == (ssize_t)sizeof o) {
                MUST_BE(o.node < CLUSTERS * PNR_NODES_MAX);
                MUST_BE(o.kind >= PROBER_NODE_SET && o.kind <= PROBER_CHECK);
        }
}

/* ---- hooks and questions ---- */

static void on_ask(void *arg, unsigned number, unsigned slot, uint64_t check, uint32_t timeout_ms)
{
        (void)arg;
        told[number][slot].number = check;
        told[number][slot].asked = ++questions;
        child_check(&child, number * PNR_NODES_MAX + slot, check, timeout_ms, now);
}

static const char *conninfo(void *arg, unsigned node)
{
        (void)arg;
        return node < CLUSTERS * PNR_NODES_MAX
                   ? cluster[node / PNR_NODES_MAX].node[node % PNR_NODES_MAX].conf.conninfo
                   : NULL;
}

static bool cleartext(void *arg, unsigned node)
{
        (void)arg, (void)node;
        return false;
}

static void on_lost(void *arg)
{
        (void)arg;
        lost++;
        for (unsigned i = 0; i < CLUSTERS; i++)
                cluster_lost_prober(&cluster[i], now);
        memset(told, 0, sizeof told);
}

static void note_answer(unsigned i, unsigned slot, const struct prober_result *r)
{
        struct node_told *t = &told[i][slot];
        t->has_answer = r->kind == PROBER_ANSWER;
        t->position = r->position.bytes;
        t->timeline = r->timeline;
        t->system = r->system_identifier;
        struct pinned *p = &pinned[i];
        if (slot == cluster[i].primary && t->has_answer && t->asked > p->questions && t->position < p->lowest)
                p->lowest = t->position;
}

static bool same_record(const struct pnr_cluster *a, const struct pnr_cluster *b)
{
        return memcmp(a, b, sizeof *a) == 0;
}

/* As main.c hands it on. */
static void on_result(void *arg, const struct prober_result *r)
{
        (void)arg;
        struct pnr_cluster before, after;
        unsigned i = r->node / PNR_NODES_MAX, slot = r->node % PNR_NODES_MAX;
        MUST_BE(r->node < PROBER_NODES_MAX && memchr(r->text, '\0', sizeof r->text));
        if (i >= CLUSTERS)
                return;
        bool there = cluster[i].node[slot].conf.name[0];
        uint64_t asked = cluster[i].node[slot].asked;
        bool in_place = there && r->kind != PROBER_BROKEN && asked && r->number == asked;
        MUST_BE(!asked || asked == told[i][slot].number);
        cluster_publish(&cluster[i], &before);
        if (in_place)
                note_answer(i, slot, r);
        cluster_result(&cluster[i], slot, r, now);
        cluster_publish(&cluster[i], &after);
        if (after.primary != before.primary || after.timeline != before.timeline ||
            after.system_identifier != before.system_identifier)
                pinned[i].any_position = true;
        if (!in_place && !(there && r->kind == PROBER_BROKEN))
                MUST_BE(same_record(&before, &after));
        if (there && r->kind == PROBER_BROKEN)
                MUST_BE(after.node[slot].caught_up == 0);
}

/* ---- what must hold ---- */

static void check_node(unsigned i, const struct pnr_cluster *c, unsigned slot)
{
        const struct node_told *t = &told[i][slot];
        bool there = cluster[i].node[slot].conf.name[0];
        MUST_BE(c->node[slot].caught_up <= c->open_generation);
        MUST_BE(!(c->scheduled >> slot & 1) || (there && slot != c->primary));
        if (!c->node[slot].caught_up)
                return;
        MUST_BE(there && t->has_answer && slot != c->primary);
        MUST_BE(t->system == cluster[i].system_identifier && t->timeline == cluster[i].timeline &&
                t->timeline);
        if (c->node[slot].caught_up >= pinned[i].generation && !pinned[i].any_position)
                MUST_BE(t->position >= pinned[i].lowest);
}

static void check_all(void)
{
        for (unsigned i = 0; i < CLUSTERS; i++) {
                struct pnr_cluster c;
                cluster_publish(&cluster[i], &c);
                uint32_t placed = 0;
                MUST_BE(c.n_schedule <= PNR_SCHEDULE_MAX && c.n_nodes <= PNR_NODES_MAX);
                for (unsigned k = 0; k < c.n_schedule; k++) {
                        MUST_BE(c.schedule[k] < PNR_NODES_MAX);
                        placed |= 1u << c.schedule[k];
                }
                MUST_BE(placed == c.scheduled);
                MUST_BE(c.primary == PNR_NO_NODE || (c.primary < PNR_NODES_MAX && c.node[c.primary].name[0]));
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                        check_node(i, &c, slot);
                MUST_BE(rhythm_next_due(&cluster[i], now).ms <= now.ms + 1000);
        }
}

/* ---- what happens ---- */

/* A frame that a server might have caused, and strokes. */
static struct prober_result take_result(struct input *in)
{
        unsigned i = take_below(in, CLUSTERS), slot = take_below(in, 5);
        struct prober_result r = {.kind = 1 + take_below(in, 3),
                                  .node = i * PNR_NODES_MAX + slot,
                                  .number = told[i][slot].number,
                                  .system_identifier = PLAY_SYSTEM,
                                  .position = {1000 + 10 * (uint64_t)take_below(in, 64)},
                                  .timeline = 1,
                                  .in_recovery = slot > 0};
        switch (take(in)) {
        case 't': r.timeline = (uint32_t)take_number(in); break;
        case 's': r.system_identifier = take_number(in); break;
        case 'p': r.position.bytes = take_number(in); break;
        case 'n': r.number += take_number(in); break;
        case 'r': r.in_recovery = take(in); break;
        case 'c': r.connected = take(in); break;
        case 'o': r.node = (uint32_t)take_number(in); break;
        case 'k': r.kind = (uint32_t)take_number(in); break;
        case 'x': memset(r.text, take(in), sizeof r.text); break;
        case '~': take_strokes(in, &r, sizeof r); break;
        }
        return r;
}

static void hear(void)
{
        event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        if (!child.pid)
                start_prober();
}

static void on_frame(struct input *in)
{
        struct prober_result r = take_result(in);
        unsigned before = lost;
        bool sound = r.node < PROBER_NODES_MAX;
        (void)!send(prober, &r, sizeof r, MSG_NOSIGNAL | MSG_DONTWAIT);
        hear();
        MUST_BE((lost == before) == sound);
}

/* Any other length is the end of this prober. */
static void on_bytes(struct input *in)
{
        uint8_t bytes[2 * sizeof(struct prober_result)], n = take(in);
        unsigned before = lost;
        take_bytes(in, bytes, sizeof bytes);
        (void)!send(prober, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        hear();
        MUST_BE(n == sizeof(struct prober_result) || lost == before + 1);
}

static void on_turn(int64_t ms)
{
        now.ms += ms;
        for (unsigned i = 0; i < CLUSTERS; i++)
                cluster_turn(&cluster[i], now, on_ask, NULL);
        take_orders();
}

static void on_pin(struct input *in)
{
        unsigned i = take_below(in, CLUSTERS);
        uint64_t generation = cluster_pin(&cluster[i], now, 15000);
        MUST_BE(generation >= pinned[i].generation);
        pinned[i] = (struct pinned){generation, questions, UINT64_MAX, false};
}

static void step(struct input *in)
{
        unsigned i;
        switch (take(in)) {
        case 'f': on_frame(in); break;
        case 'b': on_bytes(in); break;
        case '.': on_turn(10); break;
        case '+': on_turn((int64_t)(take_number(in) % 100000)); break;
        case 'p': on_pin(in); break;
        case 'e':
                close(prober);
                prober = -1;
                hear();
                break;
        case 'a':
                i = take_below(in, CLUSTERS);
                cluster_set_admin(&cluster[i], 1, (enum node_admin)take_below(in, 3), now);
                break;
        case 'y': /* nothing is known of before: as after a stop of the daemon */
                i = take_below(in, CLUSTERS);
                cluster_stood_still(&cluster[i], now, "stood still");
                memset(told[i], 0, sizeof told[i]);
                break;
        default: return;
        }
        check_all();
}

/* Everybody answers as he should, until all are up. */
static void bring_up(void)
{
        for (unsigned round = 0; round < 8; round++) {
                on_turn(500);
                for (unsigned i = 0; i < CLUSTERS; i++)
                        for (unsigned slot = 0; slot < conf[i].n_nodes; slot++) {
                                struct prober_result r = {.kind = PROBER_ANSWER,
                                                          .number = told[i][slot].number,
                                                          .node = i * PNR_NODES_MAX + slot,
                                                          .system_identifier = PLAY_SYSTEM,
                                                          .position = {1000},
                                                          .timeline = 1,
                                                          .in_recovery = slot > 0};
                                if (r.number)
                                        on_result(NULL, &r);
                        }
        }
        MUST_BE(cluster[0].n_schedule > 0 && cluster[1].n_schedule > 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        MUST_BE(strcmp((*argv)[0], "pinrouted: prober") != 0); /* the linker did not hand us posix_spawn() */
        log_init("fuzz");
        log_set_level(0);
        base = event_base_new();
        conf[0] = play_conf("main", 3);
        conf[1] = play_conf("other", 1);
        conf[1].follow_promotion = 1;
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = input_of(data, size);
        struct child_hooks hooks = {
            .result = on_result, .lost = on_lost, .conninfo = conninfo, .cleartext = cleartext};
        now.ms = 1000000;
        questions = 0;
        memset(told, 0, sizeof told);
        memset(pinned, 0, sizeof pinned);
        child_init(&child, base, &hooks);
        for (unsigned i = 0; i < CLUSTERS; i++)
                cluster_init(&cluster[i], &conf[i], i, now);
        start_prober();
        bring_up();
        for (unsigned i = 0; i < STEPS && input_left(&in); i++)
                step(&in);
        child_fini(&child);
        return 0;
}
