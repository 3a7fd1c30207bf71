/* test_boot.c -- the boot id is the kernel's, byte for byte. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proto/boot.h"

Test(boot, the_bytes_spell_the_kernels_text)
{
        uint8_t id[16];
        char text[64] = "", bare[64] = "", spelt[33] = "", *end = bare;
        FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
        cr_assert(f && fgets(text, sizeof text, f));
        fclose(f);
        for (const char *at = text; *at && *at != '\n'; at++)
                if (*at != '-')
                        *end++ = *at;
        cr_assert(pnr_boot_id(id));
        for (int i = 0; i < 16; i++)
                sprintf(spelt + 2 * i, "%02x", id[i]);
        cr_assert_str_eq(spelt, bare);
}

Test(boot, it_stays_while_the_machine_is_up)
{
        uint8_t one[16], other[16];
        cr_assert(pnr_boot_id(one) && pnr_boot_id(other));
        cr_assert_arr_eq(one, other, sizeof one);
}
