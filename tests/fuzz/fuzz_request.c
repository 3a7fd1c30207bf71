/* fuzz_request.c -- frames of workers, time, restarts and lost stores, in a core with a real store: libFuzzer.
 * What was acknowledged is remembered beside it: no pin is ever shorter, no generation lower, no reader of the
 * store is sent where a write may be missing. */
#include "tests/unit/core_play.h"

#define CLUSTERS 3
#define KEYS     8
#define BATCH    6
#define PROMISES 8 /* beyond these, the one that ends first is forgotten */
#define STEPS    64
#define COSTLY   3      /* restarts, new stores: of one input, at most */
#define MAX_PINS 20     /* less than all keys of all clusters: the table gets full */
#define APART_MS 400000 /* between two inputs: longer than any pin */

static const char *const cluster_name[CLUSTERS + 1] = {"main", "other", "third", "nobody"};

/* Writes that were acknowledged for a key, each with its own end. */
static struct promise {
        uint64_t generation; /* 0: it became a floor */
        int64_t until_ms;
        bool hold, in_table;
} promised[CLUSTERS][KEYS][PROMISES];

static struct view *view;
static unsigned costly;

/* ---- what must hold ---- */

/* A second opinion on what a sound frame is: one that equals what is written anew from its fields. */
static bool is_sound(const struct pnr_records *f, size_t size)
{
        const struct pnr_request *q = &f->head;
        struct pnr_request again = {.magic = PNR_WIRE_MAGIC, .version = 1, .op = q->op, .number = q->number};
        if (size != (q->op == PNR_OP_RECORDS ? 1152 : 128))
                return false;
        if (q->op == PNR_OP_HELLO || q->op == PNR_OP_COUNTS)
                return memcmp(&again, q, sizeof again) == 0;
        for (unsigned i = 0; q->op == PNR_OP_RECORDS && i < 64; i++)
                if (i >= q->n && (f->key[i][0] || f->key[i][1]))
                        return false;
        again.n = q->op == PNR_OP_RECORDS && q->n <= 64 ? q->n : 0;
        for (unsigned i = 0; i < PNR_NAME_SIZE - 1 && q->cluster[i]; i++) {
                char c = again.cluster[i] = q->cluster[i];
                if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", c))
                        return false;
        }
        if (q->op != PNR_OP_RECORDS)
                memcpy(again.key, q->key, sizeof again.key);
        again.ms = q->ms;
        if (q->op == PNR_OP_TOKEN)
                again.stamp = q->stamp;
        return q->op >= 1 && q->op <= 5 && (q->op == 5) == (again.n > 0) && q->cluster[0] &&
               memcmp(&again, q, sizeof again) == 0;
}

static int cluster_of(const struct pnr_request *q)
{
        for (int i = 0; i < CLUSTERS; i++)
                if (!strcmp(cluster_name[i], q->cluster))
                        return i;
        return -1;
}

static void check_reply(const struct core_item *it)
{
        const struct pnr_request *q = &it->request;
        const struct pnr_reply *r = &it->reply;
        MUST_BE(pnr_reply_valid(r, sizeof *r, q));
        MUST_BE(r->records_max == (q->op == PNR_OP_HELLO ? 64 : 0));
        MUST_BE(!r->features && r->epoch == core.epoch && r->now_ms == core_now.ms);
        bool known = q->op == PNR_OP_HELLO || q->op == PNR_OP_COUNTS || core_find_cluster(&core, q->cluster);
        bool whole = q->op == PNR_OP_HELLO || q->op == PNR_OP_COUNTS ||
                     ((q->op == PNR_OP_RECORD || q->op == PNR_OP_RECORDS || q->ms) &&
                      (q->op != PNR_OP_TOKEN || q->stamp));
        MUST_BE(r->status == (!known ? PINROUTE_E_CLUSTER : !whole ? PINROUTE_E_INVALID : PINROUTE_OK));
}

static void remember_key(const struct core_item *it, const uint64_t key[2])
{
        const struct pnr_request *q = &it->request;
        int c = cluster_of(q);
        if (c < 0 || key[0] >= KEYS || key[1] != ~key[0])
                return;
        int64_t ms = q->ms ? q->ms : 15000;
        struct promise *p = promised[c][key[0]], *first = p;
        for (struct promise *other = p; other < p + PROMISES; other++) {
                MUST_BE(it->reply.generation == 0 || it->reply.generation >= other->generation);
                first = other->until_ms < first->until_ms ? other : first;
        }
        *first = (struct promise){.generation = it->reply.generation,
                                  .until_ms = core_now.ms + (ms < 300000 ? ms : 300000),
                                  .hold = q->op == PNR_OP_HOLD,
                                  .in_table = it->reply.generation != 0};
}

