"""lagging.py -- a cluster whose replicas lag, so that a read which goes to one too early is seen to lack its write.
A write is a number; its row is looked for on the node that a decision names."""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import contract  # noqa: E402  (its directory is known only now)
import harness  # noqa: E402  (contract knows where)
from harness import bound, eventually  # noqa: E402

LAG = "100ms"  # of both replicas, always; hold_back() makes them stand still
REPLICAS = ("shadow-1", "shadow-2")
TIMEOUT_MS = 150
QUICK_US = TIMEOUT_MS * 1000 // 3  # at once, as against the timeout
PINNED_FOR = 120  # seconds: longer than any test
CHECKS = {"check_interval": "250ms", "check_timeout": "250ms", "fall": 8, "rise": 1, "max_lag": "60s"}


class Place:
    """The cluster of a test file, started by its first class and ended with the file."""

    now = None

    @classmethod
    def take(cls):
        if cls.now is None:
            cls.now = cls()
            unittest.addModuleCleanup(cls.now.close)
        return cls.now

    def __init__(self):
        self.pg = harness.Cluster(replicas=2)
        self.sessions = {}
        self.written = 0
        try:
            self.pg.sql(0, "create table write (id int primary key)")
            self.pg.sql(0, "insert into write values (0)")
            for n in (1, 2):
                eventually(lambda n=n: self.pg.caught_up(n), within=20)
                self.pg.lag(n, LAG)
            self.sessions = {name: self.pg.session(n) for n, name in enumerate(("default", *REPLICAS))}
        except BaseException:
            self.close()
            raise

    def close(self):
        for session in self.sessions.values():
            session.close()
        self.pg.close()


class Lagging(contract.Faults):
    """One daemon; `writer` and `other` are processes that were there before the fault.  Write 0 is everywhere."""

    OPTIONS = {"stale_after": "300ms", "stale_limit": "60s", "max_pins": 1000}

    @classmethod
    def setUpClass(cls):
        cls.place = Place.take()
        cls.pg, cls.node = cls.place.pg, cls.place.sessions
        cls.system = harness.Daemon(cls.pg, cls.OPTIONS, CHECKS, start=False)
        cls.prepare(cls.system)
        cls.shared(cls.system)

    @classmethod
    def prepare(cls, system):
        """For a class whose daemon is not like others."""

    # -- before and after a fault --

    def serve(self, **options):
        """The daemon is there, its floor is over, both replicas are read from; two new processes know it."""
        self.addCleanup(self.let_go)
        if self.system.process is None or self.system.process.poll() is not None:
            self.system.start()
        self.system.write_config(self.pg, {**self.OPTIONS, **options}, CHECKS)
        self.assertTrue(self.system.ask("reload")["reloaded"])
        self.writer, self.other = self.worker(self.system), self.worker(self.system)
        self.settled()

    def settled(self):
        for key in (None, "never wrote"):
            seen = set()
            eventually(lambda k=key, s=seen: s.add(self.other.read("main", k).node) or s >= set(REPLICAS), within=20,
                       what="both replicas are read from")

    def hold_back(self):
        """Both replicas stand still: what is written from now on they lack, until let_go()."""
        for name in REPLICAS:
            self.node[name].run("select pg_wal_replay_pause()")
        for name in REPLICAS:
            state = "select pg_get_wal_replay_pause_state()"
            eventually(lambda n=name, s=state: self.node[n].value(s) == "paused", within=20)

    def let_go(self):
        for name in REPLICAS:
            self.node[name].run("select pg_wal_replay_resume()")

    # -- writes and where they are seen --

    def commit(self):
        self.place.written += 1
        self.node["default"].run(f"insert into write values ({self.place.written})")
        return self.place.written

    def wrote(self, worker, key):
        """A write that was committed and whose record was acknowledged."""
        write = self.commit()
        self.assertEqual(worker.record("main", key, PINNED_FOR).status, "OK")
        return write

    def has(self, node, write):
        return self.node[node or "default"].value(f"select count(*) from write where id = {write}") == "1"

    def lack(self, write):
        """Without this, what a test shows would be nothing."""
        for name in REPLICAS:
            self.assertFalse(self.has(name, write), f"{name} does not lag")

    def found(self, said, write):
        """The decision names a node that has the write."""
        self.assertTrue(self.has(said.node, write), f"a stale read: {said}")
        return said

    def sees(self, worker, key, write, *reasons):
        said = worker.read("main", key)
        self.assertIn(said.reason, reasons)
        return self.found(said, write)

    def sees_until(self, worker, key, write, *reasons):
        """Reads until the reason is one of these; no read on the way lacks the write."""
        return eventually(lambda: (said := self.found(worker.read("main", key), write)).reason in reasons and said, 10,
                          f"{key}: {' or '.join(reasons)}")

    def catches_up(self, worker, *written):
        """The replicas go on, and the keys are read from them again: when they have the writes, and not before."""
        self.let_go()
        for key, write in written:
            self.assertIn(self.sees_until(worker, key, write, "CAUGHT_UP").node, REPLICAS)

    def balanced(self, worker):
        """Reads without a key know of no fault."""
        said = worker.reads("main", None, 50)
        self.assertEqual((said.status, set(said.by_reason()), set(said.by_node())), ("OK", {"BALANCED"}, set(REPLICAS)))

    def spin(self, ms, key=None):
        """Another process, which reads without a pause for so long."""
        reader = self.worker(self.system)
        reader.start_spin("main", key, ms)
        return reader

    def was_balanced(self, reader):
        said = reader.answer()
        self.assertEqual((said.status, set(said.by_reason()), set(said.by_node())), ("OK", {"BALANCED"}, set(REPLICAS)))

    def was_on_the_primary(self, reader):
        """While replicas stand still, each of its reads elsewhere would have been stale."""
        said = reader.answer()
        self.assertEqual(set(said.by_node()), {"default"}, said)

    def floored(self, why):
        """A key that never wrote is read from the primary, too.  A busy machine may stand still by itself meanwhile."""
        self.sees_until(self.other, "never wrote", 0, "FLOOR")
        self.assertIn(self.system.ask("status")["clusters"][0]["floor_why"], (why, "the daemon stood still"))

    # -- a record that nobody takes --

    def fails_to_record(self, worker, key):
        """E_UNREACHABLE within the timeout, and at once when the breaker is open.  Returns the write."""
        worker.timeout(TIMEOUT_MS)
        write = self.commit()
        told = []

        def quick():
            told.append(worker.record("main", key, PINNED_FOR))
            return told[-1].us < QUICK_US

        eventually(quick, what="at once", every=0)
        told += [worker.record("main", key, PINNED_FOR) for _ in range(5)]
        self.assertEqual({said.status for said in told}, {"E_UNREACHABLE"})
        self.assertLess(told[0].us, bound(TIMEOUT_MS * 1000 * 1.5))
        self.assertLess(min(said.us for said in told[-5:]), QUICK_US)
        return write

    def is_sent_again(self, worker, key, write):
        """A process that failed to record pins the key by itself; at the next contact all are told."""
        self.sees_until(worker, key, write, "PINNED")
        eventually(lambda: worker.record("main", "something else").status == "OK", within=10, what="it records again")
        eventually(lambda: self.found(self.worker(self.system).read("main", key), write).reason == "PINNED",
                   what="known to all")
