/* main.c -- argv, order of setup, the loop, order of teardown.
 * The only file that knows all the others. */
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/pinroute.h"
#include "daemon/child.h"
#include "daemon/clock.h"
#include "daemon/conf.h"
#include "daemon/conn.h"
#include "daemon/core.h"
#include "daemon/http.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/named.h"
#include "daemon/news.h"
#include "daemon/manager.h"
#include "daemon/notify.h"
#include "daemon/ops.h"
#include "daemon/prober.h"
#include "daemon/turn.h"
#include "daemon/user.h"
#include "daemon/watch.h"

#define SOCKETS_MS 1000
/* The loop turns at least this often, so that a longer gap is a stall (CORE_STALL_MS); every fourth is a heartbeat. */
#define TICK_MS (CORE_HEARTBEAT_MS / 4)

static struct {
        struct conf *conf;
        struct event_base *base;
        struct event *tick, *signals[4];
        char dir_path[CONF_WORD_MAX]; /* of dir, whatever conf is in force */
        struct listen_dir dir;
        int workers, operators;
        struct core core;
        struct conns conns;
        struct ops ops;
        struct watch watch;
        struct http http;
        struct child child;
        struct manager manager;
        bool stop, ready, paused;
        unsigned families_max;   /* descriptors for core.counts */
        struct mono sockets_due; /* to be looked for */
} d;

/* ---- prober ---- */

static unsigned node_id(unsigned cluster, unsigned slot) { return cluster * PNR_NODES_MAX + slot; }

static void ask(void *arg, unsigned cluster, unsigned slot, uint64_t number, uint32_t timeout_ms)
{
        (void)arg;
        child_check(&d.child, node_id(cluster, slot), number, timeout_ms, d.core.last_turn);
}

static void on_result(void *arg, const struct prober_result *r)
{
        (void)arg;
        unsigned cluster = r->node / PNR_NODES_MAX;
        if (cluster < d.core.n_clusters)
                cluster_result(d.core.cluster[cluster], r->node % PNR_NODES_MAX, r, clock_mono());
}

static void on_lost(void *arg)
{
        (void)arg;
        for (unsigned i = 0; i < d.core.n_clusters; i++)
                cluster_lost_prober(d.core.cluster[i], clock_mono());
}

static const char *conninfo_of(void *arg, unsigned node)
{
        (void)arg;
        unsigned cluster = node / PNR_NODES_MAX;
        if (cluster >= d.core.n_clusters || d.core.cluster[cluster]->removed)
                return NULL;
        const char *conninfo = d.core.cluster[cluster]->node[node % PNR_NODES_MAX].conf.conninfo;
        return conninfo[0] ? conninfo : NULL;
}

static bool cleartext_of(void *arg, unsigned node)
{
        (void)arg;
        return d.core.cluster[node / PNR_NODES_MAX]->conf.cleartext_password == CONF_CLEARTEXT_ALLOW;
}

/* ---- config ---- */

static void complain(void *arg, const char *message)
{
        (void)arg;
        log_error("%s", message);
}

struct listener { /* to the log and to whoever asked */
        ops_say_fn *say;
        void *arg;
};

static void complain_to(void *arg, const char *message)
{
        struct listener *l = arg;
        log_error("%s", message);
        l->say(l->arg, message);
}

static void say_restart(void *arg, const char *key)
{
        struct listener *l = arg;
        char message[128];
        snprintf(message, sizeof message, "%s: the new value takes a restart; the old one stays", key);
        log_warning("%s", message);
        l->say(l->arg, message);
}

/* conn.c keeps to what the limit is; what is left is for the memory of processes that count. */
static void raise_descriptor_limit(void)
{
        struct rlimit l;
        rlim_t clients = (rlim_t)d.conf->max_clients, want = clients + CONN_SPARE_FDS, all = want + clients;
        if (getrlimit(RLIMIT_NOFILE, &l))
                return;
        if (l.rlim_cur < all) {
                l.rlim_cur = l.rlim_max < all ? l.rlim_max : all;
                setrlimit(RLIMIT_NOFILE, &l);
        }
        if (l.rlim_cur < want)
                log_warning("only %lu descriptors allowed (ulimit -n): fewer clients at once than "
                            "max_clients, which is %" PRId64,
                            (unsigned long)l.rlim_cur, d.conf->max_clients);
}