static void remember(const struct core_item *it)
{
        const struct pnr_request *q = &it->request;
        if (q->op == PNR_OP_HELLO || q->op == PNR_OP_COUNTS || it->reply.status != PINROUTE_OK || it->covered)
                return;
        for (unsigned i = 0; i < (q->op == PNR_OP_RECORDS ? q->n : 1); i++)
                remember_key(it, q->op == PNR_OP_RECORDS ? it->keys[i] : q->key);
}

/* As a stub decides a read of this key: none of the nodes that it may go to lacks the write. */
static void check_read(const struct promise *p, const struct facts *f)
{
        struct choice choice = choose(f);
        MUST_BE(choice.reason != PINROUTE_BALANCED && choice.reason != PINROUTE_NO_REPLICA);
        MUST_BE(choice.pool == 0 || !p->hold);
        for (unsigned n = 0; n < PNR_NODES_MAX; n++)
                if (choice.pool >> n & 1)
                        MUST_BE(f->cluster->node[n].caught_up >= p->generation &&
                                f->cluster->node[n].caught_up <= f->cluster->open_generation);
}

static void check_pin(const struct promise *p, const struct pin *pin)
{
        MUST_BE(pin->until_ms >= p->until_ms && pin->generation >= p->generation);
        MUST_BE(!p->hold || pin->hold_ms >= p->until_ms);
}

static void check_key(int c, uint64_t key)
{
        struct pnr_key hashed = {{key, ~key}};
        struct pin pin = core_pin(cluster_name[c], key);
        char name[PNR_NAME_SIZE] = "";
        struct facts f = {.now = core_now};
        struct view_at at = {.number = 0};
        snprintf(name, sizeof name, "%s", cluster_name[c]);
        MUST_BE(view_facts(view, name, &hashed, &f, &at) == VIEW_OK);
        for (const struct promise *p = promised[c][key]; p < promised[c][key] + PROMISES; p++) {
                if (core_now.ms >= p->until_ms)
                        continue;
                check_read(p, &f);
                if (p->in_table)
                        check_pin(p, &pin);
        }
        MUST_BE(view_holds(view, &at));
}

static bool has_promise(int c, uint64_t key)
{
        for (unsigned i = 0; i < PROMISES; i++)
                if (core_now.ms < promised[c][key][i].until_ms)
                        return true;
        return key == 0; /* looked at in any case */
}

static void check_all(void)
{
        if (!core.store)
                return;
        if (view && !view_is_linked(view, core_dir))
                view_close(&view);
        if (!view)
                MUST_BE(view_open(&view, core_dir) == PINROUTE_OK);
        for (int c = 0; c < CLUSTERS; c++)
                for (uint64_t key = 0; key < KEYS && core_find_cluster(&core, cluster_name[c]); key++)
                        if (has_promise(c, key))
                                check_key(c, key);
        MUST_BE(view_pulse(view).epoch == core.epoch);
}

/* ---- what happens ---- */

/* As many as are said, from the one that was taken for the head on. */
static void take_keys(struct input *in, struct pnr_records *f)
{
        uint64_t first = f->head.key[0];
        f->head.key[0] = f->head.key[1] = 0;
        f->head.n = take_below(in, 70);
        for (unsigned i = 0; i < f->head.n && i < PNR_RECORDS_MAX; i++) {
                f->key[i][0] = (first + i) % (KEYS + 2);
                f->key[i][1] = ~f->key[i][0];
        }
}

/* Returns its length. */
static size_t take_frame(struct input *in, struct pnr_records *f)
{
        struct pnr_request *q = &f->head;
        memset(f, 0, sizeof *f);
        *q = (struct pnr_request){.magic = PNR_WIRE_MAGIC, .version = PNR_WIRE_VERSION};
        q->op = (uint16_t)(1 + take_below(in, 5));
        q->number = 7;
        if (q->op != PNR_OP_HELLO) {
                strcpy(q->cluster, cluster_name[take_below(in, CLUSTERS + 1)]);
                q->key[0] = take_below(in, KEYS);
                q->key[1] = ~q->key[0];
                q->ms = (uint32_t)take_number(in);
        }
        if (q->op == PNR_OP_RECORDS)
                take_keys(in, f);
        if (q->op == PNR_OP_TOKEN)
                q->stamp = take_number(in);
        uint8_t how = take(in);
        if (how == 'm' && q->op == PNR_OP_HELLO) /* memory */
                q->op = PNR_OP_COUNTS;
        if (how == '~')
                take_strokes(in, f, pnr_frame_size(q));
        return how == '<' ? take(in) : how == '>' ? sizeof *f - 2 + take_below(in, 5) : pnr_frame_size(q);
}

