/* watch.h -- operators' connections that stay and are told what happens, one JSON object a line.
 *
 *   {"event":"news","number":7,"wall_ms":...,"level":"warning","kind":"node","cluster":"main","node":"shadow-1",
 *    "from":"UP","to":"DOWN","text":"shadow-1 UP -> DOWN: connection refused"}           news.h has the kinds
 *   {"event":"pin","wall_ms":...,"what":"record|hold|token","cluster":"main","key":"...","generation":7,"ms":15000,
 *    "pid":4711}                  key: as `show pins` has it; generation null: it became a floor; pid 0: an operator
 *   {"event":"released","wall_ms":...,"cluster":"main","node":"shadow-1","generation":7}
 *                                             this replica now has every write of this generation and before
 *   {"event":"missed","wall_ms":...,"events":12}   not told: this reader is slow, or they were too many
 *
 * Never waits for a reader: beyond WATCH_BUFFER_MAX bytes that it has not taken, events are missed and counted. */
#ifndef PINROUTED_WATCH_H
#define PINROUTED_WATCH_H

#include "daemon/conn.h"
#include "daemon/core.h"

struct bufferevent;

#define WATCHERS_MAX       8
#define WATCH_BUFFER_MAX   (256 * 1024)
#define WATCH_PINS_MAX     500 /* pins and releases told per second */
#define WATCH_NEWS_AT_ONCE 10  /* of the past, to who begins to watch */
#define WATCH_PATIENCE_S   60  /* in which a reader takes nothing at all */

struct watch {
        const struct core *core;
        unsigned n;
        struct watcher {
                struct bufferevent *b;
                char cluster[PNR_NAME_SIZE]; /* "": all */
                bool pins;
                uint64_t told; /* news up to this number */
                uint64_t missed;
        } who[WATCHERS_MAX];
        uint64_t released[PNR_CLUSTERS_MAX][PNR_NODES_MAX]; /* the generation last told */
        int64_t second;                                     /* in which `pins_told` were */
        unsigned pins_told;
};

/* Takes the connection over, unless WATCHERS_MAX are there; it may have bytes to send already.
 * cluster: "" is all. */
bool watch_join(struct watch *w, struct bufferevent *b, const char *cluster, bool pins);

/* Once per turn, between the commit and the answers: tells what is new.  Costs nothing while nobody watches. */
void watch_turn(struct watch *w, const struct conns *conns, struct mono now);

/* What was committed otherwise than by a frame of `conns`. */
void watch_item(struct watch *w, const struct core_item *it, pid_t pid, struct mono now);

/* Tells the last news, as far as the readers' sockets take them, and hangs up. */
void watch_fini(struct watch *w);

#endif