static const struct news_about about_reload = {.kind = NEWS_RELOAD}, about_us = {.kind = NEWS_DAEMON};

static bool take_config(ops_say_fn *say, void *say_arg)
{
        static const char refused[] = "reload: the file has mistakes; the config in force stays";
        struct listener l = {say, say_arg};
        struct conf *new = conf_load(d.conf->path, complain_to, &l), *old = d.conf;
        if (!new) {
                d.core.stats.reloads_failed++;
                d.core.reload_refused = true;
                news_say(LOG_AT_ERROR, &about_reload, "%s", refused);
                say(say_arg, refused);
                return false;
        }
        conf_needs_restart(old, new, say_restart, &l);
        conf_keep_start_options(new, old);
        d.conf = new;
        log_set_level((int)new->log_level);
        raise_descriptor_limit();
        core_configure(&d.core, new, clock_mono());
        for (unsigned node = 0; node < PROBER_NODES_MAX; node++)
                child_retell(&d.child, node);
        conf_free(&old);
        d.core.stats.reloads++;
        d.core.reload_refused = false;
        news_say(LOG_AT_INFO, &about_reload, "config %s reloaded", d.conf->path);
        return true;
}

static bool reload(void *arg, ops_say_fn *say, void *say_arg)
{
        (void)arg;
        if (d.ready)
                manager_reloading(clock_mono());
        bool taken = take_config(say, say_arg);
        if (d.ready)
                manager_reloaded();
        return taken;
}

static void say_nobody(void *arg, const char *message) { (void)arg, (void)message; }

static void on_signal(evutil_socket_t number, short what, void *arg)
{
        (void)what, (void)arg;
        turn_woke();
        if (number == SIGHUP)
                reload(NULL, say_nobody, NULL);
        else
                d.stop = true;
}

/* ---- setup ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
        (void)fd, (void)what, (void)arg;
        turn_woke();
}

/* libevent's own words, which would go to a stderr that may block: some of them a client can make it say. */
static void on_libevent(int severity, const char *message)
{
        if (severity == EVENT_LOG_ERR)
                log_error("libevent: %s", message);
        else
                log_debug("libevent: %s", message);
}

static bool set_up_loop(void)
{
        static const int caught[] = {SIGHUP, SIGTERM, SIGINT, SIGQUIT};
        event_set_log_callback(on_libevent);
        struct event_config *c = event_config_new();
        if (!c)
                return false;
        event_config_set_flag(c, EVENT_BASE_FLAG_PRECISE_TIMER);
        d.base = event_base_new_with_config(c);
        event_config_free(c);
        d.tick = d.base ? evtimer_new(d.base, on_tick, NULL) : NULL;
        if (!d.tick)
                return false;
        signal(SIGPIPE, SIG_IGN);
        for (unsigned i = 0; i < sizeof caught / sizeof *caught; i++) {
                d.signals[i] = evsignal_new(d.base, caught[i], on_signal, NULL);
                if (!d.signals[i] || event_add(d.signals[i], NULL))
                        return false;
        }
        return true;
}

/* Better now than at the first reload. */
static void warn_of_unreadable(const char *path)
{
        if (path[0] && access(path, R_OK))
                log_warning("%s: %s cannot read it, so a reload will be refused: %s", path, user_own_name(),
                            strerror(errno));
}

static bool become_user(const struct named *names)
{
        const struct user user = names->user;
        const gid_t more[] = {names->group, names->operators};
        d.dir.user = user.uid;
        d.dir.group = names->group;
        d.dir.operators = names->operators;
        if (!user_is_another(&user)) {
                if (geteuid() == 0)
                        log_warning(
                            "runs as root: say user = NAME in [pinrouted], and root is needed to start only");
                return true;
        }
        if ((geteuid() == 0 && !listen_give_dir(&d.dir, user.gid)) || !user_become(&user, more, 2))
                return false;
        log_info("goes on as user %s", user.name);
        warn_of_unreadable(d.conf->path);
        warn_of_unreadable(d.conf->key_file);
        return true;
}

/* NULL, after saying why: decisions are not counted. */
static struct counts *open_counts(void)
{
        if (!counts_may("/proc/sys/vm/overcommit_memory")) {
                log_warning(
                    "decisions are not counted: with vm.overcommit_memory = 2 that could kill a process");
                return NULL;
        }
        struct counts *c = counts_open();
        if (!c)
                log_warning("decisions are not counted, there is no memory for it: %s", strerror(errno));
        return c;
}

