/* boot.h -- which boot of this machine is it?  Times in the store count from there.
 * libc only; reads /proc. */
#ifndef PNR_BOOT_H
#define PNR_BOOT_H

#include <stdbool.h>
#include <stdint.h>

/* The bytes of /proc/sys/kernel/random/boot_id.  False: no /proc, or no such text in it.
 * Three system calls; any thread; leaves errno as the last of them did. */
bool pnr_boot_id(uint8_t ret[16]);

#endif
