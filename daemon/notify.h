/* notify.h -- telling a service manager how we are: systemd's notification protocol (sd_notify(3)). */
#ifndef PINROUTED_NOTIFY_H
#define PINROUTED_NOTIFY_H

/* Sends `state` ("READY=1", "STOPPING=1", "STATUS=...") to $NOTIFY_SOCKET, if there is one.  Never blocks. */
void notify(const char *state);

#endif