static bool no_loop(void)
{
        log_error("no memory, or no descriptors, for the event loop");
        return false;
}

static bool set_up(void)
{
        snprintf(d.dir_path, sizeof d.dir_path, "%s", d.conf->dir);
        d.dir = (struct listen_dir){.path = d.dir_path, .lock = -1};
        raise_descriptor_limit();
        struct named names;
        if (!named_find(d.conf, &names, complain) || !become_user(&names) || !listen_open_dir(&d.dir))
                return false;
        if (!set_up_loop())
                return no_loop();
        d.http = (struct http){.core = &d.core, .conns = &d.conns, .base = d.base};
        if (!http_init(&d.http, d.conf, d.dir.group)) /* before the store is touched */
                return false;
        if (!core_init(&d.core, d.conf, d.dir.group, clock_mono()))
                return false;
        d.core.counts = open_counts();
        d.workers = listen_workers(&d.dir);
        d.operators = listen_operators(&d.dir);
        if (d.workers < 0 || d.operators < 0)
                return false;
        struct child_hooks hooks = {
            .result = on_result, .lost = on_lost, .conninfo = conninfo_of, .cleartext = cleartext_of};
        child_init(&d.child, d.base, &hooks);
        d.watch.core = &d.core;
        manager_init(&d.manager, clock_mono());
        d.ops = (struct ops){.core = &d.core,
                             .conns = &d.conns,
                             .base = d.base,
                             .operators = d.dir.operators,
                             .watch = &d.watch,
                             .reload = reload};
        return (conns_init(&d.conns, d.base, &d.core, d.workers) && ops_init(&d.ops, d.operators)) ||
               no_loop();
}

/* ---- the loop ---- */

static void arm_tick(struct mono now)
{
        int64_t ms = mono_since(core_next_due(&d.core, now), now);
        ms = ms < 1 ? 1 : ms > TICK_MS ? TICK_MS : ms;
        struct timeval in = {.tv_usec = ms * 1000};
        event_add(d.tick, &in);
}

/* While an old store may still be trusted somewhere, no frame is taken and nobody is told that we serve. */
static void mind_silence(struct mono now)
{
        bool silent = core_is_silent(&d.core, now);
        if (silent != d.paused)
                conns_pause(&d.conns, silent);
        d.paused = silent;
        if (silent || d.ready)
                return;
        d.ready = true;
        news_say(LOG_AT_INFO, &about_us, "READY: serving %s", d.conf->dir);
        notify("READY=1");
}

/* Without the lock in its place another daemon may write this store: two writers would break every promise.
 */
static bool lost_dir(void)
{
        if (listen_holds_dir(&d.dir))
                return false;
        news_say(LOG_AT_ERROR, &about_us,
                 "%s: pinrouted.lock was taken away, another daemon may serve here by now: ending",
                 d.conf->dir);
        return true;
}

static void replace(int *listener, int by)
{
        close(*listener);
        *listener = by;
        news_say(LOG_AT_WARNING, &about_us, "%s: a socket was removed there; listening on a new one",
                 d.conf->dir);
}

/* Without its name a socket hears nobody. */
static void mind_sockets(struct mono now)
{
        int fd;
        if (!mono_reached(now, d.sockets_due))
                return;
        d.sockets_due = mono_plus(now, SOCKETS_MS);
        if (!listen_has_workers(&d.dir) && (fd = listen_workers(&d.dir)) >= 0) {
                conns_listen(&d.conns, fd);
                replace(&d.workers, fd);
        }
        if (!listen_has_operators(&d.dir) && (fd = listen_operators(&d.dir)) >= 0) {
                ops_listen(&d.ops, fd);
                replace(&d.operators, fd);
        }
        http_mind(&d.http);
}

static void note_turn(uint64_t took_us)
{
        uint64_t *longest_us = &d.core.stats.longest_turn_us;
        *longest_us = took_us > *longest_us ? took_us : *longest_us;
}

