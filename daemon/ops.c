/* ops.c -- what an operator can ask and order, and who is one.
 * The table `commands` is the whole list. */
#include "daemon/ops.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/pinroute.h"
#include "daemon/clock.h"
#include "daemon/explain.h"
#include "daemon/json.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/show.h"
#include "daemon/turn.h"
#include "daemon/verdict.h"

#define LINE_MAX_BYTES  2048
#define WORDS_MAX       8
#define PATIENCE_S      5   /* from the call's beginning to the last byte of its answer */
#define LOOK_MS         500 /* for those that are over */
#define SECONDS_MAX     86400
#define ACCEPT_PAUSE_MS 100 /* when no descriptor is left: a level-triggered listener would spin */

struct words {
        unsigned n;
        char *word[WORDS_MAX];
};

/* ---- answers ---- */

static void refuse(struct json *j, const char *code, const char *sentence)
{
        json_open(j, NULL, '{');
        json_bool(j, "ok", false);
        json_text(j, "error", sentence);
        json_text(j, "code", code);
        json_close(j, '}');
}

static void begin(struct json *j)
{
        json_open(j, NULL, '{');
        json_bool(j, "ok", true);
}

static void end(struct json *j) { json_close(j, '}'); }

/* ---- arguments ---- */

static struct cluster *cluster_arg(struct ops *ops, const char *name, struct json *j)
{
        struct cluster *c = core_find_cluster(ops->core, name);
        char sentence[160];
        snprintf(sentence, sizeof sentence, "no cluster named %.64s; `pinroutectl status` lists them", name);
        if (!c)
                refuse(j, "E_CLUSTER", sentence);
        return c;
}

static bool number_arg(const char *text, uint64_t max, uint64_t *ret)
{
        char *rest;
        errno = 0;
        unsigned long long v = strtoull(text, &rest, 10);
        *ret = v;
        return text[0] >= '0' && text[0] <= '9' && !*rest && !errno && v <= max;
}

static bool key_arg(const char *hex, struct pnr_key *ret, struct json *j)
{
        unsigned long long a, b;
        if (strlen(hex) == 32 && strspn(hex, "0123456789abcdef") == 32 &&
            sscanf(hex, "%16llx%16llx", &a, &b) == 2) { /* NOLINT(cert-err34-c): 32 digits fit */
                *ret = (struct pnr_key){{a, b}};
                return true;
        }
        refuse(j, "E_INVALID", "a key is given as the 32 hexadecimal digits of its hash");
        return false;
}

/* ---- commands ---- */

/* Takes the connection off the list. */
static void forget(struct ops *ops, const struct bufferevent *b)
{
        unsigned i = 0;
        while (ops->call[i].b != b)
                i++;
        ops->call[i] = ops->call[--ops->n];
        ops->call[ops->n].b = NULL;
}

static void cmd_status(struct ops *ops, const struct words *w, struct json *j)
{
        (void)w;
        begin(j);
        show_status(ops->core, ops->conns->n, clock_mono(), j);
        end(j);
}

static void cmd_show(struct ops *ops, const struct words *w, struct json *j)
{
        const char *what = w->word[1];
        begin(j);
        if (!strcmp(what, "nodes"))
                show_nodes(ops->core, clock_mono(), j);
        else if (!strcmp(what, "pins"))
                show_pins(ops->core, clock_mono(), j);
        else if (!strcmp(what, "clients"))
                show_clients(ops->conns, clock_mono(), j);
        else if (!strcmp(what, "config"))
                show_config(ops->core, j);
        else if (!strcmp(what, "news"))
                show_news(ops->core, j);
        else
                show_stats(ops->core, j);
        end(j);
}

static void cmd_metrics(struct ops *ops, const struct words *w, struct json *j)
{
        (void)w;
        struct evbuffer *text = evbuffer_new();
        bool filled = text && metrics_fill(ops->core, ops->conns, clock_mono(), text) &&
                      !evbuffer_add(text, "", 1); /* the end of a string */
        const char *all = filled ? (const char *)evbuffer_pullup(text, -1) : NULL;
        if (all) {
                begin(j);
                json_text(j, "metrics", all);
                end(j);
        } else {
                refuse(j, "E_MEMORY", "out of memory");
        }
        if (text)
                evbuffer_free(text);
}

