/* conninfo.c -- libpq connection strings: their words, their check, and the part that is no secret.
 * Includes <libpq-fe.h> for PQconninfoParse() alone: neither connects nor resolves.  No state. */
#include "daemon/conninfo.h"

#include <libpq-fe.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/login.h"
#include "proto/nearest.h"

#define SPACE " \t\r\n\v\f"

__attribute__((format(printf, 2, 3))) static bool refuse(char *why, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(why, CONNINFO_WHY_MAX, format, args);
        va_end(args);
        return false;
}

/* Copies the value at `at` out of its quotes, by libpq's rules: a backslash takes the next character as it
 * is. Returns what follows it; NULL when a quote stays open or the value is too long. */
static const char *read_value(const char *at, char value[CONNINFO_WORD_MAX], bool *too_long)
{
        bool quoted = *at == '\'';
        size_t n = 0;
        for (at += quoted; *at && (quoted ? *at != '\'' : !strchr(SPACE, *at)); at++) {
                if (*at == '\\' && at[1])
                        at++;
                if (n + 1 >= CONNINFO_WORD_MAX) {
                        *too_long = true;
                        return NULL;
                }
                value[n++] = *at;
        }
        value[n] = '\0';
        if (quoted && *at != '\'')
                return NULL;
        return at + quoted;
}

static bool comment_or_end(const char *at, bool after_space)
{
        return *at == '\0' || (after_space && (*at == ';' || *at == '#'));
}

/* Neither key nor value is repeated: both may be the rest of a password with a space in it. */
static enum conninfo_next bad_word(const char *word, char *why)
{
        const char *slashes = strstr(word, "://");
        if (slashes && strcspn(word, SPACE) > (size_t)(slashes - word))
                refuse(why, "a URI is not taken here; write it as host=... port=... dbname=... user=...");
        else
                refuse(
                    why,
                    "a word without key and \"=\"; write key=value, and quotes around a value with spaces: "
                    "application_name='my app'");
        return CONNINFO_BAD;
}

enum conninfo_next conninfo_next(const char **at, struct conninfo_word *ret, char why[CONNINFO_WHY_MAX])
{
        size_t space = strspn(*at, SPACE);
        const char *p = ret->from = *at + space;
        if (comment_or_end(p, space > 0))
                return CONNINFO_END;
        size_t n = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
        const char *eq = p + n + strspn(p + n, SPACE);
        if (*eq != '=' || n == 0 || n >= sizeof ret->key)
                return bad_word(p, why);
        memcpy(ret->key, p, n);
        ret->key[n] = '\0';
        p = eq + 1;
        space = strspn(p, SPACE);
        bool too_long = false;
        ret->value[0] = '\0';
        p = comment_or_end(p + space, space > 0) ? p : read_value(p + space, ret->value, &too_long);
        if (!p) {
                refuse(why, too_long ? "a value is too long; use at most 1,000 bytes"
                                     : "a quote is not closed; end the value with '");
                return CONNINFO_BAD;
        }
        ret->to = *at = p;
        return CONNINFO_WORD;
}

static const char *value_of(const PQconninfoOption *options, const char *key)
{
        for (const PQconninfoOption *o = options; o->keyword; o++)
                if (strcmp(o->keyword, key) == 0)
                        return o->val && *o->val ? o->val : NULL;
        return NULL;
}

static bool known_key(const PQconninfoOption *known, const char *key, struct pnr_nearest *near)
{
        for (const PQconninfoOption *o = known; o->keyword; o++) {
                if (strcmp(o->keyword, key) == 0)
                        return true;
                pnr_nearest_try(near, key, o->keyword);
        }
        return false;
}

/* What stands behind `password=` may be the rest of a password with a space in it: it is not repeated. */
static bool keys_are_known(const char *conninfo, const PQconninfoOption *known, const char *const also[],
                           char *why)
{
        struct conninfo_word word;
        bool secret = false;
        enum conninfo_next next;
        while ((next = conninfo_next(&conninfo, &word, why)) == CONNINFO_WORD) {
                struct pnr_nearest near = {.limit = pnr_nearest_limit(word.key)};
                for (const char *const *a = also; *a; a++)
                        pnr_nearest_try(&near, word.key, *a);
                if (known_key(known, word.key, &near))
                        secret |= strstr(word.key, "password") != NULL;
                else if (secret)
                        return refuse(
                            why, "a word after the password is not an option of libpq; put quotes around a "
                                 "password with spaces: password='two words'");
                else if (near.word)
                        return refuse(why,
                                      "%s: unknown, did you mean %s? see \"Parameter Key Words\" of libpq",
                                      word.key, near.word);
                else
                        return refuse(why,
                                      "%s: unknown; use the key words of libpq: host, port, dbname, user ...",
                                      word.key);
        }
        return next == CONNINFO_END;
}

