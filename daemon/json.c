/* json.c -- a writer of JSON.
 * The daemon never reads JSON. */
#include "daemon/json.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <string.h>

static void quoted(struct json *j, const char *s)
{
        evbuffer_add(j->out, "\"", 1);
        for (; *s; s++) {
                unsigned char c = (unsigned char)*s;
                if (c == '"' || c == '\\')
                        evbuffer_add_printf(j->out, "\\%c", c);
                else if (c < 0x20)
                        evbuffer_add_printf(j->out, "\\u%04x", c);
                else if (c >= 0x7f) /* all our own text is ASCII; a server's message may be anything */
                        evbuffer_add(j->out, "?", 1);
                else
                        evbuffer_add(j->out, s, 1);
        }
        evbuffer_add(j->out, "\"", 1);
}

static void before(struct json *j, const char *name)
{
        if (j->comma)
                evbuffer_add(j->out, ",", 1);
        j->comma = true;
        if (!name)
                return;
        quoted(j, name);
        evbuffer_add(j->out, ":", 1);
}

void json_open(struct json *j, const char *name, char bracket)
{
        before(j, name);
        evbuffer_add(j->out, &bracket, 1);
        j->comma = false;
}

void json_close(struct json *j, char bracket)
{
        evbuffer_add(j->out, &bracket, 1);
        j->comma = true;
}

void json_null(struct json *j, const char *name)
{
        before(j, name);
        evbuffer_add(j->out, "null", 4);
}

void json_text(struct json *j, const char *name, const char *value)
{
        if (!value) {
                json_null(j, name);
                return;
        }
        before(j, name);
        quoted(j, value);
}

void json_int(struct json *j, const char *name, int64_t value)
{
        before(j, name);
        evbuffer_add_printf(j->out, "%" PRId64, value);
}

void json_unsigned(struct json *j, const char *name, uint64_t value)
{
        before(j, name);
        evbuffer_add_printf(j->out, "%" PRIu64, value);
}

void json_real(struct json *j, const char *name, double value)
{
        before(j, name);
        evbuffer_add_printf(j->out, "%.3f", value);
}

void json_bool(struct json *j, const char *name, bool value)
{
        before(j, name);
        evbuffer_add_printf(j->out, "%s", value ? "true" : "false");
}
