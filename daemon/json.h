/* json.h -- a writer of JSON into an evbuffer.  Commas and escapes are its business; nesting is the caller's.
 */
#ifndef PINROUTED_JSON_H
#define PINROUTED_JSON_H

#include <stdbool.h>
#include <stdint.h>

struct evbuffer;

struct json {
        struct evbuffer *out;
        bool comma; /* something stands before the next value */
};

/* `name` is the member's name inside an object, NULL inside an array or at the top. */
void json_open(struct json *j, const char *name, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);                  /* '}' or ']' */
void json_text(struct json *j, const char *name,
               const char *value); /* NULL: null; bytes outside UTF-8 become '?' */
void json_int(struct json *j, const char *name, int64_t value);
void json_unsigned(struct json *j, const char *name, uint64_t value);
void json_real(struct json *j, const char *name, double value); /* three decimals */
void json_bool(struct json *j, const char *name, bool value);
void json_null(struct json *j, const char *name);

#endif