static bool known_to_show(const char *what)
{
        static const char *const known[] = {"nodes", "pins", "clients", "config", "stats", "news"};
        for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
                if (!strcmp(what, known[i]))
                        return true;
        return false;
}

static void cmd_pin(struct ops *ops, const struct words *w, struct json *j)
{
        struct pnr_key key;
        uint64_t seconds;
        struct cluster *c = cluster_arg(ops, w->word[1], j);
        if (!c || !key_arg(w->word[2], &key, j))
                return;
        if (!number_arg(w->word[3], SECONDS_MAX, &seconds)) {
                refuse(j, "E_INVALID", "seconds: 1 to 86400; 0 is the cluster's pin_seconds");
                return;
        }
        struct core_item it = {
            .request = {.op = PNR_OP_RECORD, .key = {key.w[0], key.w[1]}, .ms = (uint32_t)seconds * 1000}};
        memcpy(it.request.cluster, c->conf.name, sizeof it.request.cluster);
        core_apply(ops->core, &it, 1, clock_mono());
        if (!it.answered) {
                refuse(j, "E_STORE", "the store took no commit; the log says why");
                return;
        }
        if (ops->watch)
                watch_item(ops->watch, &it, 0, clock_mono());
        begin(j);
        json_unsigned(j, "generation", it.reply.generation);
        json_int(j, "left_ms", cluster_pin_ms(c, (int64_t)seconds * 1000));
        json_bool(j, "cut", (int64_t)seconds * 1000 > c->conf.max_pin_seconds_ms);
        end(j);
}

/* Opens a generation: a write that comes after this look carries another one than the pin shown, also where
 * it changes no deadline, and so a release of what was shown does not drop it. */
static void cmd_peek(struct ops *ops, const struct words *w, struct json *j)
{
        struct pnr_key key;
        struct pin pin;
        struct cluster *c = cluster_arg(ops, w->word[1], j);
        if (!c || !key_arg(w->word[2], &key, j))
                return;
        struct mono now = clock_mono();
        fence_open_next(&c->fence);
        c->dirty = true;
        struct pnr_slot slot = pnr_slot_of(key, c->number, store_spread(ops->core->store));
        int rc = store_get_pin(ops->core->store, slot, &pin);
        begin(j);
        if (rc == STORE_OK && pin.until_ms > now.ms)
                show_pin(ops->core, "pin", &pin, now, j);
        else
                json_null(j, "pin");
        end(j);
}

static void cmd_explain(struct ops *ops, const struct words *w, struct json *j)
{
        uint64_t generation;
        const struct cluster *c = cluster_arg(ops, w->word[1], j);
        if (!c)
                return;
        if (!number_arg(w->word[2], INT64_MAX, &generation)) { /* what JSON's readers take */
                refuse(j, "E_INVALID", "generation: as `peek` shows it; 0: of no pin");
                return;
        }
        begin(j);
        explain(c, generation, clock_mono(), j);
        end(j);
}

static bool drop_pin(struct ops *ops, struct pnr_slot slot, uint64_t generation, uint64_t until_ms)
{
        struct pin seen;
        struct store *s = ops->core->store;
        if (store_begin(s) != STORE_OK)
                return false;
        if (store_get_pin(s, slot, &seen) == STORE_OK && seen.generation == generation &&
            seen.until_ms == (int64_t)until_ms && store_drop_pin(s, slot, &seen) == STORE_OK)
                return store_commit(s) == STORE_OK;
        store_abort(s);
        return false;
}