static void on_frames(struct input *in)
{
        static struct pnr_records frame[BATCH];
        struct core_item item[BATCH];
        unsigned n = 0;
        for (unsigned i = take_below(in, BATCH) + 1; i > 0; i--) {
                size_t size = take_frame(in, &frame[n]);
                bool valid = pnr_frame_valid(&frame[n], size);
                MUST_BE(valid == is_sound(&frame[n], size));
                item[n] =
                    (struct core_item){.request = frame[n].head, .keys = (const uint64_t(*)[2])frame[n].key};
                n += valid;
        }
        core_step(item, n, 1);
        for (unsigned i = 0; i < n; i++)
                if (item[i].answered) {
                        check_reply(&item[i]);
                        remember(&item[i]);
                }
}

static void on_time(struct input *in)
{
        uint64_t ms = take_number(in);
        core_now.ms += (int64_t)(ms % APART_MS);
        core_turn(&core, NULL, 0, core_on_ask, NULL, core_now);
}

static void on_answers(void)
{
        core_now.ms += 10;
        core_turn(&core, NULL, 0, core_on_ask, NULL, core_now);
        core_answer();
        core_turn(&core, NULL, 0, core_on_ask, NULL, core_now);
}

static void on_configure(struct input *in)
{
        core_conf.n_clusters = 1 + take_below(in, CLUSTERS);
        core_configure(&core, &core_conf, core_now);
        core_step(NULL, 0, 1);
}

static void in_another_place(void)
{
        for (int c = 0; c < CLUSTERS; c++)
                for (unsigned key = 0; key < KEYS; key++)
                        for (unsigned i = 0; i < PROMISES; i++)
                                promised[c][key][i].in_table = false;
}

/* The file is taken away: found at the next heartbeat, and until then the old one is the store. */
static void on_loss(void)
{
        uint64_t replaced = core.stats.stores_replaced;
        core_unlink();
        core_step(NULL, 0, CORE_HEARTBEAT_MS);
        MUST_BE(core.stats.stores_replaced == replaced + 1);
        in_another_place();
}

static void step(struct input *in)
{
        switch (take(in)) {
        case 'f': on_frames(in); break;
        case '+': on_time(in); break;
        case 'a': on_answers(); break;
        case 'w': core_servers.position[0] += 10; break;
        case 'r': core_servers.position[1 + take_below(in, 2)] = core_servers.position[0]; break;
        case 'c': on_configure(in); break;
        case 'R':
                if (costly++ < COSTLY)
                        core_restart();
                break;
        case 'L':
                if (costly++ < COSTLY)
                        on_loss();
                break;
        default: return;
        }
        check_all();
}

/* ---- from input to input ---- */

static bool all_good(void)
{
        for (unsigned c = 0; c < 2; c++)
                for (unsigned i = 0; i <= 2 - c; i++)
                        if (core_find_cluster(&core, cluster_name[c])->node[i].state != NODE_UP)
                                return false;
        return core_look("main", 1).reason == PINROUTE_BALANCED;
}

/* All servers alike, all pins long over, nothing owed. */
static void begin(void)
{
        memset(promised, 0, sizeof promised);
        costly = 0;
        core_servers.position[1] = core_servers.position[2] = core_servers.position[0];
        core_answer();
        if (core_conf.n_clusters != 2) {
                core_conf.n_clusters = 2;
                core_configure(&core, &core_conf, core_now);
        }
        core_now.ms += APART_MS;
        core.last_turn = core_now; /* it did not stand still: it was fast */
        on_answers();
        for (unsigned i = 0; !all_good(); i++) {
                MUST_BE(i < 100);
                core_play(100);
        }
}

static void leave(void)
{
        if (view)
                view_close(&view);
        core_close();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc, (void)argv;
        core_open();
        core_fini(&core);
        MUST_BE(unlink(in_core_dir("data.mdb")) == 0);
        core_conf.max_pins = MAX_PINS;
        core_start();
        atexit(leave);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = input_of(data, size);
        begin();
        for (unsigned i = 0; i < STEPS && input_left(&in); i++)
                step(&in);
        return 0;
}
