/* sabotage.h -- what sabotage_preload.c is told and tells: one struct in a file that the test maps, too.
 * test_sabotage.py reads the list of calls from here. */
#ifndef SABOTAGE_H
#define SABOTAGE_H

#include <stdint.h>

/* Numbered from 1, in this order. */
#define SABOTAGE_CALLS(CALL)                                                                                 \
        CALL(malloc)                                                                                         \
        CALL(accept4)                                                                                        \
        CALL(recv)                                                                                           \
        CALL(send)                                                                                           \
        CALL(sendto)                                                                                         \
        CALL(poll)                                                                                           \
        CALL(ppoll)                                                                                          \
        CALL(epoll_create1)                                                                                  \
        CALL(epoll_ctl)                                                                                      \
        CALL(epoll_wait)                                                                                     \
        CALL(eventfd)                                                                                        \
        CALL(timerfd_create)                                                                                 \
        CALL(timerfd_settime)                                                                                \
        CALL(getsockopt)                                                                                     \
        CALL(getrlimit)                                                                                      \
        CALL(setrlimit)                                                                                      \
        CALL(socket)                                                                                         \
        CALL(socketpair)                                                                                     \
        CALL(bind)                                                                                           \
        CALL(listen)                                                                                         \
        CALL(connect)                                                                                        \
        CALL(posix_spawn)                                                                                    \
        CALL(waitpid)                                                                                        \
        CALL(open)                                                                                           \
        CALL(openat)                                                                                         \
        CALL(opendir)                                                                                        \
        CALL(read)                                                                                           \
        CALL(readv)                                                                                          \
        CALL(pread)                                                                                          \
        CALL(write)                                                                                          \
        CALL(writev)                                                                                         \
        CALL(pwrite)                                                                                         \
        CALL(lseek)                                                                                          \
        CALL(ftruncate)                                                                                      \
        CALL(posix_fallocate)                                                                                \
        CALL(fcntl)                                                                                          \
        CALL(flock)                                                                                          \
        CALL(fstat)                                                                                          \
        CALL(lstat)                                                                                          \
        CALL(fstatat)                                                                                        \
        CALL(fstatfs)                                                                                        \
        CALL(fchmod)                                                                                         \
        CALL(chmod)                                                                                          \
        CALL(fchmodat)                                                                                       \
        CALL(mkdir)                                                                                          \
        CALL(mkdirat)                                                                                        \
        CALL(renameat)                                                                                       \
        CALL(unlink)                                                                                         \
        CALL(unlinkat)                                                                                       \
        CALL(mmap)                                                                                           \
        CALL(madvise)                                                                                        \
        CALL(sigaction)                                                                                      \
        CALL(getrandom)

#define SABOTAGE_NUMBER(name) SABOTAGE_##name,
enum sabotage_call { SABOTAGE_NONE, SABOTAGE_CALLS(SABOTAGE_NUMBER) SABOTAGE_END };

#define SABOTAGE_SHORT 4095 /* as an errno: half of what was given is written, and no error returned */
#define SABOTAGE_MAX   64

struct sabotage {
        uint32_t
            call; /* enum sabotage_call; written last.  The library clears it when it strikes once only */
        uint32_t error;    /* errno, or SABOTAGE_SHORT */
        uint32_t skip;     /* so many calls pass first */
        uint32_t for_good; /* from then on every one fails, until `call` is cleared */
        uint32_t struck;   /* so often since it was armed */
        uint32_t pid;      /* of the process that strikes */
        int64_t blocks;    /* allocated and not freed, since the process began; of a process that knows us */
        uint32_t seen[SABOTAGE_MAX]; /* calls made, by number */
};

#endif
