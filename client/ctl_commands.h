/* ctl_commands.h -- the commands of pinroutectl and their options: one table for parser, help, completion and manual.
 * Rows only, in the order of the help; a script can read them, too. */
#ifndef PINROUTECTL_COMMANDS_H
#define PINROUTECTL_COMMANDS_H

/* name, arguments, how many at least and at most, letters of its options, what it does; "": not for people */
#define CTL_COMMANDS(X)                                                                                      \
        X(status, "", 0, 0, "", "how the daemon, its clusters and nodes are")                                \
        X(show, CTL_SHOW_WORDS, 1, 1, "", "everything of one kind")                                          \
        X(why, "CLUSTER KEY", 2, 2, "", "where a read of KEY goes now, step by step; needs no daemon")       \
        X(watch, "[CLUSTER]", 0, 1, "c", "tell what happens, line by line, until interrupted")               \
        X(top, "", 0, 0, "in", "a live view; on a pipe, a line per interval")                                \
        X(pin, "CLUSTER KEY [SECONDS]", 2, 3, "", "as if KEY had just written")                              \
        X(release, "CLUSTER KEY", 2, 2, "", "drop KEY's pin, unless it writes meanwhile")                    \
        X(drain, "NODE", 1, 1, "", "give NODE no more reads; checks go on")                                  \
        X(maint, "NODE", 1, 1, "", "leave NODE alone: no reads, no alarm")                                   \
        X(ready, "NODE", 1, 1, "", "end drain or maint")                                                     \
        X(metrics, "", 0, 0, "", "what /metrics says, in Prometheus' text format")                           \
        X(reload, "", 0, 0, "", "read the config file again, as SIGHUP does")                                \
        X(_names, "clusters|nodes", 1, 1, "", "")

/* The words of `show`, and what each lists. */
#define CTL_SHOW_WORDS "nodes|pins|clients|config|stats|news"
#define CTL_SHOWS(X)                                                                                         \
        X(nodes, "every node, with all that is known of it")                                                 \
        X(pins, "the live pins, by their keys' hashes, 1000 at most")                                        \
        X(clients, "the processes that hold a connection")                                                   \
        X(config, "every option, its value, and where that comes from")                                      \
        X(stats, "what the daemon has counted since its start")                                              \
        X(news, "the last changes of state, as the log has them")

/* letter, long name, its argument or "", what it does */
#define CTL_OPTIONS(X)                                                                                       \
        X('c', "changes", "", "changes of state only, no pins")                                              \
        X('i', "interval", "SECONDS", "pause between two looks: 0.1 to 3600; 1 without it")                  \
        X('n', "count", "COUNT", "end after so many")

#endif
