/* known.c -- what is known of a key: its pin, this process's debts, and what its tokens are made with.
 * Copies from one snapshot; turns the daemon's times into ours. */
#include "client/known.h"

#include <string.h>

#include "client/clock.h"

#define NOTHING_MS 300000

static struct need here(struct need n, int64_t ahead_ms)
{
        n.until_ms -= n.until_ms ? ahead_ms : 0;
        n.hold_ms -= n.hold_ms ? ahead_ms : 0;
        return n;
}

static int use_known(struct visit *v)
{
        struct known *k = v->ret;
        const struct facts *f = &v->facts;
        const volatile struct pnr_cluster *c = f->cluster;
        k->now = v->here;
        int64_t ahead_ms = mono_since(f->now, k->now);
        char name[PNR_NAME_SIZE];
        memcpy(name, f->cluster->name, sizeof name);
        k->is_fresh = !choose_is_stale(f);
        k->is_void = choose_is_void(f);
        k->pin = here(f->pin, ahead_ms);
        k->owed = here(f->local, ahead_ms);
        k->floor = here((struct need){c->floor_generation, c->floor_until_ms, c->floor_hold_ms}, ahead_ms);
        k->stamp = v->key ? view_stamp(v->view, &v->at) : 0;
        k->token_cluster = pnr_token_cluster(name);
        k->pin_ms = c->pin_ms;
        k->max_pin_ms = c->max_pin_ms;
        k->has_keys = view_token_keys(v->view, &v->at, &k->keys);
        return PINROUTE_OK;
}

int known_get(struct pinroute *pr, unsigned cluster, const struct pnr_key *key, struct known *ret)
{
        struct visit v = {.pr = pr, .cluster = cluster, .key = key, .ret = ret};
        int status = handle_visit(&v, use_known);
        if (status != PINROUTE_OK)
                *ret = (struct known){.now = clock_coarse()};
        return status == NO_STORE ? PINROUTE_E_STORE : status;
}

struct need known_nothing(void)
{
        return (struct need){.generation = CHOOSE_NOBODY,
                             .until_ms = mono_plus(clock_coarse(), NOTHING_MS).ms};
}

struct need known_need(struct pinroute *pr, unsigned cluster, struct pnr_key key)
{
        struct known k;
        struct need all = {0};
        if (known_get(pr, cluster, &key, &k) != PINROUTE_OK || !k.is_fresh)
                return known_nothing();
        need_add(&all, &k.pin, k.now);
        need_add(&all, &k.owed, k.now);
        need_add(&all, &k.floor, k.now);
        return all;
}
