"""test_health.py -- nodes that fail in every way leave the schedule in time, come back, and disturb nobody.
Real servers, servers that misbehave and addresses where nobody is, all in one cluster at the same time."""
# ctest: parallel long
import os
import re
import signal
import socket
import threading
import time
import unittest

import harness
from fakepg import FakePg
from harness import bound, eventually, size
from test_prober import Names

INTERVAL, TIMEOUT, FALL, RISE, MAX_LAG = 0.3, 0.25, 2, 3, 1.0
OPTIONS = {"check_interval": "300ms", "check_timeout": "250ms", "fall": FALL, "rise": RISE, "max_lag": "1s"}
LEAVES = FALL * (INTERVAL + TIMEOUT) + 0.2
RHYTHM = 0.05


class Rhythm(threading.Thread):
    """When a server was asked: seen from the server."""

    def __init__(self):
        super().__init__(daemon=True)
        self.server = FakePg("good")
        self.asked = []
        self.start()

    def run(self):
        while True:
            line = self.server.wait("", within=None)
            if line == "question":
                self.asked.append(time.monotonic())

    def worst(self, since):
        """How far the pause between two questions was from the interval, at most."""
        asked = [t for t in self.asked if t >= since]
        return max(abs(b - a - INTERVAL) for a, b in zip(asked, asked[1:]))


class FullListener:
    """Takes no connection and refuses none: its queue is full, and what comes is dropped."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.waiting = [socket.socket() for _ in range(4)]
        for s in self.waiting:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", self.port))

    def close(self):
        for s in [*self.waiting, self.listener]:
            s.close()


class Nobody:
    """A port that refuses: taken, but nobody listens."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def close(self):
        self.socket.close()


class Writer(threading.Thread):
    """Commits on the primary all the while."""

    def __init__(self, pg):
        super().__init__(daemon=True)
        self.session = pg.session(0)
        self.enough = threading.Event()
        self.start()

    def run(self):
        while not self.enough.wait(0.05):
            self.session.run("insert into beat default values")

    def close(self):
        self.enough.set()
        self.join()
        self.session.close()


