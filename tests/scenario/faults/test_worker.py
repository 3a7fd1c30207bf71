#!/usr/bin/env python3
"""test_worker.py -- the row `worker` of the failure contract: whatever befalls a worker, at any instant, befalls nobody
else; the worker itself reads from the primary, is told a status, and goes on when it can."""
# ctest: parallel
import contextlib
import os
import random
import resource
import signal
import statistics
import subprocess
import time
import unittest

from contract import KEYED, RECORD, UNKEYED  # and with it the way to the harness
import harness
from harness import bound, eventually, size
from test_crowd import People, descriptors
from watch import Watched

OPTIONS = {"fall": 6}  # a busy machine must not make the replica look sick
GROWTH_KB = 4096       # of the daemon's own memory: what 10,000 pins more may take


class Storm:
    """load.c: processes that record and decide without a pause, and that come and go; to be harmed at any instant."""

    def __init__(self, daemon, recorders, deciders, newcomers=0, seconds=30):
        self.process = harness.spawn([os.path.join(harness.BUILD, "tests", "load"), daemon.dir, "main", str(recorders),
                                      str(deciders), str(newcomers), str(seconds)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.people = recorders + deciders + newcomers
        eventually(lambda: self.do("counts").slowest > 5, within=20, what="all record")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            self.pids = [int(pid) for pid in f.read().split()]
        assert len(self.pids) == self.people

    def do(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return harness.Answer(self.process.stdout.readline().rstrip("\n"))

    def goes_on(self, records=20):
        """Every recorder is acknowledged so many times more."""
        before = self.do("counts").slowest
        eventually(lambda: self.do("counts").slowest > before + records, within=20)

    def ends(self):
        """How many had ended before."""
        lost = self.do("quit").lost
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()
        return lost

    def close(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


def memory_kb(pid, what):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(what + ":"))


class Worker(Watched):
    @classmethod
    def setUpClass(cls):
        cls.set_up(1)
        cls.system = cls.shared(harness.Daemon(cls.pg, cluster_options=OPTIONS))
        reader = cls.shared(harness.Worker(cls.system))
        eventually(lambda: reader.read("main").reason == "BALANCED", within=20)

    def measure(self):
        return {"data.mdb": os.stat(f"{self.system.dir}/data.mdb").st_size, "descriptors": descriptors(self.system.pid)}

    def has_no_more_than(self, before):
        """Of descriptors it may have less: a connection that was just ending was counted, too."""
        now = self.measure()
        return now["data.mdb"] == before["data.mdb"] and now["descriptors"] <= before["descriptors"]

    @contextlib.contextmanager
    def others(self, fault):
        """Looks at those whom nothing befalls meanwhile, and at the daemon; then says that nothing did."""
        self.held, self.written = (f"{self.id().rpartition('.')[2]}-{what}" for what in ("held", "written"))
        self.watchers(("main", None), ("main", self.held), ("main", self.written))
        self.assertEqual(self.scribe.hold("main", self.held, 300_000).status, "OK")
        self.write(self.written)
        began = time.monotonic()
        self.names("shadow-1", self.written)
        self.records.go_on()  # it has its connection, too
        before, memory = self.measure(), memory_kb(self.system.pid, "RssAnon")
        yield
        self.watch.turn()
        eventually(lambda: self.has_no_more_than(before), within=20, what=f"the daemon has no more than {before}")
        self.watch.close()
        with self.cell("worker", UNKEYED, fault):
            unkeyed = self.watch.of(None)
            self.assertEqual({(s.status, s.node, s.reason) for s in unkeyed}, {("OK", "shadow-1", "BALANCED")})
            self.assertLess(statistics.median(s.us for s in unkeyed), bound(100))
        with self.cell("worker", KEYED, fault):
            held = self.watch.of(self.held, since=began)
            self.assertEqual({(s.status, s.node, s.reason) for s in held}, {("OK", "default", "PINNED")})
            self.assertLessEqual({s.reason for s in self.watch.of(self.written)}, {"PINNED", "CAUGHT_UP"})
            self.assertEqual(self.watch.stale, [])
        with self.cell("worker", RECORD, fault):
            self.records_hold()
            grown = memory_kb(self.system.pid, "RssAnon") - memory
            print(f"worker {fault}: {len(unkeyed)} reads and {len(self.records.us)} records of others, median "
                  f"{self.records.median_ms():.2f} ms; the daemon grew by {grown} KB", flush=True)
            self.assertLess(grown, GROWTH_KB)

    def storm(self, *people):
        return self._ends(Storm(self.system, *people))

    def nothing_is_lost(self, storm):
        self.assertEqual(storm.do("counts").misses, 0)
        found = storm.do("check")
        self.assertGreater(found.pins, 0)
        self.assertEqual(found.missing, 0)

    def test_workers_that_are_killed_in_the_middle_of_it(self):
        chance = random.Random(4)
        killed = 0
        with self.others("killed"):
            for _ in range(size(20, 3)):
                storm = self.storm(8, 8, 4)
                for pid in chance.sample(storm.pids, len(storm.pids)):
                    time.sleep(chance.uniform(0, 0.02))  # at any instant
                    os.kill(pid, signal.SIGKILL)
                    eventually(lambda p=pid: harness.state_of(p) == "Z", within=20)
                self.nothing_is_lost(storm)
                killed += storm.ends()
        print(f"worker killed: {killed} of {killed}", flush=True)
        self.assertEqual(killed, 20 * size(20, 3))

    def test_workers_that_are_stopped_in_the_middle_of_it(self):
        chance = random.Random(5)
        with self.others("stopped"):
            storm = self.storm(6, 6, 4)
            for _ in range(size(20, 3)):
                some = chance.sample(storm.pids, 12)
                for pid in some:
                    time.sleep(chance.uniform(0, 0.01))  # at any instant
                    os.kill(pid, signal.SIGSTOP)
                self.watch.turn()
                before = len(self.records.us)
                self.records.go_on(size(200, 20))
                self.assertGreater(len(self.records.us), before)
                for pid in some:
                    os.kill(pid, signal.SIGCONT)
                storm.goes_on()
            self.nothing_is_lost(storm)
            self.assertEqual(storm.ends(), 0)

    def test_workers_that_fork(self):
        with self.others("forked"):
            parent = self.greeted()
            self.assertEqual(parent.record("main", "parent").status, "OK")
            self.serves(parent)
            family = [parent.fork("fork"), parent.fork("rawfork")]
            family += [child.fork(how) for child in family for how in ("fork", "rawfork")]
            for one in family:
                self.serves(one)
            for one in family[2:]:
                one.kill()
            for one in (parent, *family[:2]):
                self.serves(one)
            parent.close()
            people = self._ends(People(self.system, size(1000, 100), "inherit"))
            self.assertEqual(people.do("record").failed, 0)
            people.do("kill", people.workers // 2)
            self.assertEqual(people.do("record").ok, people.workers // 2)
            people.quit()

    def serves(self, worker):
        """As if nothing was, from where it should."""
        self.assertEqual(worker.read("main").reason, "BALANCED")
        self.assertEqual(worker.read("main", self.held).reason, "PINNED")
        key = f"of {worker.pid}"
        worker.timeout(5000)
        self.assertEqual(worker.record("main", key).status, "OK")
        self.assertIn(worker.read("main", key).reason, ("PINNED", "CAUGHT_UP"))

    # limits: at open, on a handle that is used, in the middle of it, and lifted

    def limited(self, fault, what, at):
        """at(pid): the limit for that process.  before(worker): what it says when it has the limit from the start."""
        def limit(pid):
            resource.prlimit(pid, what, (at(pid), old[1]))

        old = resource.getrlimit(what)
        with self.others(fault):
            newcomer = self.worker(opened=False)
            self.assertEqual(newcomer.do("pid").pid, newcomer.pid)  # it is loaded
            limit(newcomer.pid)
            opened = newcomer.open(self.system)
            self.manages(newcomer, opened, what)
            resource.prlimit(newcomer.pid, what, old)
            if opened.status != "OK":
                self.assertEqual(newcomer.open(self.system).status, "OK")
            eventually(lambda: newcomer.read("main").reason == "BALANCED", within=20, what="it has found the store")
            eventually(lambda: newcomer.record("main", "newcomer").status == "OK", within=20)
            self.serves(newcomer)

            user = self.greeted()
            self.serves(user)
            child = user.fork()
            for pid in (user.pid, child.pid):
                limit(pid)
            for _ in range(3):
                self.serves(user)
            self.needs_a_connection(child, what)

            storm = self.storm(3, 3)
            for pid in storm.pids:
                limit(pid)
            storm.goes_on()
            for pid in storm.pids:
                resource.prlimit(pid, what, old)
            storm.goes_on()
            self.nothing_is_lost(storm)
            self.assertEqual(storm.ends(), 0)
            newcomer.close()
            user.close()

    def manages(self, worker, opened, what):
        """A newcomer who cannot have the store: the primary, and a status."""
        if what == resource.RLIMIT_FSIZE:  # it writes no file
            self.assertEqual(opened.status, "OK")
            self.serves(worker)
            return
        self.assertIn(opened.status, ("OK", "E_MEMORY", "E_STORE"))
        worker.clusters["main"] = worker.do("cluster", "main").cluster
        for key in (None, self.held, self.written):
            said = worker.read("main", key)
            self.assertEqual((said.role, said.reason), ("PRIMARY", "STORE_UNAVAILABLE"))
            self.assertNotEqual(said.status, "OK")
        worker.clusters.clear()

    def needs_a_connection(self, child, what):
        """It has the store already, and cannot use its parent's connection."""
        self.assertEqual(child.read("main").reason, "BALANCED")
        self.assertEqual(child.read("main", self.held).reason, "PINNED")
        said = child.record("main", "child").status
        self.assertIn(child.read("main", "child").reason, ("PINNED", "CAUGHT_UP"))
        if what != resource.RLIMIT_NOFILE:
            self.assertEqual(said, "OK")
            return
        self.assertEqual(said, "E_UNREACHABLE")
        self.assertEqual(child.read("main", "child").reason, "PINNED")  # it owes that write
        resource.prlimit(child.pid, what, resource.getrlimit(what))
        eventually(lambda: child.record("main", "child").status == "OK", within=20)

    def test_a_worker_without_descriptors(self):
        self.limited("no descriptors", resource.RLIMIT_NOFILE, lambda pid: 3)

    def test_a_worker_without_memory(self):
        self.limited("no memory", resource.RLIMIT_AS, lambda pid: 1)

    def test_a_worker_without_memory_for_the_store(self):
        store = os.stat(f"{self.system.dir}/data.mdb").st_size
        self.limited("no memory", resource.RLIMIT_AS, lambda pid: memory_kb(pid, "VmSize") * 1024 + store // 2)

    def test_a_worker_that_may_write_no_file(self):
        self.limited("file size limit", resource.RLIMIT_FSIZE, lambda pid: 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
