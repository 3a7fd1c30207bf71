/* image.h -- an LMDB file that may be damaged or foreign, read by its documented page format with pread
 * alone. A truncated file ends in an error here, where liblmdb would end in SIGBUS; so this looks before
 * liblmdb maps. */
#ifndef PINROUTED_IMAGE_H
#define PINROUTED_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image_tree {
        uint64_t root, entries;
        unsigned depth;
};

struct image {
        int fd; /* the caller's */
        uint64_t file_bytes, map_bytes, last_page, txnid;
        struct image_tree free, main;
        bool unread;   /* the file did not let itself be read: what is wrong with it is unknown */
        char why[128]; /* what is wrong with it, after a false */
};

/* Reads the newer meta page.  False: not an LMDB 0.9 file of 4 KB pages, or shorter than it says. */
bool image_open(struct image *image, int fd);

/* Calls `visit` with every record of the main tree in the order of keys; value: 8-byte aligned, until return.
 * A `visit` that returns false ends the walk.  Then checks the tree of free pages: no page may be in use
 * twice, or a later commit would overwrite a live one.  False: damaged, or `visit` said so. */
typedef bool image_visit(void *arg, uint64_t key, const void *value, size_t size);
bool image_walk(struct image *image, image_visit *visit, void *arg);

#endif
