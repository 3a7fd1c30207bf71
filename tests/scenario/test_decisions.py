"""test_decisions.py -- what the daemon says was decided is what the processes decided, whoever they were and whatever
became of them; and whoever writes nonsense into the memory that they count in harms only his own numbers."""
# ctest: parallel
import collections
import mmap
import os
import random
import re
import shutil
import socket
import struct
import time
import unittest

import harness
from fakepg import FakePg
from harness import eventually

HELLO, COUNTS = 1, 6
FEATURE_COUNTS = 1
OK, E_REFUSED = 0, 6
LANES, PAGE = 32, 4096
LANE = 65 * PAGE
MOST = 1 << 53


class Ledger:
    """What the processes were answered, by node and reason."""

    def __init__(self):
        self.was = collections.Counter()

    def one(self, said):
        self.was[said.node, said.reason] += 1
        return said

    def many(self, said):
        self.was.update(said.counts)
        return said


def told(daemon):
    """What the daemon says of it."""
    return collections.Counter({(row["node"], row["reason"]): row["count"] for row in daemon.ask("show", "stats")["decisions"]})


def exposed(path):
    """What Prometheus would scrape of it."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        page = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    return collections.Counter({(node, reason): int(float(n)) for node, reason, n in re.findall(
        r'^pinrouted_decisions_total\{cluster=".*?",node="(.*?)",reason="(.*?)"\} (\S+)$', page, re.M)})


def processes(daemon):
    return daemon.ask("show", "stats")["stats"]["processes"]


class Frame:
    """A process that speaks to the worker socket by itself, and is handed memory."""

    REQUEST = struct.Struct("<IHHQ64sQQI28s")

    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(f"{daemon.dir}/pinrouted.sock")
        hello, _ = self.ask(HELLO)
        assert hello[-1] == FEATURE_COUNTS, hello

    def ask(self, op):
        """The words of the answer, and the descriptors that came with it."""
        self.socket.send(self.REQUEST.pack(0x57524E50, 1, op, 1, b"", 0, 0, 0, b""))
        packet, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        return struct.unpack("<IHHQIIQqQQQ", packet), fds


class Decisions(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        servers = [cls.shared(FakePg(mode)) for mode in ("good", "replica", "replica")]
        cls.nodes = {"main": [f"{name} = {server.conninfo()} role={'replica' if i else 'primary'}"
                              for i, (name, server) in enumerate(zip(("default", "shadow-1", "shadow-2"), servers))]}

    def begin(self, options=None):
        daemon = self.daemon(self.nodes, options)
        worker, ledger = self.worker(daemon), Ledger()
        eventually(lambda: ledger.one(worker.read()).reason == "BALANCED", within=10)
        return daemon, worker, ledger

    def test_the_totals_are_what_the_processes_counted_and_outlive_them(self):
        metrics = os.path.join(harness.scratch(), "metrics.sock")
        self.addCleanup(shutil.rmtree, os.path.dirname(metrics))
        daemon, worker, ledger = self.begin({"http_listen": metrics})
        ledger.many(worker.reads(n=1000))
        ledger.one(worker.write())
        self.assertEqual(worker.record("main", "writer").status, "OK")
        ledger.one(worker.read("main", "writer"))
        worker.scope("begin", "main", "somebody")
        for _ in range(5):
            ledger.one(worker.scope("read"))
        worker.scope("wrote")
        ledger.one(worker.scope("read"))
        children = [worker.fork() for _ in range(35)]  # more than there are lanes
        for i, child in enumerate(children):
            ledger.many(child.reads(n=100 + i))
        self.assertEqual(processes(daemon), 1)
        children[0].kill()
        children[-1].kill()
        ledger.many(children[1].threads(n=2000))
        ledger.many(children[-2].threads(n=2000))
        ledger.many(worker.threads(key="nobody", n=2000))
        self.assertEqual(told(daemon), ledger.was)
        self.assertEqual(children[-3].record("main", "late").status, "OK")  # a connection: memory of its own
        ledger.many(children[-3].reads(n=10))
        self.assertEqual((processes(daemon), told(daemon)), (2, ledger.was))
        for process in [*children[1:-1], worker]:
            process.kill()
        self.assertEqual(exposed(metrics), ledger.was)
        eventually(lambda: processes(daemon) == 0, what="all are gone")
        self.assertEqual((exposed(metrics), told(daemon)), (ledger.was, ledger.was))

    def test_what_was_decided_before_the_daemon_came_is_told_and_a_restarted_one_counts_from_nothing(self):
        daemon = self.daemon(self.nodes, start=False)
        worker, ledger = self.worker(daemon), Ledger()
        for _ in range(5):
            self.assertEqual(ledger.one(worker.read()).reason, "STORE_UNAVAILABLE")
        daemon.start()
        eventually(lambda: ledger.one(worker.read()).reason == "BALANCED", within=10)
        child = worker.fork()
        ledger.many(child.reads(n=100))
        self.assertEqual(told(daemon), ledger.was)
        self.assertEqual(ledger.was["", "STORE_UNAVAILABLE"], told(daemon)["", "STORE_UNAVAILABLE"])
        daemon.kill()
        worker.reads(n=100)
        daemon.start()
        self.assertEqual(told(daemon), {})
        for process in (worker, child):  # a read finds that there is another; one that came too early, ten seconds later
            eventually(lambda p=process: (p.read(), sum(told(daemon).values()))[1], within=15)
            was, after = told(daemon), Ledger()
            after.many(process.reads(n=1000))
            self.assertEqual(told(daemon) - was, after.was)
            before = sum(told(daemon).values())
        self.assertGreater(before, 2000)

    def test_who_writes_nonsense_harms_only_his_own_numbers(self):
        daemon, worker, ledger = self.begin()
        liar = Frame(daemon)
        self.addCleanup(liar.socket.close)
        answer, fds = liar.ask(COUNTS)
        self.assertEqual((answer[4], len(fds)), (OK, 2))
        for fd, size in zip(fds, (LANES * LANE, PAGE)):
            self.assertEqual(os.fstat(fd).st_size, size)
            for length in (0, size - 1, size + 1):
                with self.assertRaises(PermissionError):
                    os.ftruncate(fd, length)
        again, none = liar.ask(COUNTS)
        self.assertEqual((again[4], none), (E_REFUSED, []), "once on a connection is enough")
        chance = random.Random(6)
        with mmap.mmap(fds[0], LANES * LANE) as memory:
            for lane in range(LANES):
                memory[lane * LANE:lane * LANE + 16] = b"\xff" * 16  # all lanes, all clusters
                at = lane * LANE + PAGE + 5 * 128  # of a slot that no node has
                memory[at:at + 128] = chance.randbytes(128)
            memory[40 * PAGE:LANE] = chance.randbytes(LANE - 40 * PAGE)  # of clusters that are none
            stalls = daemon.ask("show", "stats")["stats"]
            began = time.monotonic()
            for _ in range(20):
                ledger.many(worker.reads(n=100))
                self.assertEqual(told(daemon), ledger.was)
            print(f"decisions: with a liar's 2,080 pages, {20 / (time.monotonic() - began):.0f} readings a second")
            memory[PAGE + 1 * 128 + 8:PAGE + 1 * 128 + 16] = b"\xff" * 8  # shadow-1 was chosen 2^64-1 times, he says
            ledger.many(worker.reads(n=100))
            for (node, reason), n in told(daemon).items():
                self.assertIn(n, (ledger.was[node, reason], MOST))
            now = daemon.ask("show", "stats")["stats"]
            self.assertEqual(now["stalls"], stalls["stalls"])
        for fd in fds:
            os.close(fd)
        eventually(lambda: processes(daemon) == 1, what="the liar is gone")
        self.assertTrue(daemon.ask("status")["ok"])


if __name__ == "__main__":
    unittest.main()
