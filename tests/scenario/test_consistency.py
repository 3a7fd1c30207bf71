"""test_consistency.py -- what a call, or a cluster, may ask for beyond the promise: a key's own replica, a bound on how
far behind a read may be, and a budget of what the primary takes while there is no replica.
ctest: parallel"""
import bisect
import os
import threading
import time
import unittest

import harness
from harness import eventually, size

REPLICAS = ("shadow-1", "shadow-2")
DAEMON = {"stale_after": "400ms"}
CHECKS = {"check_interval": "100ms", "check_timeout": "100ms", "fall": 4, "rise": 1, "max_lag": "60s", "pin_seconds": 1,
          "max_pin_seconds": 1}  # and a floor lasts no longer
LONG = {"max_pin_seconds": 60}
KEYS = [f"u:{i}" for i in range(40)]
BUDGET = 50


class Writer(threading.Thread):
    """Commits a row on the primary every few milliseconds, and knows when each was there."""

    def __init__(self, pg):
        super().__init__(daemon=True)
        self.session = pg.session(0)
        self.done = []  # when the commit of row 1, 2, ... had returned
        self.enough = threading.Event()
        self.start()

    def run(self):
        while not self.enough.wait(0.005):
            self.session.run(f"insert into row values ({len(self.done) + 1})")
            self.done.append(time.monotonic())

    def owed(self, then):
        """The row that everybody must have who has all that the primary had at that time; 0: none."""
        return bisect.bisect_right(self.done, then)

    def close(self):
        self.enough.set()
        self.join()
        self.session.close()


