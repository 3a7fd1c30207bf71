/* place.c -- the files of a store in its directory: where they lie, made and moved, who may open them.
 * Never looks into one. */
#include "daemon/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW        "new"
#define LOCK_BYTES 8192 /* what liblmdb gives its default number of readers */

const struct place place_final = {"", PLACE_DATA, PLACE_LOCK};
const struct place place_new = {"/" NEW, NEW "/" PLACE_DATA, NEW "/" PLACE_LOCK};

int place_clear_new(int dir_fd)
{
        int fd = openat(dir_fd, NEW, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
                unlinkat(fd, PLACE_DATA, 0);
                unlinkat(fd, PLACE_LOCK, 0);
                close(fd);
        }
        if (unlinkat(dir_fd, NEW, AT_REMOVEDIR) && errno == ENOTDIR)
                unlinkat(dir_fd, NEW, 0);
        return mkdirat(dir_fd, NEW, 0700);
}

int place_allocate(int data_fd, size_t size)
{
        int no_room;
        while ((no_room = posix_fallocate(data_fd, 0, (off_t)size)) == EINTR)
                ;
        errno = no_room;
        return no_room ? -1 : 0;
}

/* liblmdb would make it full of holes, map it and write: SIGBUS where the file system has no room left. */
int place_allocate_lock(int dir_fd, const struct place *place)
{
        int fd = openat(dir_fd, place->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -1;
        int rc = place_allocate(fd, LOCK_BYTES), saved = errno;
        close(fd);
        errno = saved;
        return rc;
}

int place_publish_new(int dir_fd)
{
        if (renameat(dir_fd, place_new.data, dir_fd, place_final.data) ||
            renameat(dir_fd, place_new.lock, dir_fd, place_final.lock))
                return -1;
        unlinkat(dir_fd, NEW, AT_REMOVEDIR);
        return 0;
}

int place_set_modes(int dir_fd, const struct place *place, int data_fd, gid_t group)
{
        if (group != (gid_t)-1 && fchown(data_fd, (uid_t)-1, group))
                return -1;
        return fchmod(data_fd, 0640) || fchmodat(dir_fd, place->lock, 0600, 0) ? -1 : 0;
}

static void close_file_on_exec(int dir_fd, const char *name)
{
        struct stat want, st;
        DIR *fds = opendir("/proc/self/fd");
        if (fds && !fstatat(dir_fd, name, &want, AT_SYMLINK_NOFOLLOW))
                for (struct dirent *e; (e = readdir(fds));) {
                        int fd = (int)strtol(e->d_name, NULL, 10);
                        if (!fstat(fd, &st) && st.st_dev == want.st_dev && st.st_ino == want.st_ino)
                                fcntl(fd, F_SETFD, FD_CLOEXEC);
                }
        if (fds)
                closedir(fds);
}

void place_close_on_exec(int dir_fd, const struct place *place)
{
        close_file_on_exec(dir_fd, place->data);
        close_file_on_exec(dir_fd, place->lock);
}