def processes(pid):
    """A server and what it has forked."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [pid, *map(int, f.read().split())]


def signal_all(pid, number):
    os.kill(pid, signal.SIGSTOP)  # what is stopped forks no more
    for p in processes(pid)[::-1]:
        os.kill(p, number)


class Story(harness.Scenario):
    @classmethod
    def set_up(cls, replicas):
        cls.pg = cls.shared(harness.Cluster(replicas))
        cls.pg.sql(0, "create table beat (id bigserial primary key)")

    def nodes(self, daemon, cluster="main"):
        return {n["name"]: n for n in daemon.ask("show", "nodes")["nodes"] if n["cluster"] == cluster}

    def schedule(self, daemon):
        return set(next(c for c in daemon.ask("status")["clusters"] if c["name"] == "main")["schedule"])

    def prober_of(self, daemon):
        return (processes(daemon.pid)[1:] or [None])[0]


class Fleet(Story):
    """shadow-1..3 come to harm, shadow-4 and the primary do not; `witness` is asked in its rhythm all the while."""

    @classmethod
    def setUpClass(cls):
        cls.set_up(4)
        for statement in ("create role locked login password 'right'", "grant pg_monitor to locked",
                          "create role plain login"):
            cls.pg.sql(0, statement)
        eventually(lambda: cls.pg.caught_up(4), within=20)
        hba = os.path.join(cls.pg.dir, "n4", "pg_hba.conf")
        with open(hba, "r+", encoding="utf-8") as f:
            rules = f.read()
            f.seek(0)
            f.write("host all locked 127.0.0.1/32 scram-sha-256\n" + rules)
        cls.pg.sql(4, "select pg_reload_conf()")
        cls.names = cls.shared(Names())
        os.environ["PINROUTE_RESOLV_CONF"] = cls.names.path
        cls.addClassCleanup(os.environ.pop, "PINROUTE_RESOLV_CONF")

    def setUp(self):
        self.names.mode = "nobody"
        self.full, self.nobody = self._ends(FullListener()), self._ends(Nobody())
        self.silent, self.mute = self._ends(FakePg("silent")), self._ends(FakePg("ok_then_silent"))
        self.rhythm = {"witness": Rhythm(), "elsewhere": Rhythm()}
        for r in self.rhythm.values():
            self._ends(r.server)
        self.writer = self._ends(Writer(self.pg))
        good = self.pg.conninfo(4)
        named = good.replace("host=127.0.0.1", "host={}.example")
        self.never = {
            "refusing": (f"host=127.0.0.1 port={self.nobody.port} user=u dbname=d", "refused"),
            "unreachable": (f"host=127.0.0.1 port={self.full.port} user=u dbname=d",
                            r"no answer within 250 ms \(connecting"),
            "silent": (self.silent.conninfo(), r"no answer within 250 ms \(connecting"),
            "mute": (self.mute.conninfo(), r"no answer within 250 ms \(waiting"),
            "password": (self.pg.conninfo(4, user="locked") + " password=wrong", "password authentication failed"),
            "database": (self.pg.conninfo(4, database="nowhere"), 'database "nowhere" does not exist'),
            "rights": (self.pg.conninfo(4, user="plain"), "lag unknown: .*pg_monitor"),
            "name": (named.format("unknown"), "cannot resolve unknown.example"),
            "resolver": (named.format("asked"), "cannot resolve asked.example"),
            "witness": (self.rhythm["witness"].server.conninfo(), "not in recovery"),
        }
        lines = self.pg.nodes() + [f"{name} = {conninfo}" for name, (conninfo, _) in self.never.items()]
        elsewhere = f"default = {self.rhythm['elsewhere'].server.conninfo()} role=primary"
        self.system = self.daemon({"main": lines, "other": [elsewhere]}, cluster_options=OPTIONS)
        self.good = {f"shadow-{n}" for n in range(1, 5)}
        eventually(lambda: self.schedule(self.system) == self.good, within=15)
        eventually(lambda: all(self.nodes(self.system)[n]["state"] == "DOWN" for n in self.never), within=15)

    def observe(self, what, until, within=20, unharmed=()):
        """Looks at all nodes until `until` is true of them; nobody who is not concerned changes meanwhile."""
        deadline = time.monotonic() + within
        while True:
            seen = self.nodes(self.system)
            now = time.monotonic()
            self.assertEqual({n: seen[n]["state"] for n in unharmed}, {n: "UP" for n in unharmed}, what)
            self.assertIsNone(seen["default"]["lag_ms"])
            if until(seen, now):
                return
            self.assertLess(now, deadline, f"{what}: {[(n['name'], n['state'], n['why']) for n in seen.values()]}")

    def assert_rhythm(self, what, since):
        worst = {name: r.worst(since) for name, r in self.rhythm.items()}
        print(f"{what}: others were asked within {max(worst.values()) * 1000:.0f} ms of their time", flush=True)
        self.assertLess(max(worst.values()), bound(RHYTHM), worst)

    def test_what_cannot_serve_never_enters_and_disturbs_nobody(self):
        seen = self.nodes(self.system)
        for name, (_, why) in self.never.items():
            self.assertRegex(seen[name]["why"], why, name)
            self.assertIsNone(seen[name]["lag_ms"], name)
        for mode, why in (("nobody", "cannot resolve"), ("silent", "cannot resolve|no answer within 250 ms .resolving")):
            self.names.mode = mode
            began = time.monotonic()
            outsiders = self.never.keys()
            self.observe(mode, lambda s, now: now > began + size(15, 2), within=60, unharmed={"default", *self.good})
            seen = self.nodes(self.system)
            self.assertEqual({seen[n]["state"] for n in outsiders}, {"DOWN"})
            self.assertTrue(all(re.search(why, seen[n]["why"]) for n in ("name", "resolver")), seen)
            self.assertEqual(self.schedule(self.system), self.good)
            self.assert_rhythm(f"names: {mode}", began)

    def test_what_is_mended_enters_after_its_good_checks(self):
        mended = {"password", "database", "name", "resolver", "rights"}
        down = self.nodes(self.system)
        self.names.mode = "127.0.0.1"
        self.pg.sql(0, "alter role locked password 'wrong'")
        self.pg.sql(0, "create database nowhere")
        self.pg.sql(0, "grant pg_monitor to plain")
        self.addCleanup(self.pg.sql, 0, "revoke pg_monitor from plain")
        self.addCleanup(self.pg.sql, 0, "drop database nowhere with (force)")
        self.addCleanup(self.pg.sql, 0, "alter role locked password 'right'")
        self.returned(mended, down)

    def returned(self, names, down):
        """Each is UP after `rise` good checks, no sooner; counted from what it had when it was down."""
        def good_checks(n):
            return n["checks"] - n["fails"]

        took = {}

        def all_up(seen, _):
            for name in names:
                if seen[name]["state"] == "UP" and name not in took:
                    took[name] = good_checks(seen[name]) - good_checks(down[name])
            return len(took) == len(names)

        self.observe("return", all_up, unharmed={"default", "shadow-4"})
        print(f"good checks until back: {took}", flush=True)
        # once back it is asked more often, and the next look may come late
        self.assertTrue(all(RISE <= n for n in took.values()), took)

    def test_the_killed_the_frozen_and_the_lagging_leave_in_time_and_return(self):
        concerned = {"shadow-1", "shadow-2", "shadow-3"}
        pids = {n: self.pg.pid(n) for n in (1, 2)}
        pause = self.pg.session(3)
        self._ends(pause)
        self.addCleanup(self.pg.thaw, 2)
        began, left = {}, {}
        began["shadow-1"] = time.monotonic()
        signal_all(pids[1], signal.SIGKILL)
        began["shadow-2"] = time.monotonic()
        signal_all(pids[2], signal.SIGSTOP)
        began["shadow-3"] = time.monotonic()
        pause.run("select pg_wal_replay_pause()")

        def all_left(seen, now):
            for name in concerned:
                if seen[name]["state"] == "DOWN":
                    left.setdefault(name, now - began[name])
            return len(left) == len(concerned)

        self.observe("fault", all_left, unharmed={"default", "shadow-4"})
        allowed = {"shadow-1": LEAVES, "shadow-2": LEAVES, "shadow-3": MAX_LAG + INTERVAL + LEAVES}
        print("left after " + ", ".join(f"{n} {left[n]:.2f} s of {allowed[n]:.2f}" for n in sorted(left)), flush=True)
        for name, limit in allowed.items():
            self.assertLess(left[name], bound(limit), name)
        self.assertEqual(self.schedule(self.system), {"shadow-4"})
        down = self.nodes(self.system)
        self.assertRegex(down["shadow-1"]["why"], "refused|closed the connection|terminat")
        self.assertRegex(down["shadow-2"]["why"], "no answer within")
        self.assertRegex(down["shadow-3"]["why"], "lag [0-9]+ ms, limit 1000 ms")
        self.observe("down", lambda s, now: now > began["shadow-1"] + size(20, 2.5), within=60,
                     unharmed={"default", "shadow-4"})
        self.assert_rhythm("faults", began["shadow-1"])

        down = self.nodes(self.system)
        self.pg.thaw(2)
        pause.run("select pg_wal_replay_resume()")
        self.pg.start(1)
        self.returned(concerned, down)
        self.assertEqual(self.schedule(self.system), self.good)


class Service(Story):
    """The daemon's own troubles: nobody there at start, a bad config, restarts, a prober that dies or hangs."""

    BOTH = {"shadow-1", "shadow-2"}

    @classmethod
    def setUpClass(cls):
        cls.set_up(2)

    def start(self, clusters=None, until_balanced=True):
        self.system = self.daemon(clusters or self.pg, cluster_options=OPTIONS)
        self.reader = self.worker(self.system)
        if until_balanced:
            eventually(lambda: self.schedule(self.system) == self.BOTH, within=15)

    def states(self):
        return {n["name"]: n["state"] for n in self.nodes(self.system).values()}

    def recorded(self, key="k"):
        self.assertEqual(self.reader.record("main", key).status, "OK")

    def test_it_starts_with_all_nodes_down_and_takes_them_as_they_come(self):
        for n in (2, 1, 0):
            self.pg.stop(n, "immediate")
        self.addCleanup(lambda: [self.pg.start(n) for n, line in enumerate(self.pg.do("status").splitlines())
                                 if line.endswith("stopped")])
        self.start(until_balanced=False)
        eventually(lambda: set(self.states().values()) == {"DOWN"}, within=10)
        said = self.reader.read("main")
        self.assertEqual((said.status, said.node, said.reason), ("OK", "default", "NO_REPLICA"))
        self.recorded()
        self.assertEqual(self.reader.read("main", "k").node, "default")
        self.pg.start(1)  # without a primary its lag is unknown
        end = time.monotonic() + 2 * RISE * INTERVAL
        while time.monotonic() < end:
            node = self.nodes(self.system)["shadow-1"]
            self.assertEqual((node["state"], node["lag_ms"]), ("DOWN", None))
        self.assertRegex(node["why"], "lag unknown")
        self.pg.start(0)
        eventually(lambda: self.schedule(self.system) == {"shadow-1"}, within=15)
        self.pg.start(2)
        eventually(lambda: self.schedule(self.system) == self.BOTH, within=15)
        eventually(lambda: self.reader.read("main", "k").reason == "CAUGHT_UP", within=10)

    def test_unknown_lag_is_not_zero(self):
        nobody = self._ends(Nobody())
        lines = self.pg.nodes()
        lines[0] = f"default = host=127.0.0.1 port={nobody.port} user=u dbname=d role=primary"
        self.start({"main": lines}, until_balanced=False)
        eventually(lambda: set(self.states().values()) == {"DOWN"}, within=10)
        seen = self.nodes(self.system)
        for name in self.BOTH:
            self.assertIsNone(seen[name]["lag_ms"])
            self.assertEqual(seen[name]["why"], "lag unknown: the primary has not answered yet")
        self.system.write_config(self.pg, cluster_options=OPTIONS)
        self.system.reload()
        eventually(lambda: self.schedule(self.system) == self.BOTH, within=15)
        self.assertEqual(set(self.states().values()), {"UP"})

    def test_a_drain_outlives_recovery_reload_and_restart(self):
        self.start()
        self.system.ctl("drain", "shadow-1")

        def drained():
            node = self.nodes(self.system)["shadow-1"]
            return node["admin"] == "drain" and self.schedule(self.system) == {"shadow-2"}

        self.assertTrue(drained())
        self.pg.stop(1, "immediate")
        eventually(lambda: self.states()["shadow-1"] == "DOWN", within=10)
        self.pg.start(1)
        eventually(lambda: self.states()["shadow-1"] == "UP", within=15)
        self.assertTrue(drained())
        seen = len(self.system.log)
        self.system.reload()
        self.system.wait_log("reloaded", since=seen)
        self.assertTrue(drained())
        for end in (self.system.kill, self.system.stop):
            end()
            self.system.start()
            eventually(lambda: self.states() == {"default": "UP", "shadow-1": "UP", "shadow-2": "UP"}, within=15)
            self.assertTrue(drained())
            self.assertEqual(set(self.reader.reads("main", n=100).by_node()), {"shadow-2"})
        self.system.ctl("ready", "shadow-1")
        self.assertEqual(self.schedule(self.system), self.BOTH)

    def test_a_bad_config_at_reload_leaves_the_old_one_in_force(self):
        self.start()
        before = self.system.ask("show", "config")
        with open(self.system.conf, encoding="utf-8") as f:
            good = f.read()
        for bad in (good.replace("fall = 2", "fal = 9"), good.replace("role=primary", ""), ""):
            seen = len(self.system.log)
            self.system.write_text(bad)
            self.system.reload()
            self.system.wait_log("config in force stays", since=seen)
            done = self.system.ctl("reload", check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertEqual(self.system.ask("show", "config"), before)
            self.assertIn("the last reload was refused", self.system.ctl("status").stdout)
            self.assertEqual(self.schedule(self.system), self.BOTH)
            self.assertEqual(self.reader.read("main").reason, "BALANCED")
            self.recorded()
        seen = len(self.system.log)
        self.system.write_text(good.replace("fall = 2", "fall = 5"))
        self.system.reload()
        self.system.wait_log("reloaded", since=seen)
        self.assertNotEqual(self.system.ask("show", "config"), before)
        self.assertNotIn("the last reload was refused", self.system.ctl("status").stdout)

    def paused(self):
        """Both replicas stand still; a key that wrote is pinned until they go on."""
        for n in (1, 2):
            self.pg.sql(n, "select pg_wal_replay_pause()")
            eventually(lambda n=n: self.pg.sql(n, "select pg_get_wal_replay_pause_state()") == "paused", within=10)
        self.addCleanup(self.resumed)
        self.pg.sql(0, "insert into beat default values")
        self.recorded("pinned")

    def resumed(self):
        for n in (1, 2):
            self.pg.sql(n, "select pg_wal_replay_resume()")

    def until_another_prober(self, old):
        """Records and pins are what they were all the while."""
        def another():
            self.recorded("another")
            said = self.reader.read("main", "pinned")
            self.assertEqual((said.node, said.reason), ("default", "PINNED"))
            now = self.prober_of(self.system)
            return now if now not in (None, old) else None

        return eventually(another, within=20, every=0)

    def test_a_dead_prober_is_replaced_and_meanwhile_records_and_pins_hold(self):
        self.start()
        self.paused()
        for _ in range(size(10, 2)):
            old = self.prober_of(self.system)
            os.kill(old, signal.SIGKILL)
            self.until_another_prober(old)
        self.resumed()
        eventually(lambda: set(self.states().values()) == {"UP"}, within=15)
        eventually(lambda: self.reader.read("main", "pinned").reason == "CAUGHT_UP", within=10)

    def test_a_hung_prober_ends_early_release_then_the_schedule_and_is_replaced(self):
        self.start()
        self.recorded()
        eventually(lambda: self.reader.read("main", "k").reason == "CAUGHT_UP", within=10)
        old = self.prober_of(self.system)
        began = time.monotonic()
        os.kill(old, signal.SIGSTOP)
        last = out = 0
        while not out:
            said = self.reader.read("main", "k")
            now = time.monotonic() - began
            if said.reason == "CAUGHT_UP":
                last = now
            elif self.reader.read("main").reason == "NO_REPLICA":
                out = now
            self.assertLess(now, 20)
        print(f"prober stopped: CAUGHT_UP for {last * 1000:.0f} ms more, replicas out after {out:.2f} s", flush=True)
        self.assertLess(last, bound(0.06 + 0.01))
        self.assertLess(out, bound(LEAVES + FALL * 0.25))  # the core waits that much longer than the prober would
        self.recorded()
        eventually(lambda: self.prober_of(self.system) not in (None, old), within=20)
        print(f"prober stopped: replaced after {time.monotonic() - began:.2f} s", flush=True)
        self.recorded()
        eventually(lambda: self.schedule(self.system) == self.BOTH, within=15)
        eventually(lambda: self.reader.read("main", "k").reason == "CAUGHT_UP", within=10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
