/* value.h -- what stands right of a `=`: counts, durations, paths and words, read and shown.
 * Pure. */
#ifndef PINROUTED_VALUE_H
#define PINROUTED_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VALUE_TEXT_MAX 256 /* bytes of a field of a text kind, its NUL included */
#define VALUE_WHY_MAX  400

enum value_kind {
        VALUE_PATH,     /* text: absolute, and short enough for a socket in it */
        VALUE_LISTEN,   /* text: ADDR:PORT, absolute path, or "" */
        VALUE_HOSTS,    /* text: names of hosts, or "" */
        VALUE_GROUP,    /* text: a group's name, or "" */
        VALUE_USER,     /* text: a user's name, or "" */
        VALUE_FILE,     /* text: absolute path, or "" */
        VALUE_COUNT,    /* int64_t, this and all below */
        VALUE_SECONDS,  /* ms; a bare number is seconds */
        VALUE_DURATION, /* ms; the unit is asked for */
        VALUE_ON_OFF,
        VALUE_LOG_LEVEL,
        VALUE_LOG_TO,
        VALUE_NO_REPLICA,
        VALUE_BALANCE,
        VALUE_CLEARTEXT,
        VALUE_REMOTE,
        VALUE_ROLE, /* 1: primary */
};

struct value_rule {
        enum value_kind kind;
        int64_t min, max; /* of COUNT, SECONDS, DURATION */
};

static inline bool value_is_text(enum value_kind kind) { return kind <= VALUE_FILE; }

/* Reads `text` into `field`: char[VALUE_TEXT_MAX] or int64_t.  False: *field is as before, and `why` says
 * what is wrong and how to mend it: "what; mend". */
bool value_read(const struct value_rule *rule, const char *text, void *field, char why[VALUE_WHY_MAX]);

/* As it would stand in the file. */
void value_show(enum value_kind kind, const void *field, char *buf, size_t size);

#endif
