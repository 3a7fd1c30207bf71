/* ctl_event.c -- news, pins and releases as lines for people.
 * Reads documents, writes lines; asks nobody. */
#include "client/ctl_event.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "client/ctl_text.h"

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

static json_int_t number_of(const json_t *o, const char *key)
{
        return json_integer_value(json_object_get(o, key));
}

/* "2026-11-28 07:02:29.123" */
static void put_time(int64_t wall_ms, char *buf, size_t size)
{
        time_t seconds = (time_t)(wall_ms / 1000);
        struct tm tm;
        char day[32];
        if (!localtime_r(&seconds, &tm) || !strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm))
                snprintf(day, sizeof day, "%s", "-");
        snprintf(buf, size, "%s.%03d", day, (int)(wall_ms % 1000));
}

static void put_pin(const json_t *event, char *buf, size_t size)
{
        char span[CTL_TEXT_SPAN_MAX], by[32] = "the operator", generation[48] = "kept as a floor";
        bool hold = !strcmp(text_of(event, "what"), "hold");
        if (number_of(event, "pid"))
                snprintf(by, sizeof by, "pid %" JSON_INTEGER_FORMAT, number_of(event, "pid"));
        if (json_is_integer(json_object_get(event, "generation")))
                snprintf(generation, sizeof generation, "generation %" JSON_INTEGER_FORMAT,
                         number_of(event, "generation"));
        snprintf(buf, size, "%s %s for %s, %s, by %s", text_of(event, "key"), hold ? "held" : "pinned",
                 ctl_text_span(number_of(event, "ms"), span), generation, by);
}

static void put_sentence(const json_t *event, char *buf, size_t size)
{
        const char *kind = text_of(event, "event");
        if (!strcmp(kind, "pin"))
                put_pin(event, buf, size);
        else if (!strcmp(kind, "released"))
                snprintf(buf, size, "%s has every write up to generation %" JSON_INTEGER_FORMAT,
                         text_of(event, "node"), number_of(event, "generation"));
        else if (!strcmp(kind, "missed"))
                snprintf(buf, size, "%" JSON_INTEGER_FORMAT " events are missing here: too many to tell",
                         number_of(event, "events"));
        else
                snprintf(buf, size, "%s", text_of(event, "text"));
}

void ctl_event_text(const json_t *event, char buf[CTL_EVENT_MAX])
{
        char when[64], sentence[CTL_EVENT_MAX];
        const char *kind = text_of(event, "event"), *cluster = text_of(event, "cluster");
        const char *word = !strcmp(kind, "pin") ? text_of(event, "what") : text_of(event, "level");
        put_time(number_of(event, "wall_ms"), when, sizeof when);
        put_sentence(event, sentence, sizeof sentence);
        snprintf(buf, CTL_EVENT_MAX, "%s  %-8s  %s%.64s%s%.400s", when, *word ? word : kind,
                 *cluster ? "cluster " : "", cluster, *cluster ? ": " : "", sentence);
}

void ctl_event_show(const json_t *event, FILE *to)
{
        char buf[CTL_EVENT_MAX];
        ctl_event_text(event, buf);
        ctl_text_line(to, "%s", buf);
}