class Story(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))
        cls.pg.sql(0, "create table row (id int primary key)")
        cls.system = cls.shared(harness.Daemon(cls.pg, DAEMON, CHECKS))
        cls.node = {name: cls.shared(cls.pg.session(n)) for n, name in enumerate(("default", *REPLICAS))}

    def setUp(self):
        self.reader = self.worker(self.system)

    def serve(self, **options):
        self.system.write_config(self.pg, DAEMON, {**CHECKS, **options})
        self.assertTrue(self.system.ask("reload")["reloaded"])

    def schedule(self):
        return set(self.system.ask("status")["clusters"][0]["schedule"])

    # -- balance = affinity --

    def homes(self, worker=None, reasons=("AFFINITY", "CAUGHT_UP")):
        """{key: its node}, once they are read from there; a floor may be alive yet, and is over when they have all."""
        worker = worker or self.reader
        said = {}

        def at_home():
            said.update((key, worker.read("main", key)) for key in KEYS)
            return {s.reason for s in said.values()} <= set(reasons)

        eventually(at_home, within=20)
        return {key: s.node for key, s in said.items()}

    def test_a_key_keeps_to_one_replica_in_every_process_over_restarts_and_comes_back_to_it(self):
        self.serve(balance="affinity")
        eventually(lambda: self.schedule() == set(REPLICAS), within=20)
        home = self.homes(reasons=("AFFINITY",))
        self.assertEqual(set(home.values()), set(REPLICAS))
        self.assertEqual(self.homes(), home)
        self.assertEqual(set(self.reader.reads("main", None, 100).by_reason()), {"BALANCED"})
        self.assertEqual(self.reader.reads("main", None, 100).by_node(), {name: 50 for name in REPLICAS})
        self.assertEqual(self.homes(self.worker(self.system)), home, "another process")
        self.system.kill()
        self.system.start()
        self.assertEqual(self.homes(), home, "another daemon")
        self.system.stop()
        os.unlink(os.path.join(self.system.dir, "data.mdb"))
        self.system.start()
        self.assertEqual(self.homes(self.worker(self.system)), home, "a new store, with another seed")
        self.system.ctl("drain", "shadow-1")
        eventually(lambda: self.schedule() == {"shadow-2"}, within=20)
        self.assertEqual(set(self.homes(self.worker(self.system)).values()), {"shadow-2"})
        self.system.ctl("ready", "shadow-1")
        eventually(lambda: self.schedule() == set(REPLICAS), within=20)
        self.assertEqual(self.homes(self.worker(self.system)), home, "it is back")

    def test_a_pinned_key_waits_for_its_own_replica_and_hops_to_no_other(self):
        self.serve(balance="affinity", **LONG)
        eventually(lambda: self.schedule() == set(REPLICAS), within=20)
        home = self.homes()
        slow, quick = (next(key for key in KEYS if home[key] == name) for name in REPLICAS)
        self.node["shadow-1"].run("select pg_wal_replay_pause()")
        eventually(lambda: self.node["shadow-1"].value("select pg_get_wal_replay_pause_state()") == "paused", within=20)
        self.node["default"].run("create table if not exists more (id int)")
        for key in (slow, quick):
            self.assertEqual(self.reader.record("main", key, 60).status, "OK")
        seen = set()

        def released():
            said = self.reader.read("main", slow)
            seen.add((said.node, said.reason))
            return self.reader.read("main", quick).reason == "CAUGHT_UP"

        eventually(released, within=20)
        for _ in range(20):
            released()
        self.assertEqual(seen, {("default", "PINNED")})
        self.node["shadow-1"].run("select pg_wal_replay_resume()")
        self.assertEqual(eventually(lambda: (s := self.reader.read("main", slow)).reason == "CAUGHT_UP" and s, within=20).node,
                         "shadow-1")

    # -- a bound --

    def look(self, writer, ms):
        """One read within the bound: does the node that it names have all that it must?"""
        before = time.monotonic()
        said = self.reader.within(ms)
        has = int(self.node[said.node].value("select coalesce(max(id), 0) from row"))
        self.assertGreaterEqual(has, writer.owed(before - ms / 1000), f"within {ms} ms: {said}")
        return said.node, said.reason

    def test_a_read_within_a_bound_is_never_older(self):
        self.serve()
        eventually(lambda: self.schedule() == set(REPLICAS), within=20)
        writer = self._ends(Writer(self.pg))
        eventually(lambda: {self.look(writer, 2000)[0] for _ in range(4)} == set(REPLICAS), within=20)
        self.assertEqual({self.look(writer, 0) for _ in range(5)}, {("default", "BEHIND")})
        self.pg.lag(1, "900ms")
        seen, until = {}, time.monotonic() + size(10, 1.8)
        while time.monotonic() < until:
            for ms in (100, 300, 700, 1500, 5000):
                seen.setdefault(ms, set()).add(self.look(writer, ms))
        self.assertIn(("shadow-2", "BALANCED"), seen[700], "the other one is recent")
        self.assertLessEqual({("shadow-1", "BALANCED"), ("shadow-2", "BALANCED")}, seen[5000])
        eventually(lambda: self.look(writer, 700)[0] == "shadow-2", within=20)
        self.assertNotIn("shadow-1", {self.look(writer, 700)[0] for _ in range(20)})
        for name in REPLICAS:
            self.node[name].run("select pg_wal_replay_pause()")
        eventually(lambda: self.look(writer, 1000) == ("default", "BEHIND"), within=20)
        self.assertEqual({self.look(writer, 1000) for _ in range(20)}, {("default", "BEHIND")})
        self.assertEqual(self.reader.read().reason, "BALANCED", "who gave no bound gets what there is")
        for name in REPLICAS:
            self.node[name].run("select pg_wal_replay_resume()")
        self.pg.lag(1, "0")
        eventually(lambda: {self.look(writer, 1000)[0] for _ in range(4)} == set(REPLICAS), within=20)

    def test_a_frozen_replica_and_a_silent_daemon_are_within_no_bound_for_long(self):
        self.serve()
        eventually(lambda: self.reader.within(1000).reason == "BALANCED", within=20)
        self.pg.freeze(1)
        self.addCleanup(self.pg.thaw, 1)
        frozen = time.monotonic()
        eventually(lambda: time.monotonic() > frozen + 0.5, within=20)
        self.assertNotIn("shadow-1", self.reader_within(500))
        self.system.pause()
        self.addCleanup(self.system.resume)
        eventually(lambda: self.reader.within(60000).reason == "STORE_STALE", within=20)
        self.assertEqual(self.reader.read().reason, "BALANCED")
        self.system.resume()
        eventually(lambda: self.reader.within(1000).reason == "BALANCED", within=20)

    def reader_within(self, ms):
        return {self.reader.within(ms).node for _ in range(20)}

    # -- primary_budget --

    def counted(self, *reasons):
        """What all processes have been told so far, by the daemon's count."""
        said = self.system.ask("show", "stats")["decisions"]
        return [sum(d["count"] for d in said if d["reason"] == reason) for reason in reasons]

    def test_while_all_replicas_are_dead_the_primary_takes_no_more_keyless_reads_than_its_budget(self):
        self.serve(primary_budget=BUDGET, **LONG)
        self.assertEqual(self.reader.record("main", "wrote", 60).status, "OK")
        for n in (1, 2):
            self.addCleanup(self.pg.start, n)
            self.pg.stop(n, "immediate")
        eventually(lambda: self.reader.read().reason in ("NO_REPLICA", "OVER_BUDGET"), within=20)
        crowd, pinned = [self.worker(self.system) for _ in range(4)], self.worker(self.system)
        for worker in (*crowd, pinned):
            worker.number("main")
        before = self.counted("NO_REPLICA", "OVER_BUDGET")
        began = time.monotonic()
        for worker in crowd:
            worker.start_spin("main", None, size(10000, 1300))
        pinned.start_spin("main", "wrote", 300)
        said = [worker.answer() for worker in crowd]
        ended = time.monotonic()
        went = sum(s.by_reason().get("NO_REPLICA", 0) for s in said)
        refused = sum(s.by_reason().get("OVER_BUDGET", 0) for s in said)
        print(f"{went} reads went to the primary in {ended - began:.2f} s, {refused} did not", flush=True)
        self.assertEqual({s.status for s in said}, {"E_NO_REPLICA"})
        self.assertEqual({node for s in said for node in s.by_node()}, {"default"})
        self.assertLessEqual(went, BUDGET * (int(ended) - int(began) + 1))
        self.assertGreaterEqual(went, BUDGET * (int(ended) - int(began) - 1))
        self.assertGreater(refused, 1000)
        self.assertEqual([now - was for now, was in zip(self.counted("NO_REPLICA", "OVER_BUDGET"), before)], [went, refused])
        wrote = pinned.answer()
        self.assertEqual((wrote.status, set(wrote.by_reason())), ("OK", {"PINNED"}))
        for _ in range(10):
            self.assertEqual(self.reader.read("main", "somebody").status, "OK", "it has a key")
            self.assertEqual(self.reader.write().status, "OK")


if __name__ == "__main__":
    unittest.main()