/* Drops only what the operator has seen: a newer write's pin stays. */
static void cmd_release(struct ops *ops, const struct words *w, struct json *j)
{
        struct pnr_key key;
        uint64_t generation, until_ms;
        struct cluster *c = cluster_arg(ops, w->word[1], j);
        if (!c || !key_arg(w->word[2], &key, j))
                return;
        if (!number_arg(w->word[3], UINT64_MAX, &generation) ||
            !number_arg(w->word[4], INT64_MAX, &until_ms)) {
                refuse(j, "E_INVALID", "generation and until_ms: as `peek` shows them");
                return;
        }
        struct pnr_slot slot = pnr_slot_of(key, c->number, store_spread(ops->core->store));
        bool released = drop_pin(ops, slot, generation, until_ms);
        if (released)
                news_say(LOG_AT_INFO, &(struct news_about){.kind = NEWS_ADMIN, .cluster = c->conf.name},
                         "a pin released by the operator");
        begin(j);
        json_bool(j, "released", released);
        end(j);
}

/* What an operator who takes the last one out may not have meant. */
static void warn_of_none_left(const struct cluster *c, struct json *j)
{
        char reads[VERDICT_TEXT_MAX], text[VERDICT_TEXT_MAX + 64];
        verdict_of_no_replica(c, reads);
        snprintf(text, sizeof text, "no replica is read from now: %s", reads);
        json_text(j, "warning", text);
}

static void set_admin(struct ops *ops, const struct words *w, enum node_admin admin, struct json *j)
{
        struct cluster *c = cluster_arg(ops, w->word[1], j);
        unsigned slot = c ? cluster_find_node(c, w->word[2]) : PNR_NO_NODE;
        if (!c)
                return;
        if (slot == PNR_NO_NODE) {
                refuse(j, "E_NODE",
                       "no node of this name in the cluster; `pinroutectl show nodes` lists them");
                return;
        }
        if (slot == c->primary && admin != NODE_READY) {
                refuse(j, "E_NODE",
                       "this is the primary: pinned reads have nowhere else to go; make another node the "
                       "primary first "
                       "(role=primary in the config)");
                return;
        }
        cluster_set_admin(c, slot, admin, clock_mono());
        ops->core->admin_dirty = true;
        core_apply(ops->core, NULL, 0, clock_mono());
        begin(j);
        json_text(j, "cluster", c->conf.name);
        json_text(j, "node", w->word[2]);
        json_text(j, "admin", node_admin_name(admin));
        if (admin != NODE_READY && !verdict_count(c).read)
                warn_of_none_left(c, j);
        end(j);
}

static void cmd_drain(struct ops *ops, const struct words *w, struct json *j)
{
        set_admin(ops, w, NODE_DRAIN, j);
}
static void cmd_maint(struct ops *ops, const struct words *w, struct json *j)
{
        set_admin(ops, w, NODE_MAINT, j);
}
static void cmd_ready(struct ops *ops, const struct words *w, struct json *j)
{
        set_admin(ops, w, NODE_READY, j);
}

static void say(void *arg, const char *message) { json_text(arg, NULL, message); }

static void cmd_reload(struct ops *ops, const struct words *w, struct json *j)
{
        (void)w;
        json_open(j, NULL, '{');
        json_open(j, "messages", '[');
        bool reloaded = ops->reload(ops->reload_arg, say, j);
        json_close(j, ']');
        json_bool(j, "reloaded", reloaded);
        json_bool(j, "ok", reloaded);
        if (!reloaded) {
                json_text(j, "error", "not reloaded: the configuration in force stays");
                json_text(j, "code", "E_CONFIG");
        }
        end(j);
}

/* watch CLUSTER|* pins|news: the connection becomes watch.c's. */
static void cmd_watch(struct ops *ops, const struct words *w, struct json *j)
{
        bool all = !strcmp(w->word[1], "*"), pins = !strcmp(w->word[2], "pins");
        if (!pins && strcmp(w->word[2], "news") != 0) {
                refuse(j, "E_INVALID", "watch: pins, or news alone");
                return;
        }
        if (!all && !cluster_arg(ops, w->word[1], j))
                return;
        if (!ops->watch || !ops->asking || ops->watch->n == WATCHERS_MAX) {
                refuse(j, "E_BUSY", "as many watch already as may at once: end one of them");
                return;
        }
        char epoch[20];
        snprintf(epoch, sizeof epoch, "%016" PRIx64, ops->core->epoch);
        begin(j);
        json_text(j, "version", PINROUTE_VERSION);
        json_int(j, "pid", getpid());
        json_text(j, "epoch", epoch);
        end(j);
        evbuffer_add(j->out, "\n", 1);
        struct bufferevent *b = ops->asking;
        ops->asking = NULL;
        forget(ops, b);
        watch_join(ops->watch, b, all ? "" : w->word[1], pins);
}

