#!/usr/bin/env python3
"""test_socket.py -- the row `socket` of the failure contract: whatever others do to the daemon's socket, and however
few descriptors it has left, those who behave are served, and whoever does not is closed and counted."""
# ctest: asan parallel
import contextlib
import random
import resource
import select
import socket
import threading
import time
import unittest

from contract import KEYED, RECORD, UNKEYED  # and with it the way to the harness
import harness
from harness import bound, eventually, size
from test_crowd import cpu_seconds, descriptors
from test_frames import MALFORMED, Client, frame, hello
from watch import Watched

OPTIONS = {"fall": 6}  # a busy machine must not make the replica look sick
PLACES = 1100          # max_clients
SPIN = 0.2             # of a CPU, for a daemon that has nothing to do but ten heartbeats and some checks a second


def setUpModule():
    """The many clients are descriptors of ours."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 2 * PLACES
    resource.setrlimit(resource.RLIMIT_NOFILE, (enough if most == resource.RLIM_INFINITY else min(enough, most), most))


class Vandal(threading.Thread):
    """Connects, sends what no daemon understands, and connects again, as fast as it can."""

    def __init__(self, daemon, seed):
        super().__init__(daemon=True)
        self.where, self.chance = daemon, random.Random(seed)
        self.sent = 0
        self.failed = None
        self._enough = threading.Event()
        self.start()

    def packet(self):
        how = self.chance.randrange(3)
        if how == 0:
            return self.chance.choice(list(MALFORMED.values()))
        if how == 1:
            return self.chance.randbytes(self.chance.randrange(1, 400))
        sound = bytearray(frame())
        sound[self.chance.randrange(6)] ^= 1 << self.chance.randrange(8)  # magic, version
        return bytes(sound)

    def run(self):
        try:
            while not self._enough.is_set():
                self.vandalise()
        except Exception as e:  # whoever asks next is told
            self.failed = e

    def vandalise(self):
        client = Client(self.where)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was closed, as it should be
            for _ in range(3):
                client.socket.send(self.packet())
                self.sent += 1
        client.close()

    def close(self):
        self._enough.set()
        self.join(30)


class Socket(Watched):
    @classmethod
    def setUpClass(cls):
        cls.set_up(1)
        cls.system = cls.shared(harness.Daemon(cls.pg, {"max_clients": PLACES}, OPTIONS))

    @contextlib.contextmanager
    def others(self, fault, *counted):
        """Those who behave, meanwhile; afterwards the connections that had to be closed are closed and counted."""
        self.held, self.written = (f"{self.id().rpartition('.')[2]}-{what}" for what in ("held", "written"))
        self.watchers(("main", None), ("main", self.held), ("main", self.written))
        eventually(lambda: self.schedule() == {"shadow-1"}, within=20)
        self.assertEqual(self.scribe.hold("main", self.held, 300_000).status, "OK")
        self.write(self.written)
        self.names("shadow-1", None)
        self.names("shadow-1", self.written)
        self.struck = time.monotonic()
        self.before = self.stats()
        yield
        self.watch.turn()
        self.records.go_on()
        ended = time.monotonic()
        self.watch.close()
        after = self.stats()
        with self.cell("socket", UNKEYED, fault):
            unkeyed = self.watch.of(None, since=self.struck, until=ended)
            self.assertEqual({(s.status, s.node, s.reason) for s in unkeyed}, {("OK", "shadow-1", "BALANCED")})
        with self.cell("socket", KEYED, fault):
            held = self.watch.of(self.held, since=self.struck)
            self.assertEqual({(s.status, s.node, s.reason) for s in held}, {("OK", "default", "PINNED")})
            self.assertLessEqual({s.reason for s in self.watch.of(self.written)}, {"PINNED", "CAUGHT_UP"})
            self.assertEqual(self.watch.stale, [])
        with self.cell("socket", RECORD, fault):
            self.records_hold()
            self.assertGreater(sum(after[name] - self.before[name] for name in counted), 0, counted)
            said = ", ".join(f"{name} {after[name] - self.before[name]}" for name in counted)
            print(f"socket, {fault}: {len(self.records.us)} records of others, median {self.records.median_ms():.2f} "
                  f"ms, slowest {max(self.records.us) / 1000:.0f} ms; {said}", flush=True)

    def clients(self, n):
        """So many more connections, none of which says a word."""
        made = []
        for _ in range(n):
            made.append(self._ends(Client(self.system)))
        return made

    def does_not_spin(self, seconds):
        """The daemon's share of a CPU, over so long a time."""
        began, used = time.monotonic(), cpu_seconds(self.system.pid)
        eventually(lambda: time.monotonic() - began > seconds, within=20)
        share = (cpu_seconds(self.system.pid) - used) / (time.monotonic() - began)
        print(f"socket: the daemon used {share:.0%} of a CPU", flush=True)
        self.assertLess(share, SPIN * (4 if harness.SANITIZE else 1), "it spins")

    def test_clients_that_send_garbage(self):
        with self.others("garbage", "closed_garbage"):
            opened = descriptors(self.system.pid)
            pins = self.stats()["pins"]
            vandals = [self._ends(Vandal(self.system, seed)) for seed in range(4)]
            until = time.monotonic() + size(120, 1.5)
            eventually(lambda: time.monotonic() > until and all(v.sent > 20 or v.failed for v in vandals), within=600)
            for vandal in vandals:
                vandal.close()
                self.assertIsNone(vandal.failed)
            eventually(lambda: descriptors(self.system.pid) == opened, within=20, what="their connections are closed")
            self.assertLessEqual(self.stats()["pins"], pins, "garbage pinned something")
            closed = self.stats()["closed_garbage"] - self.before["closed_garbage"]
            sent = sum(vandal.sent for vandal in vandals)
            print(f"socket: {sent} frames of garbage, {closed} connections closed for it", flush=True)
            self.assertGreater(closed, sent // 10)

    def test_clients_that_send_half_frames_and_frames_of_nothing(self):
        with self.others("garbage", "closed_garbage"):
            sound = frame()
            for packet in (b"x", sound[:-1], sound[:64], sound + b"\0", sound * 2, bytes(65536), bytes(len(sound))):
                before = self.stats()["closed_garbage"]
                client = self._ends(Client(self.system))
                self.assertTrue(client.is_closed_after(packet))
                self.assertEqual(self.stats()["closed_garbage"], before + 1)
            self.assertTrue(self._ends(Client(self.system)).is_closed_after(b""))

    def test_a_client_that_reads_no_answer(self):
        with self.others("slow", "closed_slow"):
            slow = self.clients(3)
            for client in slow:
                client.socket.setblocking(False)
            eventually(lambda: self.ask_without_listening(slow) and self.stats()["closed_slow"] >= 3, within=60)
            for client in slow:
                self.assertTrue(self.was_closed(client))

    def ask_without_listening(self, clients):
        for client in clients:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                for _ in range(200):
                    client.socket.send(frame())
        return True

    def was_closed(self, client):
        """After the answers that still fitted."""
        client.socket.settimeout(10)
        try:
            while client.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return True

    def test_a_thousand_clients_that_say_nothing(self):
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < PLACES + 200:
            self.skip_cells("socket", "silent", "fewer descriptors are allowed here: ulimit -Hn")
        with self.others("silent", "closed_idle"):
            silent = self.clients(1000)
            eventually(lambda: self.system.ask("status")["clients"] >= 1000, within=20)
            self.does_not_spin(size(5, 0.5))
            self.clients(PLACES - 1000 + 20)  # for those the longest silent make room
            eventually(lambda: self.stats()["closed_idle"] > 0, within=20)
            ready, _, _ = select.select([silent[0].socket], [], [], 10)
            self.assertTrue(ready, "the longest idle was not the one that went")
            self.assertLessEqual(self.system.ask("status")["clients"], PLACES)
            self.serves_a_newcomer()

    def serves_a_newcomer(self):
        newcomer = self.greeted()
        newcomer.timeout(10_000)
        self.assertEqual(newcomer.record("main", "newcomer").status, "OK")
        self.assertIn(newcomer.read("main", "newcomer").reason, ("PINNED", "CAUGHT_UP"))

    def test_more_clients_than_there_are_places(self):
        self.system = self.daemon(self.pg, {"max_clients": 16}, OPTIONS)
        with self.others("too many", "closed_idle", "closed_in_turn"):
            many = [self.greeted() for _ in range(size(100, 40))]
            for worker in many:
                worker.timeout(10_000)
            for turn in range(2):
                for number, worker in enumerate(many):
                    worker.send("record", worker.number("main"), f"{number:04x}", 60)
                self.assertEqual({worker.answer().status for worker in many}, {"OK"})
            self.assertLessEqual(self.system.ask("status")["clients"], 16)
            self.does_not_spin(0.5)

    def limit(self, more):
        """The daemon may have so many descriptors more than it has now."""
        old = resource.prlimit(self.system.pid, resource.RLIMIT_NOFILE)
        room = descriptors(self.system.pid) + more
        resource.prlimit(self.system.pid, resource.RLIMIT_NOFILE, (room, old[1]))
        self.addCleanup(resource.prlimit, self.system.pid, resource.RLIMIT_NOFILE, old)
        return room

    def test_a_daemon_without_descriptors(self):
        with self.others("no descriptors", "accept_failures"):
            room = self.limit(8)
            operators = [self._ends(socket.socket(socket.AF_UNIX)) for _ in range(30)]
            for operator in operators:
                operator.connect(f"{self.system.dir}/ctl.sock")
            eventually(lambda: descriptors(self.system.pid) == room, within=20, what="no descriptor is left")
            at_the_door = [self._ends(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) for _ in range(20)]
            for one in at_the_door:
                one.connect(f"{self.system.dir}/pinrouted.sock")
                one.settimeout(30)
                one.send(hello())
            self.records.go_on(size(200, 20))
            self.does_not_spin(size(5, 0.5))
            self.assertEqual(descriptors(self.system.pid), room)
            for operator in operators:
                operator.close()
            for one in at_the_door:
                self.assertTrue(one.recv(4096), "who waited is served")
            self.serves_a_newcomer()

    def test_a_daemon_that_was_given_few_descriptors(self):
        with self.others("no descriptors", "closed_idle"):
            room = self.limit(24)
            many = [self.greeted() for _ in range(size(200, 40))]
            for worker in many:
                worker.timeout(10_000)
                self.assertEqual(worker.record("main", "one of many").status, "OK")
            self.assertLessEqual(descriptors(self.system.pid), room)
            self.does_not_spin(0.5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
