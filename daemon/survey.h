/* survey.h -- what a store file that was found holds, and whether it can be trusted.
 * Reads through daemon/image.h alone; changes nothing. */
#ifndef PINROUTED_SURVEY_H
#define PINROUTED_SURVEY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "daemon/store.h"

struct survey {
        bool whole;   /* every byte that matters is as this daemon would have written it, by this clock */
        bool refused; /* no stub trusts this file: of another boot, retired, a copy, or not there */
        bool retired, copied, absent, other_boot;
        bool
            unread; /* for want of memory or descriptors, say: what it holds is unknown, not that it is bad */
        struct stat st; /* of the file; zeros when there is none */
        uint64_t map_bytes;
        struct pnr_header header;
        uint64_t pins, pin_pages;
        char why[160]; /* what is wrong with it, else "" */
};

/* Looks at `name` in dir_fd.  Fills cursor, max_generation, clusters, endpoints, admin bytes, keys and times
 * of *found when the file is whole. */
void survey_file(struct survey *ret, int dir_fd, const char *name, const uint8_t boot_id[16], struct mono now,
                 struct store_found *found);

/* Can a daemon that wants `map_bytes` go on with the file?  Else ret->why is set. */
bool survey_reusable(struct survey *survey, uint64_t map_bytes);

/* Was there another file before this one, which stubs may still map and trust? */
bool survey_supplants(const struct survey *survey);

/* Can there have been holds of this boot that *found of survey_file() lacks? */
bool survey_may_have_held(const struct survey *survey);

#endif
