/* html.c -- a writer of HTML, with the one place where text is escaped.
 * Pure: writes into the buffer that it is given. */
#include "daemon/html.h"

#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/text.h"

#define TEXT_MAX 1000

static const char *entity(char c)
{
        switch (c) {
        case '&': return "&amp;";
        case '<': return "&lt;";
        case '>': return "&gt;";
        case '"': return "&quot;";
        default: return "&#39;";
        }
}

void html_put(struct evbuffer *out, const char *literal) { evbuffer_add(out, literal, strlen(literal)); }

void html_text(struct evbuffer *out, const char *text)
{
        char clean[TEXT_MAX];
        text_clean(clean, sizeof clean, text);
        for (const char *s = clean; *s;) {
                size_t plain = strcspn(s, "&<>\"'");
                evbuffer_add(out, s, plain);
                s += plain;
                if (*s)
                        html_put(out, entity(*s++));
        }
}

void html_textf(struct evbuffer *out, const char *format, ...)
{
        char text[TEXT_MAX];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        html_text(out, text);
}
