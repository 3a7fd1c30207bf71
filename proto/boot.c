/* boot.c -- the boot id's text as bytes.
 * The only reader of /proc/sys/kernel/random/boot_id. */
#include "proto/boot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_SIZE 36 /* 32 digits, 4 hyphens */

bool pnr_boot_id(uint8_t ret[16])
{
        char text[TEXT_SIZE + 1] = "";
        int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_SIZE);
        if (fd >= 0)
                close(fd);
        if (n != TEXT_SIZE)
                return false;
        const char *at = text;
        for (int i = 0; i < 16; i++, at += 2) {
                char two[3] = {0};
                char *end;
                if (*at == '-')
                        at++;
                memcpy(two, at, 2);
                ret[i] = (uint8_t)strtoul(two, &end, 16);
                if (end != two + 2)
                        return false;
        }
        return true;
}
