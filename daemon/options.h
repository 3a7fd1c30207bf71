/* options.h -- every word that may stand left of a `=` in the config file: one row each.
 * No include guard: included once per use, with OPTION() defined by the includer.
 *
 *   OPTION(key, section, KIND, min, max, default, when, text)
 *   section  DAEMON: [pinrouted], CLUSTER: [cluster X], NODE: on a node's line
 *   KIND     of daemon/value.h; min and max are milliseconds for SECONDS and DURATION
 *   default  as it would stand in the file; "=other" is the value of that option of the same section
 *   when     a change takes effect AT_RELOAD (SIGHUP), or AT_START only */

OPTION(dir, DAEMON, PATH, 1, 0, "/run/pinroute", AT_START, "directory of the store and the sockets; a tmpfs")
OPTION(http_listen, DAEMON, LISTEN, 0, 0, "", AT_START,
       "ADDR:PORT or socket path of /metrics, /healthz and the status page; empty: none")
OPTION(http_remote, DAEMON, REMOTE, 0, 0, "refuse", AT_START,
       "an http_listen that other machines can reach: refuse, or allow")
OPTION(http_host, DAEMON, HOSTS, 0, 0, "", AT_RELOAD,
       "names that HTTP clients may ask for besides localhost and addresses, separated by spaces")
OPTION(group, DAEMON, GROUP, 0, 0, "", AT_START,
       "group whose members may route and record; empty: the daemon's own")
OPTION(user, DAEMON, USER, 0, 0, "", AT_START,
       "user that the daemon becomes when root starts it; empty: it stays who starts it")
OPTION(operator_group, DAEMON, GROUP, 0, 0, "", AT_START,
       "group that may use pinroutectl, besides root and the daemon's user; empty: none")
OPTION(key_file, DAEMON, FILE, 0, 0, "", AT_RELOAD,
       "keys that tokens are signed with, the same on all hosts; empty: a random one, for this host alone")
OPTION(max_pins, DAEMON, COUNT, 1000, 10000000, "100000", AT_START,
       "pins that the store has room for; when it is full, whole clusters count as pinned")
OPTION(max_clients, DAEMON, COUNT, 16, 65536, "4096", AT_RELOAD,
       "most connections on the worker socket at once")
OPTION(log_level, DAEMON, LOG_LEVEL, 0, 0, "info", AT_RELOAD,
       "how much is logged; each word includes those before it")
OPTION(log_to, DAEMON, LOG_TO, 0, 0, "stderr", AT_START,
       "stderr, which a service manager keeps, or syslog: this host's, by /dev/log")
OPTION(stale_after, DAEMON, DURATION, 200, 60000, "1s", AT_RELOAD,
       "silence of the daemon after which reads with a key go to the primary")
OPTION(stale_limit, DAEMON, DURATION, 1000, 86400000, "60s", AT_RELOAD,
       "silence of the daemon after which all reads go to the primary")

OPTION(pin_seconds, CLUSTER, SECONDS, 1000, 86400000, "15", AT_RELOAD,
       "longest time a pin keeps a key's reads from replicas that may lack its write")
OPTION(max_pin_seconds, CLUSTER, SECONDS, 1000, 86400000, "300", AT_RELOAD,
       "longest pin that an application may ask for")
OPTION(check_interval, CLUSTER, DURATION, 10, 3600000, "500ms", AT_RELOAD,
       "pause from one health check of a node to its next")
OPTION(check_timeout, CLUSTER, DURATION, 10, 3600000, "400ms", AT_RELOAD,
       "time that a health check may take, connecting included")
OPTION(fall, CLUSTER, COUNT, 1, 32, "2", AT_RELOAD,
       "failed checks in a row that take a node out of the schedule")
OPTION(rise, CLUSTER, COUNT, 1, 32, "3", AT_RELOAD, "good checks in a row that bring it back")
OPTION(max_lag, CLUSTER, DURATION, 10, 86400000, "10s", AT_RELOAD,
       "a replica further behind than this leaves the schedule")
OPTION(lag_resume, CLUSTER, DURATION, 10, 86400000, "=max_lag", AT_RELOAD,
       "lag down to which such a replica must come before it returns")
OPTION(fence_interval, CLUSTER, DURATION, 10, 60000, "100ms", AT_RELOAD,
       "pause between two samples of the primary's position while pins wait")
OPTION(caught_up_trust, CLUSTER, DURATION, 10, 60000, "60ms", AT_RELOAD,
       "age up to which a replica's answer may end a pin; less than a crashed server needs to come back")
OPTION(early_release, CLUSTER, ON_OFF, 0, 0, "on", AT_RELOAD,
       "end a pin on a replica as soon as that has replayed the write")
OPTION(follow_promotion, CLUSTER, ON_OFF, 0, 0, "off", AT_RELOAD,
       "the primary is the node that is not in recovery, whatever its role= says")
OPTION(no_replica, CLUSTER, NO_REPLICA, 0, 0, "primary", AT_RELOAD,
       "reads when no replica may be read from: go to the primary, or report an error with it")
OPTION(primary_budget, CLUSTER, COUNT, 0, CONF_BUDGET_MAX, "0", AT_RELOAD,
       "reads without a key that the primary takes a second from this host while there is no replica; 0: all")
OPTION(
    balance, CLUSTER, BALANCE, 0, 0, "round_robin", AT_RELOAD,
    "reads with a key: round_robin, or affinity, by which a key keeps to one replica while that is healthy")
OPTION(cleartext_password, CLUSTER, CLEARTEXT, 0, 0, "refuse", AT_RELOAD,
       "a server that asks for the password in clear text: refuse, or allow where sslmode=verify-...")

OPTION(role, NODE, ROLE, 0, 0, "replica", AT_RELOAD, "primary or replica")
OPTION(weight, NODE, COUNT, 0, CONF_WEIGHT_MAX, "1", AT_RELOAD,
       "share of the reads, relative to the other replicas; 0: none")
OPTION(max_lag, NODE, DURATION, 10, 86400000, "", AT_RELOAD,
       "this node's own max_lag; without it, the cluster's")
