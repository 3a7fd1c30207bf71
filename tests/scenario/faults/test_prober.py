#!/usr/bin/env python3
"""test_prober.py -- the row `prober` of the failure contract: the process that asks the servers is dead, hangs, or
cannot find one.  Meanwhile the replica loses what it had, so that an old answer would be a stale read."""
# ctest: parallel
import contextlib
import os
import signal
import threading
import time
import unittest

from contract import KEYED, RECORD, UNKEYED  # and with it the way to the harness
import harness
from harness import bound, eventually, size
from test_prober import Names  # of the scenarios
from watch import Watched

FALL = 2
OPTIONS = {"check_interval": "200ms", "check_timeout": "150ms", "fall": FALL, "rise": 2, "max_lag": "1s"}
TRUST = 0.06 + 0.01  # caught_up_trust, and a tick of the clock by which a stub tells an answer's age


class Reaper(threading.Thread):
    """Kills every prober as soon as there is one."""

    def __init__(self, prober_of):
        super().__init__(daemon=True)
        self.prober_of = prober_of
        self.killed = set()
        self._enough = threading.Event()
        self.start()

    def run(self):
        while not self._enough.wait(0.001):
            pid = self.prober_of()
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self.killed.add(pid)

    def close(self):
        self._enough.set()
        self.join(10)