static bool address_is_numeric(const char *text)
{
        struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *found;
        if (getaddrinfo(text, NULL, &hints, &found) != 0)
                return false;
        freeaddrinfo(found);
        return true;
}

static bool port_is_valid(const char *text)
{
        char *end;
        long port = strtol(text, &end, 10);
        return *end == '\0' && port >= 1 && port <= 65535;
}

static bool sslmode_is_valid(const char *text)
{
        static const char *const modes[] = {"disable", "allow",     "prefer",
                                            "require", "verify-ca", "verify-full"};
        for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
                if (strcmp(modes[i], text) == 0)
                        return true;
        return false;
}

/* What libpq itself would only find out when it connects. */
static bool names_one_server(const PQconninfoOption *o, char *why)
{
        static const char *const single[] = {"host", "hostaddr", "port"};
        for (size_t i = 0; i < sizeof single / sizeof *single; i++) {
                const char *v = value_of(o, single[i]);
                if (v && strchr(v, ','))
                        return refuse(why,
                                      "%s: \"%.80s\" is a list; a node is one server: give each its own line",
                                      single[i], v);
        }
        const char *addr = value_of(o, "hostaddr"), *port = value_of(o, "port"),
                   *ssl = value_of(o, "sslmode");
        if (value_of(o, "service"))
                return refuse(
                    why, "service: a service file is not read; write host=, port=, dbname= and user= here");
        if (!addr && !value_of(o, "host"))
                return refuse(why, "host: missing; say where the server is: host=10.0.0.10");
        if (addr && !address_is_numeric(addr))
                return refuse(why, "hostaddr: \"%.80s\" is not an IP address; say host=%.80s for a name",
                              addr, addr);
        if (port && !port_is_valid(port))
                return refuse(why, "port: \"%.80s\" is not a port; say 1..65535", port);
        if (ssl && !sslmode_is_valid(ssl))
                return refuse(
                    why,
                    "sslmode: \"%.80s\" is not known; say disable, allow, prefer, require, verify-ca or "
                    "verify-full",
                    ssl);
        return true;
}

/* Appends ` key=value`, in quotes where libpq needs them.  False: no room. */
static bool append(char *buf, size_t size, const char *key, const char *value)
{
        size_t n = strlen(buf);
        bool quote = strpbrk(value, SPACE "'\\;#") != NULL;
        char quoted[2 * CONNINFO_WORD_MAX], *q = quoted;
        for (; *value && q < quoted + sizeof quoted - 2; value++) {
                if (*value == '\'' || *value == '\\')
                        *q++ = '\\';
                *q++ = *value;
        }
        *q = '\0';
        const char *mark = quote ? "'" : "";
        int wrote = snprintf(buf + n, size - n, "%s%s=%s%s%s", n ? " " : "", key, mark, quoted, mark);
        return *value == '\0' && (size_t)wrote < size - n;
}

static bool fill_endpoint(const PQconninfoOption *options, char endpoint[PNR_ENDPOINT_MAX], char *why)
{
        static const char *const open_to_all[] = {"host", "hostaddr", "port", "dbname", "sslmode"};
        endpoint[0] = '\0';
        for (size_t i = 0; i < sizeof open_to_all / sizeof *open_to_all; i++) {
                const char *v = value_of(options, open_to_all[i]);
                if (v && !append(endpoint, PNR_ENDPOINT_MAX, open_to_all[i], v))
                        return refuse(
                            why, "host, port, dbname and sslmode together are too long; use at most %d bytes",
                            PNR_ENDPOINT_MAX - 1);
        }
        return true;
}

static bool parsed_is_good(const char *conninfo, const PQconninfoOption *known, const char *const also[],
                           char *endpoint, char *why)
{
        if (!keys_are_known(conninfo, known, also, why))
                return false;
        PQconninfoOption *options = PQconninfoParse(conninfo, NULL);
        if (!options)
                return refuse(why, "libpq cannot read it; write it as host=... port=... dbname=... user=...");
        bool good = names_one_server(options, why) && fill_endpoint(options, endpoint, why);
        login_forget(options);
        return good;
}

bool conninfo_check(const char *conninfo, const char *const also[], char endpoint[PNR_ENDPOINT_MAX],
                    char why[CONNINFO_WHY_MAX])
{
        if (strlen(conninfo) >= PROBER_CONNINFO_MAX)
                return refuse(why, "%zu bytes are too long; use at most %d", strlen(conninfo),
                              PROBER_CONNINFO_MAX - 1);
        PQconninfoOption *known = PQconninfoParse("", NULL);
        if (!known)
                return refuse(why, "out of memory; try again");
        bool good = parsed_is_good(conninfo, known, also, endpoint, why);
        PQconninfoFree(known);
        return good;
}
