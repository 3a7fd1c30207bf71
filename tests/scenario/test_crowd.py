#!/usr/bin/env python3
"""test_crowd.py -- many workers, and many that die: nothing leaks in the daemon and nobody else notices."""
# ctest: asan
import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
import unittest

import harness
from harness import eventually, size

NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]
TICKS = os.sysconf("SC_CLK_TCK")


def descriptors(pid, memory=True):
    """How many it has; not memory: but those of the memory that processes count in, which goes after them."""
    found = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += memory or not os.readlink(f"/proc/{pid}/fd/{number}").startswith("/memfd:")
    return found


def prober_of(daemon):
    with open(f"/proc/{daemon.pid}/task/{daemon.pid}/children", encoding="ascii") as f:
        return next(map(int, f.read().split()), None)


def own_memory(pid):
    """KiB that no file stands behind: what it has allocated."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


def store_size(daemon):
    return os.stat(os.path.join(daemon.dir, "data.mdb")).st_size


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class People:
    """crowd.c: a parent with many workers."""

    def __init__(self, daemon, workers, handle="own"):
        self.process = harness.spawn([os.path.join(harness.BUILD, "tests", "crowd"), daemon.dir, "main", str(workers), handle],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.workers = workers
        assert self.answer().ready == workers

    def answer(self):
        return harness.Answer(self.process.stdout.readline().rstrip("\n"))

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def quit(self):
        self.process.stdin.close()
        said = self.answer()
        assert self.process.wait(30) == 0
        self.process.stdout.close()
        return said

    def close(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()


class Pump:
    """pump.c: one process that keeps its connections busy."""

    def __init__(self, daemon, connections, *how):
        self.process = harness.spawn([os.path.join(harness.BUILD, "tests", "pump"), daemon.dir, str(connections), *how],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert harness.Answer(self.process.stdout.readline().rstrip("\n")).ready == connections

    def close(self):
        if self.process.returncode is None:
            said, _ = self.process.communicate(timeout=30)
            self.answers = harness.Answer(said.rstrip("\n")).answers


class Crowd(harness.Scenario):
    def people(self, daemon, workers, handle="own"):
        return self._ends(People(daemon, workers, handle))

    def all_are_pinned(self, people, workers):
        """In the end: who was greeted slowly does not know the daemon's clock yet, and its reads go to the primary."""
        def all_know():
            said = people.do("read")
            stale = getattr(said, "STORE_STALE", 0)
            self.assertEqual((said.done, getattr(said, "PINNED", 0) + stale), (workers, workers))
            return stale == 0
        eventually(all_know, within=20, what="everybody knows the daemon's clock")

    def comes_and_half_of_it_dies(self, handle):
        workers = 1000
        daemon = self.daemon({"main": NO_NODES})
        witness = self.worker(daemon)
        self.assertEqual(witness.record("main", "witness").status, "OK")
        before = descriptors(daemon.pid, memory=False)
        began = time.monotonic()
        people = self.people(daemon, workers, handle)
        attached = time.monotonic() - began
        said = people.do("record")
        self.assertEqual((said.ok, said.failed), (workers, 0))
        self.assertEqual(descriptors(daemon.pid, memory=False), before + workers)
        print(f"crowd ({handle} handle): {workers} workers attached in {attached:.2f} s, slowest first record of a stampede "
              f"{said.us / 1000:.0f} ms")
        people.do("kill", workers // 2)
        eventually(lambda: descriptors(daemon.pid, memory=False) == before + workers // 2, what="the dead's descriptors are back")
        self.all_are_pinned(people, workers // 2)
        said = people.do("record")
        self.assertEqual((said.ok, said.failed), (workers // 2, 0))
        self.assertEqual(witness.read("main", "witness").reason, "PINNED")
        self.assertEqual(witness.record("main", "witness").status, "OK")
        self.assertEqual(people.quit().left, workers // 2)
        eventually(lambda: descriptors(daemon.pid, memory=False) == before, what="all descriptors are back")
        eventually(lambda: daemon.ask("show", "stats")["stats"]["processes"] == 1, what="so is all memory")
        self.assertEqual(daemon.ask("show", "stats")["stats"]["pins"], workers + 1)

    def test_half_of_a_thousand_workers_are_killed_and_nothing_leaks(self):
        self.comes_and_half_of_it_dies("own")

    def test_half_of_a_thousand_children_of_an_open_handle_are_killed_and_nothing_leaks(self):
        self.comes_and_half_of_it_dies("inherit")

    def storm(self, daemon, workers, ms, rate):
        """One crowd from its coming to its going; returns what its storm counted, and the daemon's memory at its height."""
        people = self.people(daemon, workers)
        said = people.do("storm", ms, rate)
        height = own_memory(daemon.pid)
        self.assertEqual((said.wrong, said.failed), (0, 0))
        self.assertGreater(said.PINNED, said.ok, "nobody looked")
        self.assertGreater(min(said.killed, said.stopped), 0)
        everybody = people.do("record")
        self.assertEqual((everybody.ok, everybody.failed), (workers, 0))
        self.all_are_pinned(people, workers)
        self.assertEqual(people.quit().left, workers)
        eventually(lambda: daemon.ask("status")["clients"] == 0, what="all connections are gone")
        return said, height

    def test_workers_that_are_stopped_continued_and_killed_at_random_harm_nobody(self):
        workers, rate = size(2000, 200), size(5150, 500)
        daemon = self.daemon({"main": NO_NODES})
        before, cold = (descriptors(daemon.pid), store_size(daemon)), own_memory(daemon.pid)
        self.storm(daemon, workers, size(10_000, 500), rate)  # so that tables have the size that such a crowd takes
        warm = own_memory(daemon.pid)
        said, height = self.storm(daemon, workers, size(60_000, 2000), rate)
        eventually(lambda: (descriptors(daemon.pid), store_size(daemon)) == before, what="all descriptors are back")
        left = own_memory(daemon.pid)
        print(f"crowd: of {workers} workers {said.killed} were killed and replaced, {said.stopped} stopped for a while, in "
              f"{said.ms / 1000:.0f} s; {said.ok * 1000 / said.ms:.0f} pins/s, slowest {said.us / 1000:.0f} ms, {said}")
        print(f"crowd: memory of the daemon's own: {cold} KiB at its start, {warm} after a first crowd, {height} under the "
              f"second, {left} after it")
        if not harness.SANITIZE:
            self.assertLess(left, warm + 512, "it keeps what it needed for the crowd")

    def test_more_workers_than_connections_are_all_served(self):
        daemon = self.daemon({"main": NO_NODES}, {"max_clients": 64})
        people = self.people(daemon, size(1000, 300))
        for _ in range(3):
            said = people.do("record")
            self.assertEqual((said.ok, said.failed), (people.workers, 0))
            self.assertLessEqual(daemon.ask("status")["clients"], 64)
        self.assertGreater(daemon.ask("show", "stats")["stats"]["closed_idle"], 0)
        self.all_are_pinned(people, people.workers)

    def test_without_descriptors_the_daemon_serves_in_turn_and_does_not_spin(self):
        daemon = self.daemon({"main": NO_NODES})
        room = descriptors(daemon.pid) + 8
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (room, room))
        people = self.people(daemon, 100)
        for _ in range(3):
            said = people.do("record")
            self.assertEqual((said.ok, said.failed), (100, 0))
        self.assertLessEqual(descriptors(daemon.pid), room)
        print(f"crowd: 100 workers on {room} descriptors, slowest record {said.us / 1000:.0f} ms")
        newcomer = self.worker(daemon)
        newcomer.timeout(20_000)
        newcomer.number("main")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, room))  # none at all, and somebody at the door
        newcomer.send("record", newcomer.number("main"), "6b", 1)
        began, used = time.monotonic(), cpu_seconds(daemon.pid)
        eventually(lambda: time.monotonic() - began > 1)
        share = (cpu_seconds(daemon.pid) - used) / (time.monotonic() - began)
        print(f"crowd: with no descriptor left the daemon used {share:.0%} of a CPU")
        self.assertLess(share, 0.05 * (4 if harness.SANITIZE else 1), "it spins")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (room, room))
        self.assertEqual(newcomer.answer().status, "OK")
        self.assertGreater(daemon.ask("show", "stats")["stats"]["accept_failures"], 0)

    def test_busy_clients_leave_descriptors_for_the_prober_and_for_operators(self):
        daemon = self.daemon({"main": NO_NODES})
        room = descriptors(daemon.pid) + 24
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (room, room))
        self._ends(Pump(daemon, 60, "again"))
        eventually(lambda: daemon.ask("status")["clients"] == room - room // 2, what="all places are taken")
        starts = daemon.ask("show", "stats")["stats"]["prober_starts"]
        os.kill(prober_of(daemon), signal.SIGKILL)
        eventually(lambda: daemon.ask("show", "stats")["stats"]["prober_starts"] > starts, what="another prober")
        eventually(lambda: prober_of(daemon), what="another prober")
        self.assertFalse([line for line in daemon.log if "Too many open files" in line])
        operators = [socket.socket(socket.AF_UNIX) for _ in range(30)]  # more than there are descriptors
        for operator in operators:
            self.addCleanup(operator.close)
            operator.connect(f"{daemon.dir}/ctl.sock")
        eventually(lambda: descriptors(daemon.pid) == room, what="no descriptor is left")
        for operator in operators:
            operator.close()
        self.assertTrue(daemon.ask("status")["ok"])

    def outsiders_on(self, places):
        """Of 16 workers whose turn it is at the same time: records that came through, all, and the slowest in ms."""
        daemon = self.daemon({"main": NO_NODES}, {"max_clients": places})
        workers = [self.worker(daemon) for _ in range(16)]
        numbers = [worker.number("main") for worker in workers]
        pump = self._ends(Pump(daemon, 264, "again"))
        through = [0] * len(workers)
        slowest = 0
        rounds = size(300, 100)
        for turn in range(rounds):
            for worker, number in zip(workers, numbers):
                worker.send("record", number, f"{turn:08x}", 1)
            for i, worker in enumerate(workers):
                said = worker.answer()
                through[i] += said.status == "OK"
                slowest = max(slowest, said.us / 1000)
        pump.close()
        print(f"crowd: 264 busy connections of one process on {places} places: {sum(through) / rounds / len(workers):.1%} of the "
              f"records of 16 others came through, the slowest took {slowest:.1f} ms; {pump.answers} answers to the busy one")
        self.assertGreater(pump.answers, 264)
        return min(through), rounds

    def test_one_process_that_keeps_all_places_busy_starves_nobody(self):
        for places in (256, 16):
            with self.subTest(places):
                fewest, rounds = self.outsiders_on(places)
                self.assertGreaterEqual(fewest, (0.9 if harness.SANITIZE else 0.97) * rounds)


if __name__ == "__main__":
    unittest.main()
