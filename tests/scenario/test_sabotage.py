"""test_sabotage.py -- system calls and malloc() fail, one by one, in the daemon and in the stub (sabotage_preload.c).
After each: served, refused (and the key pinned where it was), or a clean restart; never a hang, a lie, a lost pin."""
# ctest: parallel long
import collections
import contextlib
import errno
import json
import mmap
import os
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

import fakepg
import harness
from harness import BUILD, FULL, SOURCE, eventually, size

LIBRARY = os.path.join(BUILD, "tests", "libsabotage_preload.so")
with open(os.path.join(SOURCE, "tests", "scenario", "sabotage.h"), encoding="ascii") as header:
    CALLS = re.findall(r"CALL\((\w+)\)", header.read().partition("#define SABOTAGE_CALLS")[2])
NUMBER = {name: i + 1 for i, name in enumerate(CALLS)}
SHORT = 4095
ERRORS = {name: getattr(errno, name) for name in ("EIO", "ENOSPC", "EINTR", "EAGAIN", "EMFILE", "ENOMEM")}
ERRORS["SHORT"] = SHORT
LOOP = {"accept4", "recv", "send", "epoll_wait", "timerfd_settime", "getsockopt", "getrlimit", "lstat"}  # of each turn
WRITERS = {"send", "write", "writev", "pwrite"}
FIRST = 50        # occurrences of each call
ALLOCATIONS = 200
DEADLINE = 20     # of a wait that has to end: a hang otherwise, also on a busy machine


