/* vet.h -- what others may have put in the daemon's way: on the path to its directory, and into it.
 * For listen.c. */
#ifndef PINROUTED_VET_H
#define PINROUTED_VET_H

#include <stdbool.h>
#include <sys/stat.h>

/* Can only root, we, and `user` ((uid_t)-1: nobody) change what `path` leads to?  Its last part is not looked
 * at.  False after logging who else, and how to mend it.  Others of the group are warned of only. */
bool vet_path(const char *path, uid_t user);

#define VET_WHY_MAX 1024

/* Is the directory, whose stat() says this, a place for all, as /tmp is?  Then `why` says how to mend it. */
bool vet_is_for_all(const struct stat *st, const char *dir, char why[VET_WHY_MAX]);

/* Is the directory `fd` for the daemon alone, which closes it to others, and not /run or /tmp itself?  Not if it is
 * sticky, or open to others and holds a thing whose name is not `known`.  False after logging that. */
bool vet_alone(int fd, const char *dir, bool (*known)(const char *name));

/* In the directory `fd`, which others could write to before now: an entry `name` that is no file (no socket,
 * no directory) of ours or root's alone is removed, with a warning; false after logging that it cannot be. */
bool vet_entry(int fd, const char *dir, const char *name, mode_t type);

/* Gives `name` to the user, if it is a file of root's that stands nowhere else. */
bool vet_give(int fd, const char *name, uid_t uid, gid_t gid);

#endif
