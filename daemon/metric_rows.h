/* metric_rows.h -- every metric of /metrics: one row each; metrics.c, the manual and the tests read them.
 * No include guard: included once per use, with METRIC() defined by the includer.
 *
 *   METRIC(name, TYPE, SCOPE, labels, text)
 *   name    without the "pinrouted_" that begins it
 *   TYPE    GAUGE, COUNTER or HISTOGRAM
 *   SCOPE   DAEMON: once; CLUSTER: for each configured cluster; NODE: for each configured node
 *   labels  as they stand in the samples, separated by commas
 *
 * Times are seconds, counters begin at 0 when the daemon starts; a node's also when its line names another server. */

METRIC(build_info, GAUGE, DAEMON, "version,layout",
       "Always 1; which version runs, and the layout of its store.")
METRIC(start_time_seconds, GAUGE, DAEMON, "", "When the daemon started, in seconds since 1970.")
METRIC(
    heartbeat_timestamp_seconds, GAUGE, DAEMON, "",
    "When stubs were last told that the daemon lives, in seconds since 1970; absent before the first time.")

METRIC(node_up, GAUGE, NODE, "cluster,node,role", "1 if the node's checks are good (UP), else 0.")
METRIC(node_state, GAUGE, NODE, "cluster,node,state",
       "1 for the state that the node is in: UP, DOWN or UNKNOWN, or the operator's drain or maint; else 0.")
METRIC(node_in_recovery, GAUGE, NODE, "cluster,node",
       "1 if the node, by its newest answer, is in recovery (a replica), 0 if not; absent while it does not "
       "answer.")
METRIC(node_lag_seconds, GAUGE, NODE, "cluster,node",
       "How far a replica's replay is behind the primary in time; absent while unknown.")
METRIC(node_lag_bytes, GAUGE, NODE, "cluster,node",
       "How far a node is behind the newest known position of the primary, in bytes of WAL; absent while "
       "unknown.")
METRIC(node_schedule_share, GAUGE, NODE, "cluster,node",
       "Part of the reads that the schedule gives the node, 0 to 1.")
METRIC(node_weight, GAUGE, NODE, "cluster,node", "The node's weight, as configured.")
METRIC(node_state_changes_total, COUNTER, NODE, "cluster,node",
       "Times that the node went to another state of UP, DOWN and UNKNOWN.")
METRIC(node_checks_total, COUNTER, NODE, "cluster,node,outcome",
       "Questions put to the node, those for fences among them, by outcome: good or bad.")
METRIC(node_check_duration_seconds, HISTOGRAM, NODE, "cluster,node",
       "Time from question to answer, or to the end of the prober's patience.")

METRIC(decisions_total, COUNTER, DAEMON, "cluster,node,reason",
       "Answers that processes got from their stubs, by the node named and why; cluster and node are empty "
       "where there was no store. Absent until the first; not of processes that cannot read the store or got "
       "no memory to count in, nor what was counted in the memory of an earlier daemon.")
METRIC(processes, GAUGE, DAEMON, "",
       "Processes, with the children that they forked, that count their decisions in memory of ours.")
METRIC(counting_refused_total, COUNTER, DAEMON, "",
       "Times that a process got no memory to count its decisions in.")

METRIC(pins, GAUGE, DAEMON, "", "Pins in the store, expired ones that the sweep has not met yet included.")
METRIC(pins_max, GAUGE, DAEMON, "", "Pins that the store has room for: max_pins.")
METRIC(pins_created_total, COUNTER, CLUSTER, "cluster",
       "Keys whose pin was made or renewed, holds and tokens among them; floors are none.")
METRIC(pins_released_early_total, COUNTER, CLUSTER, "cluster",
       "Those of them that a replica, in the schedule, had caught up with before their deadline.")
METRIC(pins_expired_total, COUNTER, CLUSTER, "cluster",
       "Those of them whose deadline came first; holds always.")
METRIC(early_release_delay_seconds, HISTOGRAM, CLUSTER, "cluster",
       "Time from a pin's record to the first replica that had caught up with it.")
METRIC(early_release, GAUGE, CLUSTER, "cluster", "1 if early_release is on, else 0.")
METRIC(floors_raised_total, COUNTER, CLUSTER, "cluster",
       "Times that all keys of the cluster began to count as pinned, or went on to.")
METRIC(
    floor_active, GAUGE, CLUSTER, "cluster",
    "1 from a floor's beginning to its deadline, also when all replicas have caught up with it and it costs "
    "nothing any more; else 0.")
METRIC(fences_total, COUNTER, CLUSTER, "cluster",
       "Positions of the primary that were taken so that pins can end early.")
METRIC(split_brain, GAUGE, CLUSTER, "cluster",
       "1 while more than one node is out of recovery, with follow_promotion = on, else 0; with off, such a "
       "node is a replica that is DOWN, and status says why.")
METRIC(primary_changes_total, COUNTER, CLUSTER, "cluster", "Times that another node became the primary.")

METRIC(records_total, COUNTER, DAEMON, "outcome",
       "Keys recorded, by outcome: pinned, held or token (a pin each), floored (the table was full); and "
       "refused requests.")
METRIC(clients, GAUGE, DAEMON, "", "Connections on the worker socket.")
METRIC(clients_max, GAUGE, DAEMON, "", "Connections that it may have: max_clients.")
METRIC(connections_total, COUNTER, DAEMON, "", "Connections accepted on the worker socket.")
METRIC(connections_closed_total, COUNTER, DAEMON, "why",
       "Connections closed by the daemon: garbage, slow (the answer was not read), idle or turn (others "
       "needed the place).")
METRIC(accept_failures_total, COUNTER, DAEMON, "", "Times that no connection could be accepted.")
METRIC(reader_slots, GAUGE, DAEMON, "", "Slots in use in LMDB's reader table; stubs take none.")

METRIC(commits_total, COUNTER, DAEMON, "", "Transactions committed to the store.")
METRIC(store_used_bytes, GAUGE, DAEMON, "", "Bytes of the store in use.")
METRIC(store_map_bytes, GAUGE, DAEMON, "", "Bytes of the store.")
METRIC(stores_replaced_total, COUNTER, DAEMON, "",
       "New stores put in the place of one that was lost or unusable.")
METRIC(
    loop_stalls_total, COUNTER, DAEMON, "",
    "Times that more than 50 ms passed between two turns of the event loop: the machine, or we, stood still; "
    "each raises a floor.")
METRIC(loop_longest_turn_seconds, GAUGE, DAEMON, "",
       "Longest turn of the event loop since the start: our own work, from waking up to waiting again.")
METRIC(reloads_total, COUNTER, DAEMON, "outcome", "Reloads of the config, by outcome: ok or refused.")
METRIC(config_stale, GAUGE, DAEMON, "",
       "1 while the newest config was refused and an older one is in force, else 0.")
METRIC(prober_starts_total, COUNTER, DAEMON, "", "Times that the prober was started.")
METRIC(log_lines_dropped_total, COUNTER, DAEMON, "", "Lines of the log that stderr did not take.")
