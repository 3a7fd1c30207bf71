/* watch.c -- who watches, and what each is told.
 * Owns: struct watch and the connections that it has taken over. */
#include "daemon/watch.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/pinroute.h"
#include "daemon/clock.h"
#include "daemon/json.h"
#include "daemon/show.h"
#include "daemon/turn.h"

struct pin_event {
        const char *what;
        const struct cluster *cluster;
        struct pnr_slot slot;
        uint64_t generation; /* 0: it became a floor */
        int64_t ms;
        pid_t pid;
};

/* ---- one line to one watcher ---- */

static struct evbuffer *out_of(const struct watcher *x) { return bufferevent_get_output(x->b); }

static bool has_room(const struct watcher *x) { return evbuffer_get_length(out_of(x)) < WATCH_BUFFER_MAX; }

static struct json begin(struct watcher *x, const char *event)
{
        struct json j = {.out = out_of(x)};
        json_open(&j, NULL, '{');
        json_text(&j, "event", event);
        return j;
}

static void end(struct json *j)
{
        json_close(j, '}');
        evbuffer_add(j->out, "\n", 1);
}

static void tell_missed(struct watcher *x)
{
        struct json j = begin(x, "missed");
        json_int(&j, "wall_ms", clock_ms(CLOCK_REALTIME));
        json_unsigned(&j, "events", x->missed);
        end(&j);
        x->missed = 0;
}

/* False: this event is missed. */
static bool may_tell(struct watcher *x)
{
        if (!has_room(x)) {
                x->missed++;
                return false;
        }
        if (x->missed)
                tell_missed(x);
        return true;
}

static bool concerns(const struct watcher *x, const char *cluster)
{
        return !x->cluster[0] || !cluster[0] || !strcmp(x->cluster, cluster);
}

static void tell_news(struct watcher *x, const struct news_item *item)
{
        if (!concerns(x, item->cluster) || !may_tell(x))
                return;
        struct json j = {.out = out_of(x)};
        json_open(&j, NULL, '{');
        show_news_item(item, &j);
        end(&j);
}

static void tell_pin(struct watcher *x, const struct pin_event *e)
{
        char key[32];
        struct json j = begin(x, "pin");
        json_int(&j, "wall_ms", clock_ms(CLOCK_REALTIME));
        json_text(&j, "what", e->what);
        json_text(&j, "cluster", e->cluster->conf.name);
        snprintf(key, sizeof key, "%012" PRIx64 "%08" PRIx32, pnr_slot_shown(e->slot.place), e->slot.tag);
        json_text(&j, "key", key);
        if (e->generation)
                json_unsigned(&j, "generation", e->generation);
        else
                json_null(&j, "generation");
        json_int(&j, "ms", e->ms);
        json_int(&j, "pid", e->pid);
        end(&j);
}

static void tell_released(struct watcher *x, const struct cluster *c, const struct cluster_node *n)
{
        struct json j = begin(x, "released");
        json_int(&j, "wall_ms", clock_ms(CLOCK_REALTIME));
        json_text(&j, "cluster", c->conf.name);
        json_text(&j, "node", n->conf.name);
        json_unsigned(&j, "generation", n->caught_up);
        end(&j);
}

/* ---- all that is new ---- */

static void say_news(struct watcher *x, const struct news *news)
{
        uint64_t last = news_last(news);
        for (; x->told < last; x->told++) {
                const struct news_item *item = news_at(news, x->told + 1);
                if (item)
                        tell_news(x, item);
                else
                        x->missed++;
        }
}

/* Is there one more event of pins in this second?  If not, who would have been told misses it. */
static bool within_rate(struct watch *w, struct mono now)
{
        if (now.ms / 1000 != w->second)
                w->pins_told = 0;
        w->second = now.ms / 1000;
        return w->pins_told < WATCH_PINS_MAX && ++w->pins_told;
}

static bool wants_pins(const struct watcher *x, const struct cluster *c)
{
        return x->pins && concerns(x, c->conf.name);
}

static void say_pin(struct watch *w, const struct pin_event *e, struct mono now)
{
        bool tell = within_rate(w, now);
        for (struct watcher *x = w->who; x < w->who + w->n; x++) {
                if (!wants_pins(x, e->cluster))
                        continue;
                if (!tell)
                        x->missed++;
                else if (may_tell(x))
                        tell_pin(x, e);
        }
}

