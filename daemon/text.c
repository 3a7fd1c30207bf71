/* text.c -- makes one printable line of bytes that came from outside.
 * Pure: no I/O, no allocation. */
#include "daemon/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 sequence of 2..4 bytes at `s`, 0 when it is none: overlong, surrogate, cut off, too
 * big, or one of the C1 controls, on which terminals act. */
static size_t utf8_length(const unsigned char *s)
{
        static const uint32_t least[] = {0, 0, 0xA0, 0x800, 0x10000};
        size_t n = (s[0] & 0xE0) == 0xC0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : (s[0] & 0xF8) == 0xF0 ? 4 : 0;
        uint32_t code = s[0] & (0x7Fu >> n);

        for (size_t i = 1; i < n; i++) {
                if ((s[i] & 0xC0) != 0x80)
                        return 0;
                code = code << 6 | (s[i] & 0x3Fu);
        }
        if (n == 0 || code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
                return 0;
        return n;
}

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Writes what stands for the bytes at `s` into `shown`; returns how many bytes of `s` that were. */
static size_t show_one(const char *s, char shown[8])
{
        if (is_blank(*s)) {
                strcpy(shown, " ");
                return strspn(s, " \t\n\v\f\r");
        }
        size_t n = (unsigned char)*s < 0x80 ? 1 : utf8_length((const unsigned char *)s);
        if (n == 0 || (n == 1 && (*s < ' ' || *s == 0x7F))) {
                snprintf(shown, 8, "\\x%02x", (unsigned char)*s);
                return 1;
        }
        memcpy(shown, s, n);
        shown[n] = '\0';
        return n;
}

void text_clean(char *dst, size_t size, const char *src)
{
        char shown[8];
        size_t used = 0;

        while (*src) {
                src += show_one(src, shown);
                size_t n = strlen(shown);
                if (used + n >= size)
                        break;
                memcpy(dst + used, shown, n);
                used += n;
        }
        dst[used] = '\0';
}

void text_hide(char *text, const char *secret)
{
        size_t n = secret ? strlen(secret) : 0;

        for (char *at = text; n > 0 && (at = strstr(at, secret)); at += n)
                memset(at, '*', n);
}
