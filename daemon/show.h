/* show.h -- the daemon's state as JSON members, for the operator's socket.  Reads, changes nothing. */
#ifndef PINROUTED_SHOW_H
#define PINROUTED_SHOW_H

#include "daemon/conn.h"
#include "daemon/core.h"
#include "daemon/json.h"

#define SHOW_PINS_MAX 1000 /* listed at once; `total` says how many there are */

void show_status(const struct core *core, unsigned clients, struct mono now, struct json *j);
void show_nodes(const struct core *core, struct mono now, struct json *j);
void show_pins(const struct core *core, struct mono now, struct json *j);
void show_pin(const struct core *core, const char *name, const struct pin *pin, struct mono now,
              struct json *j);
void show_clients(const struct conns *conns, struct mono now, struct json *j);
void show_config(const struct core *core, struct json *j);
void show_stats(const struct core *core, struct json *j);
void show_news(const struct core *core, struct json *j);
void show_news_item(const struct news_item *item, struct json *j); /* its members */

#endif
