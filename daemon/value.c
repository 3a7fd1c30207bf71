/* value.c -- what stands right of a `=`: counts, durations, paths and words, read and shown.
 * Pure: opens, resolves and looks up nothing. */
#include "daemon/value.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/conf.h"
#include "proto/nearest.h"

#define LONGEST_SOCKET "/pinrouted.sock"
#define DIGITS         "0123456789"

static_assert(VALUE_TEXT_MAX == CONF_WORD_MAX, "text options are fields of struct conf");

struct choice {
        const char *word;
        int64_t value;
};

/* The words of a kind that knows only these; NULL for the other kinds. */
static const struct choice *choices(enum value_kind kind)
{
        static const struct choice on_off[] = {{"off", 0}, {"on", 1}, {0}};
        static const struct choice log_level[] = {{"error", CONF_LOG_ERROR},
                                                  {"warning", CONF_LOG_WARNING},
                                                  {"info", CONF_LOG_INFO},
                                                  {"debug", CONF_LOG_DEBUG},
                                                  {0}};
        static const struct choice log_to[] = {
            {"stderr", CONF_LOG_TO_STDERR}, {"syslog", CONF_LOG_TO_SYSLOG}, {0}};
        static const struct choice no_replica[] = {
            {"primary", CONF_NO_REPLICA_PRIMARY}, {"error", CONF_NO_REPLICA_ERROR}, {0}};
        static const struct choice balance[] = {
            {"round_robin", CONF_BALANCE_ROUND_ROBIN}, {"affinity", CONF_BALANCE_AFFINITY}, {0}};
        static const struct choice cleartext[] = {
            {"refuse", CONF_CLEARTEXT_REFUSE}, {"allow", CONF_CLEARTEXT_ALLOW}, {0}};
        static const struct choice remote[] = {
            {"refuse", CONF_HTTP_REMOTE_REFUSE}, {"allow", CONF_HTTP_REMOTE_ALLOW}, {0}};
        static const struct choice role[] = {{"replica", 0}, {"primary", 1}, {0}};

        switch (kind) {
        case VALUE_ON_OFF: return on_off;
        case VALUE_LOG_LEVEL: return log_level;
        case VALUE_LOG_TO: return log_to;
        case VALUE_NO_REPLICA: return no_replica;
        case VALUE_BALANCE: return balance;
        case VALUE_CLEARTEXT: return cleartext;
        case VALUE_REMOTE: return remote;
        case VALUE_ROLE: return role;
        case VALUE_PATH:
        case VALUE_LISTEN:
        case VALUE_HOSTS:
        case VALUE_GROUP:
        case VALUE_USER:
        case VALUE_FILE:
        case VALUE_COUNT:
        case VALUE_SECONDS:
        case VALUE_DURATION: break;
        }
        return NULL;
}

__attribute__((format(printf, 2, 3))) static bool refuse(char *why, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(why, VALUE_WHY_MAX, format, args);
        va_end(args);
        return false;
}

static bool read_choice(const struct choice *of, const char *text, int64_t *ret, char *why)
{
        struct pnr_nearest near = {.limit = pnr_nearest_limit(text)};
        char all[80] = "";
        for (const struct choice *c = of; c->word; c++) {
                if (strcmp(c->word, text) == 0) {
                        *ret = c->value;
                        return true;
                }
                pnr_nearest_try(&near, text, c->word);
                size_t n = strlen(all);
                snprintf(all + n, sizeof all - n, "%s%s", !n ? "" : c[1].word ? ", " : " or ", c->word);
        }
        if (near.word)
                return refuse(why, "\"%.60s\" is not known; did you mean %s? say %s", text, near.word, all);
        return refuse(why, "\"%.60s\" is not known; say %s", text, all);
}

/* Digits only, up to 18 of them: no sign, no overflow.  Returns what follows them, NULL when there are none.
 */
static const char *read_digits(const char *text, int64_t *ret)
{
        size_t n = strspn(text, DIGITS);
        if (n == 0 || n > 18)
                return NULL;
        *ret = 0;
        for (size_t i = 0; i < n; i++)
                *ret = *ret * 10 + (text[i] - '0');
        return text + n;
}

static bool read_count(const struct value_rule *rule, const char *text, int64_t *ret, char *why)
{
        int64_t n;
        const char *end = read_digits(text, &n);
        if (!end || *end)
                return refuse(why, "\"%.60s\" is not a whole number; say one of %" PRId64 "..%" PRId64, text,
                              rule->min, rule->max);
        if (n < rule->min || n > rule->max)
                return refuse(why, "%.60s is out of range; say %" PRId64 "..%" PRId64, text, rule->min,
                              rule->max);
        *ret = n;
        return true;
}

/* Milliseconds in one of a unit; 0: there is no such unit. */
static int64_t unit_ms(const char *unit, enum value_kind kind)
{
        if (strcmp(unit, "ms") == 0)
                return 1;
        if (strcmp(unit, "s") == 0 || (*unit == '\0' && kind == VALUE_SECONDS))
                return 1000;
        return strcmp(unit, "min") == 0 ? 60000 : 0;
}

