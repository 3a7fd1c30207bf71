#!/usr/bin/env python3
"""test_http.py -- /metrics and /healthz tell what is so, to whom they should, whoever else knocks.
One daemon on real servers; promtool is the judge of the format."""
# ctest: asan parallel
import http.client
import os
import re
import shutil
import socket
import stat
import subprocess
import time
import unittest

import harness
from harness import bound, eventually, free_port

NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]
FAST = {"check_interval": "100ms", "check_timeout": "80ms"}
PLACES = 16  # HTTP_CLIENTS_MAX
SAMPLE = re.compile(r'(\w+)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def promtool():
    """Debian's, as run.sh unpacks it, or the one that is installed."""
    own = os.path.join(harness.SOURCE, "build", "tools", "promtool")
    return own if os.access(own, os.X_OK) else shutil.which("promtool")


def listening(port):
    return {"http_listen": f"127.0.0.1:{port}"}


def read(text):
    """{(name, labels): value}; labels as a frozenset of pairs."""
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            values[name.removeprefix("pinrouted_"), frozenset(LABEL.findall(labels or ""))] = float(value)
    return values


class Page:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()


class Asking(harness.Scenario):
    """What the tests below ask with; `port` is the daemon's."""

    port = None

    def ask(self, path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers=headers)
        page = Page(connection.getresponse())
        connection.close()
        return page

    def metrics(self):
        page = self.ask("/metrics")
        self.assertEqual(page.status, 200)
        return read(page.text)

    def value(self, name, **labels):
        return self.metrics().get((name, frozenset(labels.items())))

    def knock(self, data=b""):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.addCleanup(s.close)
        s.sendall(data)
        return s


class Telling(Asking):
    """A primary and its replica."""

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.pg = cls.shared(harness.Cluster(1))
        cls.serving = cls.shared(harness.Daemon(cls.pg, listening(cls.port), FAST))
        cls.worker_ = cls.shared(harness.Worker(cls.serving))

    def setUp(self):
        eventually(lambda: self.ask("/healthz?strict").text == "ok\n", within=10, what="all is well")

    def test_promtool_finds_nothing_to_say(self):
        self.assertIsNotNone(promtool(), "no promtool in build/tools: ./run.sh puts it there")
        said = subprocess.run([promtool(), "check", "metrics"], input=self.ask("/metrics").text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        self.assertEqual((said.returncode, said.stdout), (0, ""))

    def test_what_was_done_is_what_is_counted(self):
        before = self.metrics()
        for i in range(3):
            self.assertEqual(self.worker_.record("main", f"counted-{i}").status, "OK")
        self.assertEqual(self.worker_.records("main", "many", 5).status, "OK")
        self.assertEqual(self.worker_.hold("main", "held", 300).status, "OK")
        self.assertNotEqual(self.worker_.do("record", 9, "aa", 0).status, "OK")
        main = frozenset({("cluster", "main")})

        def grown(name, **labels):
            key = name, frozenset(labels.items())
            return self.metrics()[key] - before[key]

        self.assertEqual(grown("records_total", outcome="pinned"), 8)
        self.assertEqual(grown("records_total", outcome="held"), 1)
        self.assertEqual(grown("records_total", outcome="floored"), 0)
        self.assertEqual(grown("pins_created_total", cluster="main"), 9)
        eventually(lambda: grown("pins_released_early_total", cluster="main") == 8, what="replicas have caught up")
        eventually(lambda: grown("pins_expired_total", cluster="main") == 1, what="the hold is over")
        self.assertEqual(grown("early_release_delay_seconds_count", cluster="main"), 8)
        self.assertGreater(grown("early_release_delay_seconds_sum", cluster="main"), 0)
        self.assertGreater(grown("fences_total", cluster="main"), 0)
        self.assertGreaterEqual(self.metrics()["pins", frozenset()], 8)
        self.assertEqual(self.metrics()["early_release", main], 1)

    def test_each_answer_of_a_stub_is_a_decision(self):
        def decided(node, reason):
            return self.value("decisions_total", cluster="main", node=node, reason=reason) or 0

        free, primary = decided("shadow-1", "BALANCED"), decided("default", "WRITE")
        self.worker_.reads("main", None, 1000)
        for _ in range(5):
            self.worker_.write("main")
        self.assertEqual(decided("shadow-1", "BALANCED"), free + 1000)
        self.assertEqual(decided("default", "WRITE"), primary + 5)
        self.assertGreaterEqual(self.value("processes"), 1)

    def test_stats_and_metrics_are_the_same_numbers(self):
        pairs = {"pins": ("pins", {}), "accepted": ("connections_total", {}), "commits": ("commits_total", {}),
                 "refused": ("records_total", {"outcome": "refused"}), "holds": ("records_total", {"outcome": "held"}),
                 "records": ("records_total", {"outcome": "pinned"}), "stalls": ("loop_stalls_total", {}),
                 "floors": ("floors_raised_total", {"cluster": "main"}), "fences": ("fences_total", {"cluster": "main"}),
                 "reloads": ("reloads_total", {"outcome": "ok"}), "prober_starts": ("prober_starts_total", {}),
                 "stores_replaced": ("stores_replaced_total", {}), "store_used_bytes": ("store_used_bytes", {}),
                 "store_map_bytes": ("store_map_bytes", {}), "log_lines_dropped": ("log_lines_dropped_total", {}),
                 "closed_garbage": ("connections_closed_total", {"why": "garbage"})}
        self.worker_.record("main", "compared")
        before, told, after = self.serving.ask("show", "stats")["stats"], self.metrics(), self.serving.ask("show", "stats")["stats"]
        for stat_, (name, labels) in pairs.items():
            lowest, highest = sorted((before[stat_], after[stat_]))
            self.assertTrue(lowest <= told[name, frozenset(labels.items())] <= highest, (stat_, lowest, highest, name))
        nodes = {n["name"]: n for n in self.serving.ask("show", "nodes")["nodes"]}
        shares = {dict(key[1])["node"]: value for key, value in told.items() if key[0] == "node_schedule_share"}
        self.assertEqual(shares, {name: n["share"] / 100 for name, n in nodes.items()})

    def test_a_replica_that_stops_is_down_and_comes_back(self):
        node = {"cluster": "main", "node": "shadow-1"}
        before = self.metrics()
        self.assertEqual(before["node_up", frozenset({**node, "role": "replica"}.items())], 1)
        self.assertIn(("node_lag_seconds", frozenset(node.items())), before)
        self.assertNotIn(("node_lag_seconds", frozenset({**node, "node": "default"}.items())), before)
        self.pg.stop(1)
        eventually(lambda: self.value("node_up", **node, role="replica") == 0)
        after = self.metrics()
        self.assertEqual(after["node_state", frozenset({**node, "state": "DOWN"}.items())], 1)
        self.assertEqual(after["node_state", frozenset({**node, "state": "UP"}.items())], 0)
        self.assertEqual(after["node_schedule_share", frozenset(node.items())], 0)
        self.assertNotIn(("node_lag_seconds", frozenset(node.items())), after)
        self.assertEqual(after["node_state_changes_total", frozenset(node.items())],
                         before["node_state_changes_total", frozenset(node.items())] + 1)
        bad = "node_checks_total", frozenset({**node, "outcome": "bad"}.items())
        self.assertGreater(after[bad], before[bad])
        page = self.ask("/healthz")
        self.assertEqual(page.status, 200)
        self.assertRegex(page.text, r"^degraded\nmain: no replica is read from: all its reads go to the primary\nmain/shadow-1 is DOWN: .+\n$")
        self.assertEqual(self.ask("/healthz?strict").status, 503)
        self.pg.start(1)
        eventually(lambda: self.value("node_up", **node, role="replica") == 1, within=10)

    def test_each_checks_time_falls_into_a_bucket(self):
        told = self.metrics()
        node = frozenset({("cluster", "main"), ("node", "shadow-1")})
        checks = sum(value for key, value in told.items() if key[0] == "node_checks_total" and node < key[1])
        self.assertEqual(told["node_check_duration_seconds_bucket", node | {("le", "+Inf")}], checks)
        self.assertEqual(told["node_check_duration_seconds_count", node], checks)

    def test_what_an_operator_takes_out_is_said_to_be(self):
        self.addCleanup(self.serving.ctl, "ready", "main/shadow-1")
        self.serving.ctl("drain", "main/shadow-1")
        self.assertEqual(self.value("node_state", cluster="main", node="shadow-1", state="drain"), 1)
        self.assertEqual(self.value("node_up", cluster="main", node="shadow-1", role="replica"), 1)
        page = self.ask("/healthz?strict")
        self.assertEqual(page.status, 503)
        self.assertIn("main: no replica is read from: drain or maint is in force for the only one", page.text)
        self.serving.ctl("ready", "main/shadow-1")
        self.assertEqual(self.value("node_state", cluster="main", node="shadow-1", state="UP"), 1)

    def test_only_reading_is_allowed_and_only_by_our_own_names(self):
        page = self.ask("/metrics", "HEAD")
        self.assertEqual((page.status, page.text), (200, ""))
        self.assertGreater(int(page.headers["Content-Length"]), 1000)
        page = self.ask("/metrics", "POST")
        self.assertEqual((page.status, page.headers["Allow"]), (405, "GET, HEAD"))
        self.assertEqual(self.ask("/metrics", Host="evil.example").status, 421)
        self.assertEqual(self.ask("/metrics", Host=f"localhost:{self.port}").status, 200)
        self.assertEqual(self.ask("/nothing").status, 404)


class Crowd(Asking):
    """The daemon alone."""

    def setUp(self):
        self.port = free_port()
        self.serving = self.daemon({"main": NO_NODES}, listening(self.port))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.serving.pid}/fd"))

    def test_idle_clients_cost_workers_nothing_and_give_way(self):
        worker = self.worker(self.serving)
        self.ask("/metrics")
        eventually(lambda: self.descriptors() <= 30)
        few = self.descriptors()
        idle = [self.knock(b"GET /metrics HTTP/1.1\r\n") for _ in range(60)]
        idle += [self.knock() for _ in range(4)]
        for i in range(300):
            self.assertEqual(worker.record("main", f"k{i}").status, "OK")
        self.assertEqual(self.worker(self.serving).record("main", "late").status, "OK")
        self.assertLessEqual(self.descriptors(), few + PLACES + 4)  # the late one's, too
        began = time.monotonic()
        self.assertEqual(self.ask("/healthz").status, 200)
        self.assertLess(time.monotonic() - began, bound(5))
        for s in idle:
            s.close()
        eventually(lambda: self.descriptors() <= few + 4)

    def test_garbage_halves_and_floods_are_survived(self):
        hostile = [b"\0" * 5000, os.urandom(3000), b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000,
                   b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200, b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                   b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n",
                   b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"\r\n" * 5000,
                   b"GET " + b"/" * 7000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b":\r\n" * 2000, b"GET",
                   b"HEAD /metrics HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"]
        for data in hostile:
            try:
                self.knock(data).shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.assertEqual(self.ask("/healthz").status, 200)
        self.assertEqual(self.serving.process.poll(), None)


class Places(Asking):
    def test_a_path_is_a_socket_for_the_group_made_anew_and_taken_away(self):
        daemon = self.daemon({"main": NO_NODES}, start=False)
        path = os.path.join(daemon.dir, "http.sock")
        daemon.write_config({"main": NO_NODES}, {"http_listen": path})
        daemon.start()
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)

        def healthy():
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: any.example\r\n\r\n")
                return b"".join(iter(lambda: s.recv(65536), b"")).startswith(b"HTTP/1.1 200 ")

        self.assertTrue(healthy())
        os.unlink(path)
        eventually(lambda: os.path.exists(path), what="it is made anew")
        self.assertTrue(healthy())
        daemon.kill()
        self.assertTrue(os.path.exists(path))
        daemon.start()
        self.assertTrue(healthy())
        daemon.stop()
        self.assertFalse(os.path.exists(path))
        with open(path, "w", encoding="ascii"):
            pass
        daemon.start(wait=False)
        daemon.wait_log(r"http_listen: \S+http\.sock: is there, and is no socket: remove it")
        self.assertEqual(daemon.process.wait(10), 1)
        self.assertTrue(os.path.exists(path))

    def test_an_address_in_use_is_said_before_the_store_is_touched(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            daemon = self.daemon({"main": NO_NODES}, listening(taken.getsockname()[1]), start=False)
            daemon.start(wait=False)
            daemon.wait_log(r"http_listen: 127\.0\.0\.1:\d+: Address already in use by another program: stop it, or name")
            self.assertEqual(daemon.process.wait(10), 1)
            self.assertFalse(os.path.exists(os.path.join(daemon.dir, "data.mdb")))

    def test_an_address_that_others_can_reach_is_allowed_in_so_many_words(self):
        daemon = self.daemon({"main": NO_NODES}, {"http_listen": "0.0.0.0:9899"}, start=False)
        check = [*daemon.command, "-t", "-c", daemon.conf]
        said = subprocess.run(check, text=True, capture_output=True, timeout=10)
        self.assertEqual(said.returncode, 1)
        self.assertIn("0.0.0.0:9899 can be reached from other machines; say http_remote = allow", said.stderr)
        self.port = free_port()
        daemon.write_config({"main": NO_NODES}, {"http_listen": f"0.0.0.0:{self.port}", "http_remote": "allow",
                                                 "http_host": "metrics.example"})
        daemon.start()
        self.assertEqual(self.ask("/healthz", Host="metrics.example").status, 200)
        self.assertEqual(self.ask("/healthz", Host="other.example").status, 421)
        daemon.write_config({"main": NO_NODES}, {"http_listen": "", "http_host": "other.example"})
        daemon.reload()
        daemon.wait_log(r"http_listen: the new value takes a restart")
        daemon.wait_log("reloaded")
        self.assertEqual(self.ask("/healthz", Host="other.example").status, 200)


if __name__ == "__main__":
    unittest.main()
