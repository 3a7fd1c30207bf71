/* place.h -- the files of a store in its directory: where they lie, made and moved, who may open them.
 * For daemon/store.c, which knows what is in them. */
#ifndef PINROUTED_PLACE_H
#define PINROUTED_PLACE_H

#include <stddef.h>
#include <sys/types.h>

#define PLACE_DATA "data.mdb"
#define PLACE_LOCK "lock.mdb"

struct place {
        const char *below, *data, *lock; /* what to put behind the directory; names in it */
};
extern const struct place place_final, place_new; /* nobody else may enter the latter */

/* Each returns 0, or -1 with errno.  dir_fd: the store's directory. */
int place_clear_new(int dir_fd); /* what a crash has left there goes */
int place_allocate(int data_fd, size_t size);
int place_allocate_lock(int dir_fd, const struct place *place); /* liblmdb's, before it maps that */
int place_publish_new(int dir_fd); /* both files take the place of what is in place_final */

/* The group, unless (gid_t)-1, may read the data; explicit modes, whatever the umask. */
int place_set_modes(int dir_fd, const struct place *place, int data_fd, gid_t group);

/* liblmdb 0.9.24 opens its files without O_CLOEXEC: finds its descriptors by what they are open on. */
void place_close_on_exec(int dir_fd, const struct place *place);

#endif
