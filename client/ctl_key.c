/* ctl_key.c -- the KEY of a command: from the command line, or from stdin, where `ps` does not see it.
 * The only file of the tool that reads stdin. */
#include "client/ctl_key.h"

#include <inttypes.h>
#include <string.h>

const char *ctl_key_read(const char *word, FILE *from, struct ctl_key *ret)
{
        size_t len = strlen(word);
        if (strcmp(word, "-") == 0) {
                len = fread(ret->bytes, 1, sizeof ret->bytes, from);
                if (ferror(from))
                        return "KEY: stdin cannot be read; name the key on the command line";
                if (len > 0 && ret->bytes[len - 1] == '\n')
                        len--;
        } else if (len <= PNR_KEY_MAX) {
                memcpy(ret->bytes, word, len);
        }
        if (len == 0)
                return "KEY is empty; give 1 to 4096 bytes";
        if (len > PNR_KEY_MAX)
                return "KEY is too long; give 1 to 4096 bytes";
        ret->len = len;
        return NULL;
}

void ctl_key_hex(const struct ctl_key *key, char hex[33])
{
        struct pnr_key k = pnr_key_of(key->bytes, key->len);
        snprintf(hex, 33, "%016" PRIx64 "%016" PRIx64, k.w[0], k.w[1]);
}