static const struct {
        const char *name;
        unsigned arguments;
        bool needs_store;
        void (*run)(struct ops *ops, const struct words *w, struct json *j);
} commands[] = {
    {"status", 0, false, cmd_status}, {"show", 1, true, cmd_show},        {"pin", 3, true, cmd_pin},
    {"peek", 2, true, cmd_peek},      {"release", 4, true, cmd_release},  {"drain", 2, false, cmd_drain},
    {"maint", 2, false, cmd_maint},   {"ready", 2, false, cmd_ready},     {"reload", 0, false, cmd_reload},
    {"watch", 2, false, cmd_watch},   {"metrics", 0, false, cmd_metrics}, {"explain", 2, false, cmd_explain},
};

/* ---- the line ---- */

static int hex_digit(char c)
{
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                      : -1;
}

/* Decodes %XX in place.  False: malformed, or a NUL. */
static bool decode(char *s)
{
        char *to = s;
        for (; *s; s++) {
                if (*s != '%') {
                        *to++ = *s;
                        continue;
                }
                int hi = hex_digit(s[1]), lo = hi < 0 ? -1 : hex_digit(s[2]);
                if (lo < 0 || (hi == 0 && lo == 0))
                        return false;
                *to++ = (char)(hi * 16 + lo);
                s += 2;
        }
        *to = '\0';
        return true;
}

static bool split(char *line, struct words *w)
{
        w->n = 0;
        for (char *word = strtok_r(line, " ", &line); word; word = strtok_r(NULL, " ", &line)) {
                if (w->n == WORDS_MAX || !decode(word))
                        return false;
                w->word[w->n++] = word;
        }
        return w->n > 0;
}

void ops_run(struct ops *ops, const char *line, struct evbuffer *out)
{
        struct json j = {.out = out};
        struct words w;
        char copy[LINE_MAX_BYTES];
        snprintf(copy, sizeof copy, "%s", line);
        if (strlen(line) >= sizeof copy || !split(copy, &w)) {
                refuse(&j, "E_INVALID", "not a request: one line of at most 8 words");
                return;
        }
        for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++) {
                if (strcmp(commands[i].name, w.word[0]) != 0)
                        continue;
                if (w.n != commands[i].arguments + 1 ||
                    /* NOLINTNEXTLINE(*CallAndMessage): `show` has one argument, so there are two words */
                    (!strcmp(w.word[0], "show") && !known_to_show(w.word[1])))
                        refuse(&j, "E_INVALID", "wrong arguments for this request");
                else if (commands[i].needs_store && !ops->core->store)
                        refuse(&j, "E_STORE", "the daemon has no store now; the log says why");
                else
                        commands[i].run(ops, &w, &j);
                return;
        }
        refuse(&j, "E_INVALID", "no such request");
}

/* ---- connections ---- */

bool ops_admits(int fd, gid_t operators)
{
        struct ucred peer;
        socklen_t size = sizeof peer;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
                return false;
        if (peer.uid == 0 || peer.uid == geteuid())
                return true;
        if (operators == (gid_t)-1)
                return false;
        gid_t groups[1024];
        size = sizeof groups;
        if (peer.gid == operators)
                return true;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
                return false;
        for (size_t i = 0; i < size / sizeof *groups; i++)
                if (groups[i] == operators)
                        return true;
        return false;
}

static void hang_up(struct bufferevent *b, struct ops *ops)
{
        forget(ops, b);
        bufferevent_free(b);
}

/* Who sends or takes a byte now and then would keep a place for ever. */
static void on_look(evutil_socket_t fd, short what, void *arg)
{
        (void)fd, (void)what;
        struct ops *ops = arg;
        turn_woke();
        for (unsigned i = ops->n; i-- > 0;)
                if (mono_since(clock_mono(), ops->call[i].since) > PATIENCE_S * 1000)
                        hang_up(ops->call[i].b, ops);
}