/* Returns the exit status. */
static int loop(void)
{
        while (!d.stop) {
                turn_woke();
                struct mono now = clock_mono();
                if (lost_dir())
                        return 1;
                child_turn(&d.child, now);
                core_turn(&d.core, d.conns.item, d.conns.n_batch, ask, NULL, now);
                watch_turn(&d.watch, &d.conns, now);
                conns_reply(&d.conns);
                if (d.core.counts)
                        counts_turn(d.core.counts, d.core.n_clusters, now);
                d.core.stats.prober_starts = d.child.starts;
                manager_turn(&d.manager, &d.core, now); /* before READY: whoever waits for that may look */
                mind_silence(now);
                mind_sockets(now);
                arm_tick(now);
                note_turn(turn_ended());
                event_base_loop(d.base, EVLOOP_ONCE);
        }
        return 0;
}

static void tear_down(void)
{
        notify("STOPPING=1");
        news_say(LOG_AT_INFO, &about_us, "stopping");
        watch_fini(&d.watch);
        conns_fini(&d.conns);
        ops_fini(&d.ops);
        http_fini(&d.http);
        child_fini(&d.child);
        close(d.workers);
        close(d.operators);
        counts_close(&d.core.counts);
        core_fini(&d.core);
        listen_close_dir(&d.dir);
        event_free(d.tick);
        for (unsigned i = 0; i < sizeof d.signals / sizeof *d.signals; i++)
                event_free(d.signals[i]);
        event_base_free(d.base);
        libevent_global_shutdown();
        conf_free(&d.conf);
}

/* ---- argv ---- */

static int usage(FILE *to, int status)
{
        fputs("usage: pinrouted -c FILE [-t]\n"
              "  -c, --config FILE  the config file\n"
              "  -t, --test         check the file, say every mistake in it, and exit\n"
              "  -V, --version      print the version and exit\n"
              "  -h, --help         print this and exit\n"
              "Runs in the foreground.  SIGHUP reloads the config, SIGTERM ends.\n",
              to);
        return status;
}

static void complain_on_stderr(void *arg, const char *message)
{
        (void)arg;
        fprintf(stderr, "%s\n", message);
}

/* Every mistake, whatever the others are. */
static int check_only(const char *path)
{
        bool right;
        struct named names;
        struct conf *conf = conf_read(path, complain_on_stderr, NULL, &right);
        if (!conf)
                return 1;
        bool found = named_find(conf, &names, complain_on_stderr);
        bool apart = named_dir(conf, complain_on_stderr);
        bool ok = right && found && apart;
        named_warn(conf, complain_on_stderr);
        if (ok)
                printf("%s: ok, %u cluster%s\n", path, conf->n_clusters, conf->n_clusters == 1 ? "" : "s");
        conf_free(&conf);
        return ok ? 0 : 1;
}

/* It would abort, without a word. */
static void without_random_numbers(void)
{
        log_error("the system gives no random numbers: ending");
        _exit(1);
}

static int serve(const char *path)
{
        sodium_set_misuse_handler(without_random_numbers);
        d.conf = conf_load(path, complain, NULL);
        if (!d.conf)
                return 1;
        log_set_level((int)d.conf->log_level);
        if (d.conf->log_to == CONF_LOG_TO_SYSLOG)
                log_to_syslog(LOG_SYSLOG_PATH);
        log_info("version %s, config %s", PINROUTE_VERSION, path);
        if (!set_up())
                return 1;
        int status = loop();
        tear_down();
        return status;
}

int main(int argc, char **argv)
{
        static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                                {"test", no_argument, NULL, 't'},
                                                {"version", no_argument, NULL, 'V'},
                                                {"help", no_argument, NULL, 'h'},
                                                {0}};
        const char *path = NULL;
        bool test = false;
        if (argc == 1 && !strcmp(argv[0], "pinrouted: prober")) {
                log_init("prober");
                return prober_main();
        }
        log_init("pinrouted");
        user_harden();
        umask(077);
        for (int o; (o = getopt_long(argc, argv, "c:tVh", options, NULL)) != -1;)
                switch (o) {
                case 'c': path = optarg; break;
                case 't': test = true; break;
                case 'V': printf("pinrouted %s\n", PINROUTE_VERSION); return 0;
                case 'h': return usage(stdout, 0);
                default: return usage(stderr, 2);
                }
        if (!path && optind < argc)
                fprintf(stderr, "pinrouted: say -c before the config file's name\n");
        if (!path || optind != argc)
                return usage(stderr, 2);
        return test ? check_only(path) : serve(path);
}
