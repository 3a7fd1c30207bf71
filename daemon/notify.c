/* notify.c -- sd_notify without libsystemd.
 * One datagram to a socket that the environment names. */
#include "daemon/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify(const char *state)
{
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        size_t length = path ? strlen(path) : 0;
        if (length < 2 || length >= sizeof at.sun_path || (path[0] != '/' && path[0] != '@'))
                return;
        memcpy(at.sun_path, path, length);
        if (path[0] == '@')
                at.sun_path[0] = '\0'; /* an abstract socket */
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return;
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&at,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
        close(fd);
}
