"""test_positions.py -- what a WAL position is worth: after a crash, and after a WAL switch; after a promotion: faults/test_primary.py.
Each time a replica could be taken for one that has a write, and it lacks it."""
# ctest: parallel long
import os
import signal
import socket
import struct
import time
import unittest

import harness
from harness import bound, eventually, size


TRUST = 0.06 + 0.01  # caught_up_trust, and a tick of the clock by which a stub tells an answer's age


def look(port, statement, database="app", user="app"):
    """The first value that a new connection reads there, "" when there is no row; None: it does not serve now.
    A client of our own: psql would need 20 ms to be there, and a crashed server is back sooner."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
            words = f"user\0{user}\0database\0{database}\0\0".encode()
            s.sendall(struct.pack("!II", len(words) + 8, 196608) + words)
            with s.makefile("rb") as answers:
                if not until_ready(answers):
                    return None
                question = statement.encode() + b"\0"
                s.sendall(b"Q" + struct.pack("!I", len(question) + 4) + question)
                rows = until_ready(answers)
    except (OSError, struct.error):
        return None
    value = next((body for kind, body in rows or [] if kind == b"D"), None)
    return None if rows is None else value[6:].decode() if value else ""


def until_ready(answers):
    """Messages up to ReadyForQuery; None when the server ended it or sent an error."""
    seen = []
    while True:
        kind, size_ = struct.unpack("!cI", answers.read(5))
        seen.append((kind, answers.read(size_ - 4)))
        if kind == b"E":
            return None
        if kind == b"Z":
            return seen


def kill_one_process_of(pid):
    """A crash, as the postmaster sees it: it ends all its processes and starts them anew."""
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


class Story(harness.Scenario):
    def table(self, pg):
        pg.sql(0, "create table t (k text primary key, v int)")
        pg.sql(0, "grant all on t to app")

    def node(self, daemon, name):
        return next(node for node in daemon.ask("status")["clusters"][0]["nodes"] if node["name"] == name)

    def cluster_of(self, daemon):
        return daemon.ask("status")["clusters"][0]

    def schedule(self, daemon):
        return set(self.cluster_of(daemon)["schedule"])

    def put(self, pg, node, value, key="k"):
        pg.sql(node, f"insert into t values ('{key}', {value}) on conflict (k) do update set v = excluded.v")


class Crash(Story):
    """A replica whose process dies is back in a moment, at the older position from which it replays."""

    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=1))
        Story.table(cls, cls.pg)
        cls.value = 0

    def fsync(self, on):
        """With fsync, as in production, a server that comes back takes time over its files; without, hardly any."""
        self.pg.sql(1, f"alter system set fsync = {on}")
        self.pg.sql(1, "select pg_reload_conf()")

    def background_writer(self):
        return int(self.pg.sql(1, "select pid from pg_stat_activity where backend_type = 'background writer'"))

    def until_back(self):
        """Crashes the replica; how long until it takes connections again."""
        pid = self.background_writer()
        began = kill_one_process_of(pid)
        eventually(lambda: look(self.pg.ports[1], "select 1") is None or time.monotonic() > began + 0.05, every=0)
        eventually(lambda: look(self.pg.ports[1], "select 1") == "1", within=20, every=0)
        return time.monotonic() - began

    def test_how_soon_a_crashed_replica_is_back(self):
        for fsync in ("on", "off"):
            self.fsync(fsync)
            took = sorted(self.until_back() * 1000 for _ in range(size(20, 3)))
            print(f"fsync = {fsync}: a crashed replica took connections again after {took[0]:.0f} ms at best, "
                  f"{took[len(took) // 2]:.0f} ms as a rule ({len(took)} tries)", flush=True)

    def older_soon(self):
        """A write that the replica has, a pin that it satisfies, and a crash would take the write from it."""
        self.pg.lag(1, 0)
        self.pg.sql(0, "checkpoint")
        eventually(lambda: self.pg.caught_up(1), within=20)
        self.pg.sql(1, "checkpoint")
        Crash.value += 1
        self.put(self.pg, 0, self.value)
        self.assertEqual(self.reader.record("main", "k").status, "OK")
        eventually(lambda: self.reader.read("main", "k").reason == "CAUGHT_UP", within=10)
        self.pg.lag(1, "1h")
        victim = self.background_writer()
        eventually(lambda: self.reader.read("main", "k").reason == "CAUGHT_UP", within=10)
        return victim

    def watch(self, crashed, seconds=0.5):
        """Reads as an application would, connecting anew; the stale ones, and when the replica was last trusted."""
        stale, trusted = [], 0
        while time.monotonic() < crashed + seconds:
            said = self.reader.read("main", "k")
            after = (time.monotonic() - crashed) * 1000
            if said.reason == "CAUGHT_UP":
                trusted = after
                seen = look(self.pg.ports[1], "select v from t where k = 'k'")
                if seen is not None and seen != str(self.value):
                    stale.append((round(after), seen))
        lacks = eventually(lambda: look(self.pg.ports[1], "select coalesce(max(v), 0) from t"), within=20)
        return stale, trusted, lacks != str(self.value)

    def crash_and_watch(self, title, meanwhile, afterwards, **options):
        """meanwhile() befalls the daemon at the moment of the crash.  Returns the stale reads, and how long after
        each crash the replica was still trusted."""
        self.fsync("on")
        self.system = self.daemon(self.pg, cluster_options=options)
        self.reader = self.worker(self.system)
        stale, trusted, older = [], [], 0
        for _ in range(size(20, 2)):
            victim = self.older_soon()
            meanwhile()
            missed, last, lacks = self.watch(kill_one_process_of(victim))
            stale += missed
            trusted.append(last)
            older += lacks
            afterwards()
        print(f"{title}: {len(trusted)} crashes, {older} to an older position, trusted for at most {max(trusted):.0f} ms, "
              f"{len(stale)} stale reads {stale[:3]}", flush=True)
        self.assertGreater(older, 0, "no crash took the replica back: this shows nothing")
        return stale, max(trusted) / 1000

    def test_it_is_not_trusted_for_what_it_said_before(self):
        # the broken connection says so, long before the answer grows old or the next question is due
        stale, trusted = self.crash_and_watch("daemon running", lambda: None, lambda: None, caught_up_trust="3s",
                                              fence_interval="1s")
        self.assertEqual(stale, [])
        self.assertLess(trusted, bound(0.05))

    def test_it_is_not_trusted_for_what_it_said_before_while_the_daemon_is_stopped(self):
        stale, trusted = self.crash_and_watch("daemon stopped", lambda: self.system.pause(), lambda: self.system.resume())
        self.assertEqual(stale, [])
        self.assertLess(trusted, TRUST)

    def test_it_is_not_trusted_for_what_it_said_before_when_the_daemon_was_killed(self):
        stale, trusted = self.crash_and_watch("daemon killed", lambda: self.system.kill(), lambda: self.system.start())
        self.assertEqual(stale, [])
        self.assertLess(trusted, TRUST)

    def test_trusting_it_for_longer_than_it_takes_to_be_back_reads_stale(self):
        stale, _ = self.crash_and_watch("trusted for 1 s", lambda: (self.fsync("off"), self.system.pause()),
                                        lambda: self.system.resume(), caught_up_trust="1s")
        self.assertNotEqual(stale, [])


class Quiet(Story):
    """A primary that writes nothing."""

    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))
        Story.table(cls, cls.pg)

    def start(self):
        self.system = self.daemon(self.pg, cluster_options={"max_lag": "1s"})
        self.reader = self.worker(self.system)
        eventually(lambda: self.schedule(self.system) == {"shadow-1", "shadow-2"}, within=10)

    def until_released(self, key):
        began = time.monotonic()
        nodes = set()
        while len(nodes) < 2:
            said = self.reader.read("main", key)
            if said.reason == "CAUGHT_UP":
                nodes.add(said.node)
            self.assertLess(time.monotonic() - began, bound(1), f"{said}, released by {nodes}")
        return time.monotonic() - began

    def test_an_idle_primary_after_a_wal_switch_keeps_its_replicas_and_releases_pins(self):
        self.start()
        took = []
        for turn in range(size(10, 3)):
            self.put(self.pg, 0, turn)
            self.pg.sql(0, "select pg_switch_wal()")
            self.assertEqual(self.reader.record("main", f"key {turn}").status, "OK")
            took.append(self.until_released(f"key {turn}"))
        print(f"after pg_switch_wal(): released by both replicas in {[round(t * 1000) for t in took]} ms", flush=True)
        lines = len(self.system.log)
        end = time.monotonic() + size(20, 1.5)
        while time.monotonic() < end:
            self.assertEqual(self.schedule(self.system), {"shadow-1", "shadow-2"}, self.system.log)
            self.assertEqual([self.node(self.system, n)["lag_ms"] for n in ("shadow-1", "shadow-2")], [0, 0])
        self.assertEqual(self.system.log[lines:], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