def seed():
    """Another sample for each commit, the same one for a commit."""
    with contextlib.suppress(OSError):
        said = subprocess.run(["git", "-C", SOURCE, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        return os.environ.get("PINROUTE_SEED") or said.stdout.strip()
    return "no git"


class Control:
    """The struct sabotage that one process looks at."""

    FIELDS = struct.Struct("=6Iq64I")

    def __init__(self):
        self.dir = harness.scratch("sabotage-", memory=True)
        self._guard = harness.when_we_are_gone("rm", "-rf", self.dir)
        self.path = os.path.join(self.dir, "control")
        with open(self.path, "wb+") as f:
            f.truncate(self.FIELDS.size)
            self.map = mmap.mmap(f.fileno(), self.FIELDS.size)

    def command(self, *program, who):
        return ["env", f"LD_PRELOAD={LIBRARY}", f"SABOTAGE={self.path}", f"SABOTAGE_WHO={who}", *program]

    def arm(self, call, error, number, for_good=False):
        """The number-th of these calls from now on fails, and with for_good all after it."""
        self.disarm()
        struct.pack_into("=5I", self.map, 0, 0, error, number - 1, for_good, 0)
        struct.pack_into("=I", self.map, 0, NUMBER[call])

    def disarm(self):
        struct.pack_into("=I", self.map, 0, 0)

    @property
    def struck(self):
        return struct.unpack_from("=I", self.map, 16)[0]

    def seen(self):
        counts = self.FIELDS.unpack_from(self.map)[7:]
        return {name: counts[number] for name, number in NUMBER.items()}

    def close(self):
        self.map.close()
        os.close(self._guard)


class Positions:
    """A primary that is at a new position whenever it is asked, and a replica that follows it or stands still."""

    def __init__(self):
        self.primary = 0x3001000
        self.replica = None  # where it stands
        self.lock = threading.Lock()
        self.listeners = [socket.create_server(("127.0.0.1", 0), backlog=64) for _ in range(2)]
        self.clients = []
        for listener, row in zip(self.listeners, (self.primary_row, self.replica_row)):
            threading.Thread(target=self.serve, args=(listener, row), daemon=True).start()

    def primary_row(self):
        with self.lock:
            self.primary += 0x100
        return self.row(fakepg.ROW, self.primary)

    def replica_row(self):
        return self.row(fakepg.REPLICA, self.replica or self.primary)

    @staticmethod
    def row(row, position):
        return [row[0], f"0/{position:X}", *row[2:]]

    def stand(self):
        self.replica = self.primary

    def follow(self):
        self.replica = None

    def serve(self, listener, row):
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.clients.append(client)
                threading.Thread(target=self.play, args=(client, row), daemon=True).start()

    def play(self, client, row):
        connection = fakepg.Connection(client, lambda line: None)
        with contextlib.suppress(OSError):
            connection.login()
            while True:
                connection.question()
                values = row()
                client.sendall(fakepg.description(len(values)) + fakepg.row(values) + fakepg.DONE + fakepg.READY)
        client.close()

    def nodes(self):
        ports = [listener.getsockname()[1] for listener in self.listeners]
        return [f"n{i} = host=127.0.0.1 port={port} dbname=d user=u sslmode=disable {'' if i else 'role=primary'}"
                for i, port in enumerate(ports)]

    def close(self):
        for s in self.listeners + self.clients:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()


PLACES = 16  # for connections: the fewest that a config may ask for
OPTIONS = {"stale_after": "200ms", "max_clients": PLACES}
PIN, HOLD, HELD = 300, 0.3, 3  # s; a hold in a store that is lost holds all keys
CLUSTER = {"pin_seconds": PIN, "check_interval": "50ms", "check_timeout": "50ms", "fence_interval": "20ms", "rise": 1,
           "fall": 32, "caught_up_trust": "1s", "max_lag": "86400s"}


class Story(harness.Scenario):
    """A daemon, its client and a checker, who knows from the store alone what was acknowledged."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(LIBRARY):
            raise unittest.SkipTest("built with a sanitizer")
        cls.positions = cls.shared(Positions())
        cls.control = cls.shared(Control())

        class Sabotaged(harness.Daemon):
            command = cls.control.command(os.path.join(BUILD, "pinrouted"), who="pinrouted")

        cls.daemon = cls.shared(Sabotaged({"main": cls.positions.nodes()}, OPTIONS, CLUSTER))
        cls.client, cls.checker = cls.shared(harness.Worker()), cls.shared(harness.Worker(cls.daemon))
        cls.client.open(cls.daemon)
        cls.random = random.Random(seed())
        cls.keys = 0
        cls.crowd = collections.deque()
        cls.addClassCleanup(cls.send_home)
        cls.acknowledged = {}  # key: until when it is pinned at least
        cls.outcomes = collections.Counter()
        cls.strikes = collections.Counter()

    def setUp(self):
        self.began = time.monotonic()
        self.outcomes.clear()
        self.strikes.clear()
        self.restarts = self.sharp = 0
        self.sharpen()

    def tearDown(self):
        self.control.disarm()

    def say(self, what):
        each = " ".join(f"{name}={n}" for name, n in sorted(self.outcomes.items()))
        print(f"sabotage: {what}: {sum(self.strikes.values())} strikes, {each}, {time.monotonic() - self.began:.0f} s")

    @classmethod
    def send_home(cls, leave=0):
        while len(cls.crowd) > leave:
            cls.crowd.popleft().close()

    # what must be true whatever fails

    def may_read_replica(self):
        """Would a key that has no pin be read from the replica?  Only then a lost pin would be seen."""
        return self.checker.read("main", "nobody").role == "REPLICA"

    def sharpen(self):
        """The replica catches up with all there is, then stands still: what is recorded from now on stays pinned."""
        self.acknowledged.clear()
        self.positions.follow()
        eventually(lambda: self.is_up() and self.may_read_replica(), DEADLINE, "the replica may be read from")
        self.positions.stand()

    def is_up(self):
        """Also where it ended cleanly, and is started anew."""
        if self.daemon.process.poll() is None:
            return True
        self.ended()
        return False

    def ended(self):
        status, last = self.daemon.process.wait(), self.daemon.log[-5:]
        self.assertGreaterEqual(status, 0, f"a crash: {last}")
        self.assertTrue(last, "it ended without a word")
        self.control.disarm()
        self.restarts += 1
        self.daemon.start(DEADLINE)

    def check(self):
        """Every acknowledged write is still read from the primary by a process that knows it from the store only."""
        for key, until in self.acknowledged.items():
            answer = self.checker.read("main", key)
            if time.monotonic() < until:
                self.assertEqual(answer.role, "PRIMARY", f"{key} was acknowledged: {answer}")
        if len(self.acknowledged) > 200 or not self.may_read_replica():
            self.sharpen()

    # what goes on meanwhile

    def record(self, hold=None):
        """A record, or a hold for so many seconds."""
        self.keys += 1
        key, began = f"k{self.keys}", time.monotonic()
        answer = self.client.hold("main", key, int(hold * 1000)) if hold else self.client.record("main", key)
        if answer.status == "OK":
            if hold or self.positions.replica:  # a replica that follows may have caught up with a record
                self.acknowledged[key] = began + (hold or PIN)
        else:
            self.assertIn(answer.status, ("E_UNREACHABLE", "E_REFUSED"), f"{key}: {answer}")
            own = self.client.read("main", key)
            self.assertEqual(own.role, "PRIMARY", f"{key} was not recorded: {own}")
        return answer.status == "OK"

    def operator(self, *words):
        """One request on the operator's socket: what it said, or None: the connection ended without."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            try:
                s.connect(f"{self.daemon.dir}/ctl.sock")
                s.sendall(" ".join(words).encode() + b"\n")
                return json.loads(b"".join(iter(lambda: s.recv(65536), b"")))
            except (ConnectionError, FileNotFoundError, ValueError):  # half an answer cannot be taken for one
                return None

    def arrive(self):
        """Somebody who wants nothing: all places are taken, and the next one needs room."""
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError):
            s.connect(f"{self.daemon.dir}/pinrouted.sock")
        self.crowd.append(s)
        self.send_home(PLACES)

    def round(self):
        """Connections come and go, records, holds, an operator.  Did all go well?"""
        self.client.do("close")
        self.client.clusters.clear()
        self.client.open(self.daemon)
        self.client.timeout(1000)
        self.arrive()
        good = self.record()
        good &= self.record()
        good &= self.record(HOLD)
        good &= self.operator(*self.random.choice(("status", "show nodes", "show pins", "show clients", "show config",
                                                   "show stats", f"pin main {1:032x} 300")).split()) is not None
        return good

    def recover(self):
        """A hang would be here.  A write is recorded again within the deadline, if need be by a new daemon."""
        self.control.disarm()
        eventually(lambda: self.is_up() and self.record(), DEADLINE, "a write is recorded again")

    def strike(self, path, call, error, number, for_good=False):
        """path(arm) goes its way, and arms on it.  False: it is never called as often."""
        lines = len(self.daemon.log)
        try:
            good = path(lambda: self.control.arm(call, ERRORS[error], number, for_good))
            if not self.control.struck:
                self.recover()
                return False
            self.recover()
            self.check()
        except Exception as failed:
            failed.add_note(f"{call} {error} number {number}{' for good' if for_good else ''}; the daemon said:")
            failed.add_note("\n".join(self.daemon.log[-10:]))
            raise
        since = "\n".join(self.daemon.log[lines:])
        fate = "new store" if "making a new one" in since else "served" if good else "refused"
        self.strikes[f"{call} {error}: {fate}"] += 1
        self.outcomes[fate] += 1
        self.outcomes["restarted"] += self.restarts
        self.restarts = 0
        return True

    def sweep(self, path, calls, sample):
        """These calls, {name: how often}, with all errors, at each of the first occurrences; without --full: some."""
        todo = [(call, error) for call in calls for error in ERRORS if error != "SHORT" or call in WRITERS]
        for call, error in todo if FULL else self.random.sample(todo, min(sample, len(todo))):
            for number in range(1, min(FIRST, calls[call] + 2) + 1) if FULL else [self.random.randint(1, 6), 1]:
                struck = self.strike(path, call, error, number)
                if struck != FULL:  # FULL: to the last one; else one that there is
                    break
            if FULL:
                fates = [f"{fate} {n}" for fate, n in self.strikes.items() if fate.startswith(f"{call} {error}:")]
                print("   ", ", ".join(fates), flush=True)
                self.assertTrue(fates, f"{call} {error}: it was never called")

    def starve(self, path, once, for_good):
        """The n-th allocation fails, or all from there on."""
        for share, lasts in ((once, False), (for_good, True)):
            numbers = range(1, ALLOCATIONS + 1)
            for n in numbers if FULL else sorted(self.random.sample(numbers[:60], share)):
                if not self.strike(path, "malloc", "ENOMEM", n, lasts):
                    break

    # the ways through the daemon

    def serving(self, arm):
        """Rounds until it has struck."""
        good = True
        arm()
        give_up = time.monotonic() + 1.5
        for _ in range(FIRST * 4):
            good &= self.round() if self.daemon.process.poll() is None else False
            if self.control.struck or time.monotonic() > give_up:
                break
        return good

    def rounds(self, arm):
        """Enough of them for all that it ever calls while it serves."""
        arm()
        for _ in range(2 * PLACES):
            self.round()
        heartbeat = self.control.seen()["fstatat"]
        eventually(lambda: self.control.seen()["fstatat"] > heartbeat, DEADLINE)

    def said_since(self, lines, pattern, within):
        """Did the daemon say it?  Not if it ended before, or goes on without."""
        with contextlib.suppress(AssertionError):
            return bool(self.daemon.wait_log(pattern, within, lines))
        return False

    def starting(self, arm, fresh=False):
        """A killed daemon starts again.  Held keys are satisfied by no replica: if one of them is read from there as
        soon as the floor is over, its pin was lost."""
        self.positions.follow()
        self.record(HELD)
        self.daemon.kill()
        if fresh:
            os.unlink(f"{self.daemon.dir}/data.mdb")
            self.acknowledged.clear()
        arm()
        lines = len(self.daemon.log)
        self.daemon.start(wait=False)
        good = self.said_since(lines, "READY", 3) and self.record()
        self.recover()
        held = max(self.acknowledged.values(), default=0)
        eventually(lambda: self.is_up() and (self.may_read_replica() or time.monotonic() > held), DEADLINE, "no floor")
        self.sharp += time.monotonic() < held
        return good

    def starting_anew(self, arm):
        return self.starting(arm, fresh=True)

    def replacing(self, arm):
        """Somebody removes the store."""
        lines = len(self.daemon.log)
        arm()
        os.unlink(f"{self.daemon.dir}/data.mdb")
        return self.said_since(lines, "making a new one", 3) and self.record()

    def reloading(self, arm):
        lines = len(self.daemon.log)
        arm()
        self.daemon.reload()
        return self.said_since(lines, "reload", 3) and self.record()

    def prober(self):
        with open(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children", encoding="ascii") as f:
            return [pid for pid in f.read().split() if harness.state_of(pid) not in (None, "Z")]

    def burying(self, arm):
        """The prober is killed, and another one started."""
        old = eventually(self.prober, DEADLINE, "a prober")
        arm()
        os.kill(int(old[0]), signal.SIGKILL)
        with contextlib.suppress(AssertionError, FileNotFoundError):
            eventually(lambda: self.prober() and old[0] not in self.prober(), 3)
        return self.daemon.process.poll() is None and self.record()

    def calls_of(self, path):
        """Those that are made on this way, and how often, by a run without a fault; those of LOOP while it serves."""
        before = self.control.seen()
        path(lambda: None)
        self.recover()
        self.check()
        made = {name: n - before[name] for name, n in self.control.seen().items() if name != "malloc"}
        return {name: n for name, n in made.items() if n and (name not in LOOP or path == self.rounds)}


class Serving(Story):
    def test_every_system_call_may_fail_while_it_serves(self):
        calls = self.calls_of(self.rounds)
        self.assertLess({"accept4", "recv", "send", "pwrite", "writev", "epoll_wait", "epoll_ctl", "poll", "getsockopt",
                         "getrlimit", "fstatat", "lstat"}, set(calls))
        self.sweep(self.serving, dict.fromkeys(calls, FIRST), 24)
        self.say("serving")
        self.assertGreaterEqual(sum(self.strikes.values()), size(4000, 20))

    def test_any_allocation_may_fail_while_it_serves(self):
        self.starve(self.serving, 9, 4)
        self.say("serving, malloc")
        self.assertLessEqual(self.outcomes["new store"], sum(self.strikes.values()) * 2 // 3, "one costs no store")
        self.assertGreaterEqual(sum(self.strikes.values()), size(390, 12))


class Changing(Story):
    """Files and processes are made anew."""

    def test_every_system_call_may_fail_while_a_store_is_replaced(self):
        calls = self.calls_of(self.replacing)
        self.assertLess({"posix_fallocate", "mmap", "open", "renameat", "unlinkat", "mkdirat", "fcntl"}, set(calls))
        self.sweep(self.replacing, calls, 2)
        self.starve(self.replacing, 1, 1)
        self.say("store replaced")

    def test_every_system_call_may_fail_while_the_prober_is_replaced(self):
        calls = self.calls_of(self.burying)
        self.assertLess({"socketpair", "posix_spawn", "waitpid"}, set(calls))
        ours = ("socketpair", "posix_spawn", "waitpid", "epoll_ctl")  # others are made while it serves
        self.sweep(self.burying, {name: calls[name] for name in ours}, 2)
        self.starve(self.burying, 1, 0)
        self.say("prober replaced")

    def test_every_system_call_may_fail_during_a_reload(self):
        calls = self.calls_of(self.reloading)
        self.assertLess({"open", "read"}, set(calls))
        self.sweep(self.reloading, calls, 6)
        self.starve(self.reloading, 6, 3)
        self.say("reload")


class Starting(Story):
    def test_every_system_call_may_fail_while_it_starts(self):
        self.sweep(self.starting, self.calls_of(self.starting), 6)
        self.starve(self.starting, 4, 2)
        self.say("start")
        self.assertGreater(self.sharp, sum(self.strikes.values()) // 4, "often enough a lost pin would have been seen")

    def test_every_system_call_may_fail_while_it_starts_with_nothing(self):
        self.sweep(self.starting_anew, self.calls_of(self.starting_anew), 2)
        self.starve(self.starting_anew, 1, 1)
        self.say("start without a store")


class Stub(Story):
    def test_every_system_call_and_allocation_of_the_stub_may_fail(self):
        control = self._ends(Control())
        program = control.command(os.path.join(BUILD, "tests", "sabotaged_stub"), self.daemon.dir, who="sabotaged_stub")
        done = subprocess.run(program, text=True, capture_output=True, timeout=300, check=False)
        print("sabotage: stub:", done.stdout.replace("\n", ", "))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue(self.may_read_replica(), "what lacked its pin would have been read from there")


if __name__ == "__main__":
    unittest.main()
