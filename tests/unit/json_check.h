/* json_check.h -- is this text one JSON document?  Strict enough for what json.c can get wrong. */
#ifndef JSON_CHECK_H
#define JSON_CHECK_H

#include <stdbool.h>
#include <string.h>

/* Returns what follows the value at `s`, NULL: no value. */
static inline const char *json_check_value(const char *s);

static inline const char *json_check_text(const char *s)
{
        if (!s || *s++ != '"')
                return NULL;
        for (; *s != '"'; s++) {
                if ((unsigned char)*s < 0x20)
                        return NULL;
                if (*s == '\\' && !strchr("\"\\u", *++s))
                        return NULL;
        }
        return s + 1;
}

static inline const char *json_check_list(const char *s, char end)
{
        if (*s == end)
                return s + 1;
        for (;; s++) {
                if (end == '}') {
                        s = json_check_text(s);
                        if (!s || *s++ != ':')
                                return NULL;
                }
                s = json_check_value(s);
                if (!s || *s != ',')
                        return s && *s == end ? s + 1 : NULL;
        }
}

static inline const char *json_check_value(const char *s)
{
        static const char *const words[] = {"null", "true", "false"};
        if (*s == '{' || *s == '[')
                return json_check_list(s + 1, *s == '{' ? '}' : ']');
        if (*s == '"')
                return json_check_text(s);
        for (unsigned i = 0; i < 3; i++)
                if (!strncmp(s, words[i], strlen(words[i])))
                        return s + strlen(words[i]);
        size_t n = strspn(s, "-0123456789.");
        return n ? s + n : NULL;
}

static inline bool json_check(const char *text)
{
        const char *end = json_check_value(text);
        return end && !*end;
}

#endif
