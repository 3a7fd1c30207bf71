/* listen.h -- the daemon's directory and what stands in it: lock and sockets, with their owners and modes. */
#ifndef PINROUTED_LISTEN_H
#define PINROUTED_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

struct listen_dir {
        const char *path;
        gid_t group;     /* of the directory and the worker socket; (gid_t)-1: the daemon's own */
        gid_t operators; /* of ctl.sock; (gid_t)-1: none */
        uid_t user;      /* whom root is about to become; (uid_t)-1: nobody */
        int lock;        /* held for life: one daemon per directory; -1: not yet */
        dev_t lock_dev;  /* of the file that is locked */
        ino_t lock_ino;
};

/* As root, before it becomes d->user, whose primary group is `gid`: makes the directory if need be, and gives
 * it to that user if it is root's, with what an earlier daemon of root's left there.  False after logging. */
bool listen_give_dir(struct listen_dir *d, gid_t gid);

/* Makes the directory if need be (0750), checks that it is ours alone to write and on a file system whose
 * maps are coherent, takes the lock, and removes what others have put there.  False after logging what is wrong and how to mend it. */
bool listen_open_dir(struct listen_dir *d);

/* Listening SOCK_SEQPACKET pinrouted.sock (0660) and SOCK_STREAM ctl.sock (0600, 0660 with operators),
 * non-blocking; stale files of an earlier daemon are replaced.  -1 after logging. */
int listen_workers(const struct listen_dir *d);
int listen_operators(const struct listen_dir *d);

/* A socket outside of that: at a path of the config's. */
struct listen_name {
        const char *path;
        dev_t dev; /* of its file */
        ino_t ino;
};

/* Listening SOCK_STREAM at n->path (0660, of `group`), non-blocking.  Replaces a socket that nobody listens on, and
 * nothing else.  -1 after logging what is wrong and how to mend it. */
int listen_at(struct listen_name *n, gid_t group);

/* Is there nothing any more at the path of the name?  Then nobody finds the socket: make another. */
bool listen_lost(const struct listen_name *n);

/* Unlinks it, if it is still ours. */
void listen_unname(const struct listen_name *n);

/* Do the two still have their names?  Not after somebody has cleaned up: listen anew, the old one hears nobody. */
bool listen_has_workers(const struct listen_dir *d);
bool listen_has_operators(const struct listen_dir *d);

/* Is the lock still the one that the next daemon would have to take?  One system call.  If not, another
 * daemon may serve the directory by now: stop without another commit. */
bool listen_holds_dir(const struct listen_dir *d);

/* Unlinks both sockets, if they are still ours, and gives up the lock. */
void listen_close_dir(struct listen_dir *d);

#endif
