/* manager.c -- what a service manager hears of a daemon that serves, and when.
 * Reads the core; sends by notify() alone. */
#include "daemon/manager.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/notify.h"

#define STATUS_MS 1000

/* A number of the environment; 0: none, or not a number. */
static uint64_t number_of(const char *name)
{
        const char *text = getenv(name);
        char *end;
        uint64_t n = text ? strtoull(text, &end, 10) : 0;
        return n && !*end ? n : 0;
}

void manager_init(struct manager *m, struct mono now)
{
        uint64_t watch_us = number_of("WATCHDOG_USEC"), pid = number_of("WATCHDOG_PID");
        *m = (struct manager){.pet_due = now, .status_due = now};
        if (watch_us && watch_us < INT64_MAX && (!pid || pid == (uint64_t)getpid()))
                m->pet_ms = watch_us < 3000 ? 1 : (int64_t)(watch_us / 3000);
}

/* Behind what is there; what finds no room ends in "...". */
__attribute__((format(printf, 2, 3))) static void append(char status[MANAGER_STATUS_MAX], const char *format,
                                                         ...)
{
        size_t at = strlen(status), room = MANAGER_STATUS_MAX - at;
        va_list args;
        va_start(args, format);
        int n = vsnprintf(status + at, room, format, args);
        va_end(args);
        if (n >= 0 && (size_t)n >= room)
                strcpy(status + MANAGER_STATUS_MAX - sizeof "...", "...");
}

static void append_cluster(char status[MANAGER_STATUS_MAX], const struct cluster *c)
{
        unsigned in = 0, of = 0;
        for (unsigned i = 0; i < PNR_NODES_MAX; i++)
                if (c->node[i].conf.name[0] && i != c->primary) {
                        of++;
                        in += cluster_schedules(c, &c->node[i]);
                }
        append(status, "%u of %u replica%s of %s in rotation, ", in, of, of == 1 ? "" : "s", c->conf.name);
}

void manager_status(const struct core *core, struct mono now, char status[MANAGER_STATUS_MAX])
{
        struct store_count count = {0};
        status[0] = '\0';
        if (core_is_silent(core, now)) {
                append(status, "waiting until no process can trust an earlier store");
                return;
        }
        for (unsigned i = 0; i < core->n_clusters; i++)
                if (!core->cluster[i]->removed)
                        append_cluster(status, core->cluster[i]);
        if (!core->store) {
                append(status, "no store");
                return;
        }
        store_count(core->store, &count);
        append(status, "%" PRIu64 " pin%s", count.pins, count.pins == 1 ? "" : "s");
}

static void say_status(struct manager *m, const struct core *core, struct mono now)
{
        char status[MANAGER_STATUS_MAX], message[MANAGER_STATUS_MAX + 8];
        m->status_due = core_is_silent(core, now) ? now : mono_plus(now, STATUS_MS);
        manager_status(core, now, status);
        if (!strcmp(status, m->said))
                return;
        memcpy(m->said, status, sizeof status);
        snprintf(message, sizeof message, "STATUS=%s", status);
        notify(message);
}

void manager_turn(struct manager *m, const struct core *core, struct mono now)
{
        if (m->pet_ms && mono_reached(now, m->pet_due)) {
                m->pet_due = mono_plus(now, m->pet_ms);
                notify("WATCHDOG=1");
        }
        if (mono_reached(now, m->status_due))
                say_status(m, core, now);
}

void manager_reloading(struct mono now)
{
        char message[64];
        snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, now.ms * 1000);
        notify(message);
}

void manager_reloaded(void) { notify("READY=1"); }