static void on_sent(struct bufferevent *b, void *arg)
{
        turn_woke();
        hang_up(b, arg);
}

static void on_event(struct bufferevent *b, short what, void *arg)
{
        (void)what; /* end of stream or error: all the same to us */
        turn_woke();
        hang_up(b, arg);
}

/* Without its event, for want of memory or of room in epoll, a connection would stay for ever. */
static void go_on(struct bufferevent *b, struct ops *ops, short events, bufferevent_data_cb on_read,
                  bufferevent_data_cb on_write)
{
        bufferevent_setcb(b, on_read, on_write, on_event, ops);
        if (bufferevent_enable(b, events))
                hang_up(b, ops);
}

static void on_line(struct bufferevent *b, void *arg)
{
        struct ops *ops = arg;
        turn_woke();
        struct evbuffer *in = bufferevent_get_input(b);
        char *line = evbuffer_readln(in, NULL, EVBUFFER_EOL_LF);
        if (!line && evbuffer_get_length(in) < LINE_MAX_BYTES)
                return; /* the rest is to come */
        ops->asking = b;
        ops_run(ops, line ? line : "", bufferevent_get_output(b));
        free(line);
        if (!ops->asking)
                return; /* it watches now */
        ops->asking = NULL;
        bufferevent_disable(b, EV_READ);
        go_on(b, ops, EV_WRITE, NULL, on_sent);
}

static void admit(struct ops *ops, int fd)
{
        struct bufferevent *b = bufferevent_socket_new(ops->base, fd, BEV_OPT_CLOSE_ON_FREE);
        if (!b) {
                close(fd);
                return;
        }
        ops->call[ops->n++] = (struct ops_call){.b = b, .since = clock_mono()};
        if (ops_admits(fd, ops->operators)) {
                go_on(b, ops, EV_READ | EV_WRITE, on_line, NULL);
                return;
        }
        struct json j = {.out = bufferevent_get_output(b)};
        refuse(&j, "E_REFUSED",
               "not an operator: root, the daemon's own user, or a member of operator_group");
        go_on(b, ops, EV_WRITE, NULL, on_sent);
}

static const struct timeval pause_before_accept = {.tv_usec = ACCEPT_PAUSE_MS * 1000};

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
        (void)what;
        struct ops *ops = arg;
        turn_woke();
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
                if (!event_add(ops->again, &pause_before_accept))
                        event_del(ops->acceptable);
        }
        if (fd < 0)
                return;
        if (ops->n + (ops->watch ? ops->watch->n : 0) >= OPERATORS_MAX)
                close(fd);
        else
                admit(ops, fd);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
        (void)fd, (void)what;
        struct ops *ops = arg;
        turn_woke();
        if (event_add(ops->acceptable, NULL))
                event_add(ops->again, &pause_before_accept);
}

bool ops_init(struct ops *ops, int listener)
{
        ops->acceptable = event_new(ops->base, listener, EV_READ | EV_PERSIST, on_acceptable, ops);
        ops->again = event_new(ops->base, -1, 0, on_again, ops);
        ops->look = event_new(ops->base, -1, EV_PERSIST, on_look, ops);
        const struct timeval each = {.tv_usec = LOOK_MS * 1000};
        return ops->acceptable && ops->again && ops->look && !event_add(ops->acceptable, NULL) &&
               !event_add(ops->look, &each);
}

void ops_listen(struct ops *ops, int listener)
{
        bool takes = event_pending(ops->acceptable, EV_READ, NULL);
        event_del(ops->acceptable);
        event_assign(ops->acceptable, ops->base, listener, EV_READ | EV_PERSIST, on_acceptable, ops);
        if (takes)
                event_add(ops->acceptable, NULL);
}

void ops_fini(struct ops *ops)
{
        while (ops->n)
                hang_up(ops->call[0].b, ops);
        event_free(ops->look);
        event_free(ops->acceptable);
        event_free(ops->again);
}
