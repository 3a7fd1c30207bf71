/* news.c -- the ring of what has happened, and the one way to say that something has.
 * Owns: struct news.  Reads the wall clock, for people only. */
#include "daemon/news.h"

#include <stdarg.h>
#include <stdio.h>

#include "daemon/clock.h"
#include "daemon/text.h"

struct news {
        uint64_t last;
        struct news_item item[NEWS_KEPT];
};

static struct news ours;

struct news *news_ours(void) { return &ours; }

const char *news_kind_name(enum news_kind kind)
{
        switch (kind) {
#define CASE(name, text)                                                                                     \
        case NEWS_##name: return text;
                NEWS_KINDS(CASE)
#undef CASE
        }
        return "unknown";
}

void news_add(struct news *n, const struct news_item *item)
{
        struct news_item *place = &n->item[++n->last % NEWS_KEPT];
        *place = *item;
        place->number = n->last;
}

uint64_t news_last(const struct news *n) { return n->last; }

const struct news_item *news_at(const struct news *n, uint64_t number)
{
        bool kept = number && number <= n->last && n->last - number < NEWS_KEPT;
        return kept ? &n->item[number % NEWS_KEPT] : NULL;
}

static void copy(char *to, size_t size, const char *from) { text_clean(to, size, from ? from : ""); }

void news_say(enum log_level level, const struct news_about *about, const char *format, ...)
{
        char text[NEWS_TEXT_MAX];
        struct news_item item = {
            .when = clock_mono(), .wall_ms = clock_ms(CLOCK_REALTIME), .level = level, .kind = about->kind};
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        copy(item.text, sizeof item.text, text);
        copy(item.cluster, sizeof item.cluster, about->cluster);
        copy(item.node, sizeof item.node, about->node);
        copy(item.from, sizeof item.from, about->from);
        copy(item.to, sizeof item.to, about->to);
        if (item.cluster[0])
                log_line((int)level, "cluster %s: %s", item.cluster, item.text);
        else
                log_line((int)level, "%s", item.text);
        news_add(&ours, &item);
}