class Prober(Watched):
    server = {**Watched.server, "named": 1}

    @classmethod
    def setUpClass(cls):
        cls.set_up(1, "fsync = on")  # as in production: a server that crashed is not back at once
        cls.names_ = cls.shared(Names())
        os.environ["PINROUTE_RESOLV_CONF"] = cls.names_.path
        cls.addClassCleanup(os.environ.pop, "PINROUTE_RESOLV_CONF")
        cls.named = cls.pg.conninfo(1).replace("127.0.0.1", "replica.example")
        cls.system = cls.shared(harness.Daemon({"main": cls.lines(cls.named)}, cluster_options=OPTIONS))

    @classmethod
    def lines(cls, named):
        return cls.pg.nodes() + [f"named = {named}"]

    def prober(self):
        with open(f"/proc/{self.system.pid}/task/{self.system.pid}/children", encoding="ascii") as f:
            return next(map(int, f.read().split()), None)

    def stand_by(self):
        self.key = self.id().rpartition(".")[2]
        self.later = self.key + "-later"
        self.pg.sql(0, "checkpoint")
        eventually(lambda: self.pg.caught_up(1), within=20)
        self.pg.sql(1, "checkpoint")
        self.watchers(("main", None), ("main", self.key))
        self.write(self.key)
        for node in ("shadow-1", "named"):
            self.names(node, None)
            self.names(node, self.key)
        self.fails = self.node("shadow-1")["fails"]

    def crash(self):
        """The replica comes back from before its last commits, and waits with each that it replays."""
        self.pg.lag(1, "1h")
        self.addCleanup(self.pg.lag, 1, 0)
        self.watch.forget("shadow-1", "named")
        self.pg.crash(1)

    def leaves(self):
        """After the fault: a write that the replica lacks, and a look at all until nobody is left in the schedule."""
        self.write(self.later)
        self.watch.about.append(("main", self.later))
        eventually(lambda: self.schedule() == set(), within=20)
        self.left = time.monotonic()
        self.fails = self.node("shadow-1")["fails"] - self.fails
        until = self.left + size(5, 0.2)
        eventually(lambda: time.monotonic() > until, within=20)
        self.watch.turn()

    def returns(self):
        eventually(lambda: self.has("shadow-1", self.key) is not None, within=20)
        self.assertIs(self.has("shadow-1", self.key), False, "it is not older than it was: this shows nothing")
        self.mended = time.monotonic()
        self.pg.lag(1, 0)
        for node in ("shadow-1", "named"):
            self.names(node, None)
            self.names(node, self.later)
        self.watch.close()

    def cells(self, fault, struck):
        with self.cell("prober", UNKEYED, fault):
            unkeyed = self.watch.of(None)
            self.assertEqual({s.status for s in unkeyed}, {"OK"})
            self.assertLessEqual({s.reason for s in unkeyed}, {"BALANCED", "NO_REPLICA"})
            served = [s for s in self.watch.of(None, since=struck, until=self.left) if s.reason == "BALANCED"]
            self.assertTrue(served, "the last schedule goes on")
            self.assertGreaterEqual(self.fails, FALL)
            down = self.watch.of(None, since=self.left, until=self.mended)
            self.assertEqual({(s.node, s.reason) for s in down}, {("default", "NO_REPLICA")})
            print(f"prober {fault}: the last schedule for {max(s.asked for s in served) - struck:.2f} s", flush=True)
        with self.cell("prober", KEYED, fault):
            during = self.watch.of(self.key, since=struck, until=self.mended)
            trusted = max((s.asked for s in during if s.node != "default"), default=struck) - struck
            print(f"prober {fault}: trusted for {trusted * 1000:.0f} ms more", flush=True)
            self.assertLess(trusted, TRUST)
            self.assertEqual({s.node for s in self.watch.of(self.later, until=self.mended)}, {"default"})
            self.assertEqual(self.watch.stale, [])
        with self.cell("prober", RECORD, fault):
            self.records_hold()

    def test_a_prober_that_dies_and_dies_again(self):
        self.stand_by()
        starts = self.stats()["prober_starts"]
        reaper = self._ends(Reaper(self.prober))
        eventually(lambda: reaper.killed, within=20)
        self.crash()
        struck = time.monotonic()
        self.leaves()
        eventually(lambda: len(reaper.killed) > 2, within=20)
        reaper.close()
        self.assertGreater(self.stats()["prober_starts"], starts + 1)
        self.returns()
        self.cells("dead", struck)

    def test_a_prober_that_hangs(self):
        self.stand_by()
        old = self.prober()
        os.kill(old, signal.SIGSTOP)
        eventually(lambda: harness.state_of(old) == "T", within=20)
        struck = time.monotonic()
        eventually(lambda: time.monotonic() > struck + TRUST, within=20)
        self.crash()  # of which nobody is told
        self.leaves()
        eventually(lambda: self.prober() not in (None, old), within=20, what="another prober")
        self.returns()
        self.cells("hung", struck)

    def rename(self, host):
        """The same server by another name, that nobody has resolved yet."""
        since = len(self.system.log)
        lines = self.lines(self.named.replace("replica.example", host))
        self.system.write_config({"main": lines}, cluster_options=OPTIONS)
        self.system.reload()
        self.system.wait_log("reloaded", since=since)
        return time.monotonic()

    def test_a_name_that_does_not_resolve(self):
        self.addCleanup(self.rename, "replica.example")
        self.addCleanup(setattr, self.names_, "mode", "127.0.0.1")
        for mode in ("nobody", "silent"):
            with self.subTest(mode):
                self.names_.mode = "127.0.0.1"
                self.rename(f"before.{mode}.example")
                self.stand_by()
                self.names_.mode = mode
                for node in ("named", "shadow-1"):  # the address is known
                    self.names(node, self.key)
                self.unresolved(mode)

    def unresolved(self, mode):
        struck = self.rename(f"{mode}.example")
        eventually(lambda: self.node("named")["state"] != "UP" and self.schedule() == {"shadow-1"}, within=20)
        left = time.monotonic()
        self.write(self.later)
        self.watch.about.append(("main", self.later))
        eventually(lambda: "resolv" in self.node("named")["why"], within=20)
        for key in (None, self.key, self.later):  # its neighbour, by address, is asked as ever
            self.names("shadow-1", key)
        until = left + size(5, 0.3)
        eventually(lambda: time.monotonic() > until, within=20)
        self.watch.turn()
        mended = time.monotonic()
        self.names_.mode = "127.0.0.1"
        self.names("named", self.later)
        self.watch.close()
        with self.cell("prober", UNKEYED, "name that does not resolve"):
            self.assertEqual({s.status for s in self.watch.of(None)}, {"OK"})
            during = self.watch.of(None, since=left, until=mended)
            self.assertNotIn("named", {s.node for s in during})
            self.assertLess(left - struck, bound(2))
        with self.cell("prober", KEYED, "name that does not resolve"):
            self.assertNotIn("named", {s.node for s in self.watch.of(self.later, until=mended)})
            named = [s.asked - struck for s in self.watch.of(self.key, since=struck, until=mended) if s.node == "named"]
            self.assertLess(max(named, default=0), TRUST)
            self.assertEqual(self.watch.stale, [])
        with self.cell("prober", RECORD, "name that does not resolve"):
            self.records_hold()


if __name__ == "__main__":
    unittest.main(verbosity=2)
