/* html_check.h -- is this HTML whole: every element closed in its turn, no character that should be an entity? */
#ifndef HTML_CHECK_H
#define HTML_CHECK_H

#include <ctype.h>
#include <event2/buffer.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HTML_DEPTH 32

struct html_check {
        const char *at;
        char open[HTML_DEPTH][16];
        unsigned depth;
        char error[128];
};

static inline bool html_wrong(struct html_check *h, const char *what)
{
        snprintf(h->error, sizeof h->error, "%s at %.60s", what, h->at);
        return false;
}

/* Elements that have no end. */
static inline bool html_is_void(const char *name) { return !strcmp(name, "meta") || !strcmp(name, "link"); }

static inline bool html_attributes(struct html_check *h, bool *closed)
{
        for (;;) {
                h->at += strspn(h->at, " \n");
                if (*h->at == '>')
                        return true;
                if (!strncmp(h->at, "/>", 2)) {
                        *closed = true;
                        h->at++;
                        return true;
                }
                size_t name = strspn(h->at, "abcdefghijklmnopqrstuvwxyzABR-");
                h->at += name;
                if (!name && *h->at != '>')
                        return html_wrong(h, "no attribute");
                if (!strncmp(h->at, "=\"", 2)) {
                        h->at += 2;
                        h->at += strcspn(h->at, "\"<");
                        if (*h->at++ != '"')
                                return html_wrong(h, "an attribute that does not end");
                }
        }
}

static inline bool html_tag(struct html_check *h)
{
        char name[16] = "";
        bool end = h->at[1] == '/', closed = false;
        h->at += end ? 2 : 1;
        for (unsigned n = 0; n < sizeof name - 1 && isalnum((unsigned char)*h->at); n++)
                name[n] = *h->at++;
        if (end) {
                if (*h->at != '>' || !h->depth || strcmp(h->open[--h->depth], name) != 0)
                        return html_wrong(h, "an end of what did not begin");
                h->at++;
                return true;
        }
        if (!name[0] || !html_attributes(h, &closed))
                return name[0] ? false : html_wrong(h, "a bare <");
        h->at++;
        if (!strcmp(name, "style") || !strcmp(name, "script"))
                h->at += strcspn(h->at, "<");
        if (closed || html_is_void(name))
                return true;
        if (h->depth == HTML_DEPTH)
                return html_wrong(h, "too deep");
        memcpy(h->open[h->depth++], name, sizeof name);
        return true;
}

/* "": it is whole. */
static inline const char *html_check(const char *text)
{
        static struct html_check h;
        h = (struct html_check){.at = text};
        if (!strncmp(text, "<!doctype html>", 15))
                h.at += 15;
        while (*h.at) {
                h.at += strcspn(h.at, "<>&");
                if (*h.at == '<') {
                        if (!html_tag(&h))
                                return h.error;
                } else if (*h.at == '>' || (*h.at == '&' && !memchr(h.at, ';', 7))) {
                        html_wrong(&h, "a bare character");
                        return h.error;
                } else if (*h.at)
                        h.at++;
        }
        if (h.depth)
                html_wrong(&h, h.open[h.depth - 1]);
        return h.error;
}

/* What stands in the buffer, as a string that stays until the next call; the buffer is empty then. */
static inline const char *html_taken(struct evbuffer *out)
{
        static char *text;
        size_t n = evbuffer_get_length(out);
        free(text);
        text = malloc(n + 1);
        if (!text)
                return "";
        evbuffer_remove(out, text, n);
        text[n] = '\0';
        return text;
}

#endif