static bool read_duration(const struct value_rule *rule, const char *text, int64_t *ret, char *why)
{
        int64_t n, ms;
        const char *unit = read_digits(text, &n);
        if (!unit)
                return refuse(why, "\"%.60s\" is not a duration; say 500ms, 15s or 2min", text);
        if (*unit == '\0' && rule->kind == VALUE_DURATION)
                return refuse(why, "%.60s has no unit; say %.60sms or %.60ss", text, text, text);
        int64_t in_ms = unit_ms(unit + strspn(unit, " \t"), rule->kind);
        if (in_ms == 0)
                return refuse(why, "\"%.60s\" is not a unit of time; say 500ms, 15s or 2min", unit);
        if (__builtin_mul_overflow(n, in_ms, &ms) || ms < rule->min || ms > rule->max) {
                char min[32], max[32];
                value_show(VALUE_DURATION, &rule->min, min, sizeof min);
                value_show(VALUE_DURATION, &rule->max, max, sizeof max);
                return refuse(why, "%.60s is out of range; say %s..%s", text, min, max);
        }
        *ret = ms;
        return true;
}

static bool path_is_absolute(const char *text, char *why)
{
        return text[0] == '/' || refuse(why, "\"%.60s\" is not an absolute path; begin it with /", text);
}

/* A path that bind() can take with `tail` behind it. */
static bool path_fits(const char *text, const char *tail, char *why)
{
        size_t most = sizeof((struct sockaddr_un *)0)->sun_path - strlen(tail) - 1;
        if (!path_is_absolute(text, why))
                return false;
        if (strlen(text) > most)
                return refuse(why, "%zu bytes are too long for a socket address; use at most %zu",
                              strlen(text), most);
        return true;
}

static bool address_is_numeric(const char *text, size_t n)
{
        char addr[INET6_ADDRSTRLEN];
        unsigned char buf[sizeof(struct in6_addr)];
        bool v6 = n > 2 && text[0] == '[' && text[n - 1] == ']';
        if (v6)
                text++, n -= 2;
        if (n >= sizeof addr)
                return false;
        memcpy(addr, text, n);
        addr[n] = '\0';
        return inet_pton(v6 ? AF_INET6 : AF_INET, addr, buf) == 1;
}

static bool listen_is_valid(const char *text, char *why)
{
        if (text[0] == '\0')
                return true;
        if (text[0] == '/')
                return path_fits(text, "", why);
        const char *colon = strrchr(text, ':');
        int64_t port = 0;
        const char *end = colon ? read_digits(colon + 1, &port) : NULL;
        if (!colon || !end || *end || !address_is_numeric(text, (size_t)(colon - text)))
                return refuse(why,
                              "\"%.60s\" is not ADDR:PORT; say 127.0.0.1:9899, [::1]:9899, an absolute path, "
                              "or nothing",
                              text);
        if (port < 1 || port > 65535)
                return refuse(why, "port %" PRId64 " is out of range; say 1..65535", port);
        return true;
}

static bool name_is_valid(enum value_kind kind, const char *text, char *why)
{
        bool user = kind == VALUE_USER;
        if (text[0] == '-' || strpbrk(text, " \t:,/"))
                return refuse(why, "\"%.60s\" is not a %s's name; say one name of %s, or nothing", text,
                              user ? "user" : "group", user ? "/etc/passwd" : "/etc/group");
        return true;
}

static bool hosts_are_valid(const char *text, char *why)
{
        static const char allowed[] = DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._ \t";
        size_t n = strspn(text, allowed);
        return !text[n] || refuse(why,
                                  "\"%.60s\" is no part of a host's name; say names without ports, such as "
                                  "metrics.example.com, separated by spaces alone",
                                  text + n);
}

static bool read_text(enum value_kind kind, const char *text, char *field, char *why)
{
        if (strlen(text) >= VALUE_TEXT_MAX)
                return refuse(why, "%zu bytes are too long; use at most %d", strlen(text),
                              VALUE_TEXT_MAX - 1);
        if (kind == VALUE_PATH && !path_fits(text, LONGEST_SOCKET, why))
                return false;
        if (kind == VALUE_LISTEN && !listen_is_valid(text, why))
                return false;
        if (kind == VALUE_HOSTS && !hosts_are_valid(text, why))
                return false;
        if ((kind == VALUE_GROUP || kind == VALUE_USER) && !name_is_valid(kind, text, why))
                return false;
        if (kind == VALUE_FILE && *text && !path_is_absolute(text, why))
                return false;
        memcpy(field, text, strlen(text) + 1);
        return true;
}

bool value_read(const struct value_rule *rule, const char *text, void *field, char why[VALUE_WHY_MAX])
{
        const struct choice *of = choices(rule->kind);
        if (of)
                return read_choice(of, text, field, why);
        if (rule->kind == VALUE_COUNT)
                return read_count(rule, text, field, why);
        if (rule->kind == VALUE_SECONDS || rule->kind == VALUE_DURATION)
                return read_duration(rule, text, field, why);
        return read_text(rule->kind, text, field, why);
}

void value_show(enum value_kind kind, const void *field, char *buf, size_t size)
{
        const struct choice *c = choices(kind);
        if (value_is_text(kind)) {
                snprintf(buf, size, "%s", (const char *)field);
                return;
        }
        int64_t n = *(const int64_t *)field;
        for (; c && c->word; c++)
                if (c->value == n) {
                        snprintf(buf, size, "%s", c->word);
                        return;
                }
        bool is_time = kind == VALUE_SECONDS || kind == VALUE_DURATION;
        bool whole = is_time && n % 1000 == 0;
        const char *unit = !is_time ? "" : !whole ? "ms" : kind == VALUE_SECONDS ? "" : "s";
        snprintf(buf, size, "%" PRId64 "%s", whole ? n / 1000 : n, unit);
}