void watch_item(struct watch *w, const struct core_item *it, pid_t pid, struct mono now)
{
        const struct pnr_request *q = &it->request;
        const struct cluster *c = w->n ? core_find_cluster(w->core, q->cluster) : NULL;
        bool pinned =
            it->answered && it->reply.status == PINROUTE_OK && q->op != PNR_OP_HELLO && !it->covered;
        if (!c || !pinned || !w->core->store)
                return;
        struct pin_event e = {
            .what = q->op == PNR_OP_HOLD    ? "hold"
                    : q->op == PNR_OP_TOKEN ? "token"
                                            : "record",
            .cluster = c,
            .generation = it->reply.generation,
            .ms = cluster_pin_ms(c, q->ms),
            .pid = pid,
        };
        for (unsigned i = 0; i < (q->op == PNR_OP_RECORDS ? q->n : 1); i++) {
                const uint64_t *words = q->op == PNR_OP_RECORDS ? it->keys[i] : q->key;
                e.slot = pnr_slot_of((struct pnr_key){{words[0], words[1]}}, c->number,
                                     store_spread(w->core->store));
                say_pin(w, &e, now);
        }
}

static void say_released(struct watch *w, const struct cluster *c, unsigned slot, struct mono now)
{
        const struct cluster_node *n = &c->node[slot];
        uint64_t *told = &w->released[c->number][slot];
        if (n->caught_up <= *told)
                return;
        *told = n->caught_up;
        bool tell = within_rate(w, now);
        for (struct watcher *x = w->who; x < w->who + w->n; x++) {
                if (!wants_pins(x, c))
                        continue;
                if (!tell)
                        x->missed++;
                else if (may_tell(x))
                        tell_released(x, c, n);
        }
}

void watch_turn(struct watch *w, const struct conns *conns, struct mono now)
{
        if (!w->n)
                return;
        for (struct watcher *x = w->who; x < w->who + w->n; x++) {
                if (x->missed && has_room(x) && now.ms / 1000 != w->second)
                        tell_missed(x); /* though nothing more may happen */
                say_news(x, w->core->news);
        }
        for (unsigned i = 0; i < conns->n_batch; i++)
                watch_item(w, &conns->item[i], conns->from[i]->pid, now);
        for (unsigned i = 0; i < w->core->n_clusters; i++)
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                        say_released(w, w->core->cluster[i], slot, now);
}

/* ---- coming and going ---- */

static void hang_up(struct watch *w, struct bufferevent *b)
{
        unsigned i = 0;
        while (w->who[i].b != b)
                i++;
        bufferevent_free(b);
        w->who[i] = w->who[--w->n];
        w->who[w->n] = (struct watcher){0};
}

static void on_event(struct bufferevent *b, short what, void *arg)
{
        (void)what; /* gone, broken, or it takes nothing */
        turn_woke();
        hang_up(arg, b);
}

/* A watcher has nothing to say. */
static void on_read(struct bufferevent *b, void *arg)
{
        turn_woke();
        hang_up(arg, b);
}

/* Generations that were released before somebody watched are no events. */
static void forget_released(struct watch *w)
{
        memset(w->released, 0, sizeof w->released);
        for (unsigned i = 0; i < w->core->n_clusters; i++)
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                        w->released[w->core->cluster[i]->number][slot] =
                            w->core->cluster[i]->node[slot].caught_up;
}

/* The number before the first of the last few that concern it. */
static uint64_t before_last(const struct watcher *x, const struct news *news)
{
        uint64_t number = news_last(news);
        const struct news_item *item;
        for (unsigned n = 0; n < WATCH_NEWS_AT_ONCE && (item = news_at(news, number)); number--)
                n += concerns(x, item->cluster);
        return number;
}

bool watch_join(struct watch *w, struct bufferevent *b, const char *cluster, bool pins)
{
        const struct timeval patience = {.tv_sec = WATCH_PATIENCE_S};
        if (w->n == WATCHERS_MAX)
                return false;
        if (!w->n)
                forget_released(w);
        struct watcher *x = &w->who[w->n++];
        *x = (struct watcher){.b = b, .pins = pins};
        snprintf(x->cluster, sizeof x->cluster, "%s", cluster);
        x->told = before_last(x, w->core->news);
        say_news(x, w->core->news);
        bufferevent_setcb(b, on_read, NULL, on_event, w);
        bufferevent_set_timeouts(b, NULL, &patience);
        if (bufferevent_enable(b, EV_READ | EV_WRITE))
                hang_up(w, b); /* it would never be heard of again */
        return true;
}

void watch_fini(struct watch *w)
{
        while (w->n) {
                struct watcher *x = &w->who[0];
                say_news(x, w->core->news);
                bufferevent_disable(x->b, EV_READ | EV_WRITE);
                evbuffer_unfreeze(out_of(x), 1);
                evbuffer_write(out_of(x), bufferevent_getfd(x->b));
                hang_up(w, x->b);
        }
}
