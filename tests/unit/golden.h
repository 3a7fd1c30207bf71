/* golden.h -- tests/contract/golden/NAME.hex: bytes that another process sees, as a version wrote them.
 * Two hexadecimal digits a byte; white space, and `#` to the end of the line, say something to people only.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "proto/store.h"

/* The next byte; -1: the end. */
static inline int golden_next(FILE *f)
{
        unsigned byte;
        for (int c; (c = fgetc(f)) != EOF;) {
                if (c == '#')
                        while (c != '\n' && c != EOF)
                                c = fgetc(f);
                if (c == EOF || isspace(c))
                        continue;
                ungetc(c, f);
                cr_assert_eq(fscanf(f, "%2x", &byte), 1, "not hexadecimal");
                return (int)byte;
        }
        return -1;
}

/* What a new file would hold. */
static inline void golden_print(const unsigned char *bytes, size_t size)
{
        for (size_t i = 0; i < size; i++)
                fprintf(stderr, "%02x%s", bytes[i], i % 32 == 31 || i + 1 == size ? "\n" : " ");
}

/* Is what we write today what `name` says?  bump: what to raise if it was meant to change. */
static inline void expect_golden(const char *name, const void *record, size_t size, const char *bump)
{
        static unsigned char was[PNR_PAGE_SIZE + 1];
        char path[512];
        size_t n = 0;
        snprintf(path, sizeof path, "%s/%s.hex", GOLDEN_DIR, name);
        FILE *f = fopen(path, "re");
        for (int byte; f && n < sizeof was && (byte = golden_next(f)) >= 0; n++)
                was[n] = (unsigned char)byte;
        if (f)
                fclose(f);
        bool same = f && n == size && memcmp(was, record, size) == 0;
        if (!same)
                golden_print(record, size);
        cr_expect(same,
                  "%s.hex differs from the bytes above: the other process may be of the version before, so "
                  "bump %s and add a new file; never change one that was released",
                  name, bump);
}

#endif
