/* keyfile.c -- key_file: the keys that tokens are signed with, the same on all hosts.
 * Reads one regular file that others may not read, once; keeps nothing between calls. */
#include "daemon/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/user.h"

#define FILE_SIZE_MAX 16384
#define BLANKS        " \t\r"
#define DIGITS        (2 * PNR_TOKEN_KEY_SIZE)
#define MAKE_ONE      "`openssl rand -hex 32` makes one"

struct reader {
        const char *path;
        void (*complain)(void *arg, const char *message);
        void *arg;
        struct pnr_token_keys keys;
        unsigned lines[PNR_TOKEN_KEYS_MAX]; /* where each key stands */
        unsigned line, mistakes, surplus;
};

/* "FILE:LINE: what; mend".  line 0: of the file. */
__attribute__((format(printf, 3, 4))) static void mistake(struct reader *r, unsigned line, const char *format,
                                                          ...)
{
        char text[1024], where[16] = "";
        if (line)
                snprintf(where, sizeof where, ":%u", line);
        int n = snprintf(text, sizeof text, "%.500s%s: ", r->path, where);
        va_list args;
        va_start(args, format);
        vsnprintf(text + n, sizeof text - (size_t)n, format, args);
        va_end(args);
        r->mistakes++;
        r->complain(r->arg, text);
}

/* 16: it is no digit. */
static unsigned digit(char c)
{
        if (c >= '0' && c <= '9')
                return (unsigned)(c - '0');
        if (c >= 'a' && c <= 'f')
                return (unsigned)(c - 'a') + 10;
        return c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 16;
}

static bool read_key(struct reader *r, const char *text, size_t n, uint8_t ret[PNR_TOKEN_KEY_SIZE])
{
        for (size_t i = 0; i < n; i++)
                if (digit(text[i]) == 16) {
                        mistake(r, r->line,
                                "character %zu of the key is no hexadecimal digit; a key is %d of 0-9 a-f, "
                                "and " MAKE_ONE,
                                i + 1, DIGITS);
                        return false;
                }
        if (n != DIGITS) {
                mistake(r, r->line, "a key of %zu digits; it has %d: " MAKE_ONE, n, DIGITS);
                return false;
        }
        for (size_t i = 0; i < PNR_TOKEN_KEY_SIZE; i++)
                ret[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
        return true;
}

static void add_key(struct reader *r, const uint8_t key[PNR_TOKEN_KEY_SIZE])
{
        struct pnr_token_keys *keys = &r->keys;
        for (unsigned i = 0; i < keys->n; i++)
                if (!memcmp(keys->key[i], key, PNR_TOKEN_KEY_SIZE)) {
                        mistake(r, r->line, "the same key as in line %u; delete one of the two", r->lines[i]);
                        return;
                }
        if (keys->n == PNR_TOKEN_KEYS_MAX) {
                if (!r->surplus++)
                        mistake(r, r->line, "more than %d keys; delete those whose tokens have expired",
                                PNR_TOKEN_KEYS_MAX);
                return;
        }
        r->lines[keys->n] = r->line;
        memcpy(keys->key[keys->n++], key, PNR_TOKEN_KEY_SIZE);
}

/* A comment begins with # or ; at the line's beginning or after white space. */
static void read_line(struct reader *r, char *text)
{
        uint8_t key[PNR_TOKEN_KEY_SIZE];
        text += strspn(text, BLANKS);
        size_t n = strcspn(text, BLANKS);
        const char *rest = text + n + strspn(text + n, BLANKS);
        if (!n || *text == '#' || *text == ';')
                return;
        if (*rest && *rest != '#' && *rest != ';')
                mistake(r, r->line, "more than a key; write one key a line, and # before a comment");
        else if (read_key(r, text, n, key))
                add_key(r, key);
}

static void read_text(struct reader *r, char *text, size_t size)
{
        char *end = text + size;
        *end = '\0';
        for (char *next; text < end; text = next) {
                r->line++;
                char *newline = memchr(text, '\n', (size_t)(end - text));
                next = newline ? newline + 1 : end;
                if (newline)
                        *newline = '\0';
                if (strlen(text) < (size_t)((newline ? newline : end) - text)) {
                        mistake(r, r->line, "a NUL byte: this is not a text file; write the keys in digits");
                        return;
                }
                read_line(r, text);
        }
        if (!r->keys.n && !r->mistakes)
                mistake(r, 0, "holds no key; write one into it, " MAKE_ONE);
}

/* The bytes that were read, up to FILE_SIZE_MAX; -1 after a complaint. */
static ssize_t slurp(struct reader *r, int fd, char *text)
{
        struct stat st;
        ssize_t n = -1;
        if (fd < 0 || fstat(fd, &st) < 0)
                mistake(r, 0, "%s; %s", strerror(errno),
                        errno == EACCES ? user_must_read()
                                        : "create it, or correct key_file in the config file");
        else if (!S_ISREG(st.st_mode) || st.st_size > FILE_SIZE_MAX)
                mistake(r, 0, "is no regular file of up to 16 KiB; name a file of keys");
        else if (st.st_mode & 007)
                mistake(r, 0,
                        "users outside its group may get at it (mode %04o); chmod o= it, and make new keys",
                        st.st_mode & 07777);
        else if ((n = read(fd, text, FILE_SIZE_MAX)) < 0)
                mistake(r, 0, "%s; try again", strerror(errno));
        return n;
}

bool keyfile_read(const char *path, struct pnr_token_keys *ret,
                  void (*complain)(void *arg, const char *message), void *arg)
{
        struct reader r = {.path = path, .complain = complain, .arg = arg};
        char text[FILE_SIZE_MAX + 1];
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        ssize_t n = slurp(&r, fd, text);
        if (fd >= 0)
                close(fd);
        if (n >= 0)
                read_text(&r, text, (size_t)n);
        *ret = r.mistakes ? (struct pnr_token_keys){0} : r.keys;
        explicit_bzero(text, sizeof text);
        explicit_bzero(&r.keys, sizeof r.keys);
        return !r.mistakes;
}
