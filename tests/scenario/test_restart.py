#!/usr/bin/env python3
"""test_restart.py -- the daemon is killed, its store deleted or replaced, all under load: no pinned key goes to a replica."""
# ctest: asan parallel long
import os
import shutil
import statistics
import struct
import subprocess
import time
import unittest

import harness
from harness import bound, eventually, size

NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]
PIN_SECONDS = 1
STALE_AFTER = size("1s", "400ms")
MAGIC = b"PINRUTE1"  # the header's first bytes: proto/store.h
HEADER_LAYOUT, HEADER_FILE_INO, HEADER_OLDEST_WRITER = 8, 56, 96


class Load:
    """load.c: processes that record, that decide, and that come and go."""

    def __init__(self, daemon, recorders=4, deciders=2, newcomers=1):
        self.recorders = recorders
        self.process = harness.spawn([os.path.join(harness.BUILD, "tests", "load"), daemon.dir, "main", str(recorders),
                                      str(deciders), str(newcomers), str(PIN_SECONDS)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what):
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return harness.Answer(self.process.stdout.readline().rstrip("\n"))

    def counts(self):
        return self.do("counts")

    def goes_on(self, acknowledged=2):
        """Every recorder gets so many acknowledgements more."""
        before = self.counts().slowest
        return eventually(lambda: (now := self.counts()).slowest >= before + acknowledged and now, within=20,
                          what="all recorders are acknowledged again")

    def all_are_back(self):
        """Every recorder was acknowledged since the daemon was killed."""
        return eventually(lambda: (said := self.do("back")).back == self.recorders and said, within=20)

    def shows_replicas(self):
        """A key without a pin is read from a replica: no floor hides what is amiss."""
        before = self.counts().unpinned_balanced
        eventually(lambda: self.counts().unpinned_balanced > before, within=20, what="BALANCED for a key that never wrote")

    def close(self):
        if self.process.returncode is None:
            said = self.do("quit")
            self.process.stdin.close()
            self.process.stdout.close()
            assert self.process.wait(20) == 0 and said.lost == 0, "a process of the load had ended by itself"


def data(daemon):
    return os.path.join(daemon.dir, "data.mdb")


def aside(daemon):
    return os.path.join(daemon.dir, "aside")


def deleted(daemon):
    os.unlink(data(daemon))


def truncated_copy(daemon):
    with open(data(daemon), "rb") as old, open(aside(daemon), "wb") as new:
        new.write(old.read()[:64 * 4096])
    os.rename(aside(daemon), data(daemon))


def other_layout(daemon):
    """A store of a layout to come; but for that, a sound one, written for the very file that it is in."""
    shutil.copy(data(daemon), aside(daemon))
    with open(aside(daemon), "r+b") as f:
        content = bytearray(f.read())
        at = content.find(MAGIC)
        while at >= 0:
            struct.pack_into("<II", content, at + HEADER_LAYOUT, 99, 99)
            struct.pack_into("<I", content, at + HEADER_OLDEST_WRITER, 99)
            struct.pack_into("<Q", content, at + HEADER_FILE_INO, os.fstat(f.fileno()).st_ino)
            at = content.find(MAGIC, at + 1)
        f.seek(0)
        f.write(content)
    os.rename(aside(daemon), data(daemon))


def copy(daemon):
    shutil.copy(data(daemon), aside(daemon))
    os.rename(aside(daemon), data(daemon))


DISTURBANCES = {"deleted": deleted, "a truncated copy in its place": truncated_copy, "another layout in its place": other_layout,
                "a copy in its place": copy}


def emptied(daemon):
    """As a service manager does with a runtime directory between stop and start."""
    for name in ("data.mdb", "lock.mdb", "pinrouted.lock", "pinrouted.sock", "ctl.sock"):
        os.unlink(os.path.join(daemon.dir, name))


class Restart(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))

    def serve(self):
        daemon = self.daemon(self.pg, {"stale_after": STALE_AFTER},
                             {"pin_seconds": PIN_SECONDS, "max_pin_seconds": PIN_SECONDS})
        load = self._ends(Load(daemon))
        load.goes_on()
        return daemon, load

    def spared(self, load, before, what):
        """The load met no wrong answer since."""
        after = load.counts()
        self.assertEqual(after.misses, before.misses, what)
        self.assertGreater(after.decisions, before.decisions)
        self.assertGreater(after.attached, before.attached, "nobody came anew")

    def kill_and_start(self, daemon, load, noticed):
        """Started again at once, or when records have failed: how long it took, and how long each recorder waited."""
        load.goes_on(100)
        failed = load.counts().failed
        since = time.monotonic_ns()
        daemon.kill()
        if noticed:
            eventually(lambda: load.counts().failed > failed + 4, what="records fail")
            since = time.monotonic_ns()
        load.do(f"down {since // 1000}")
        return daemon.start()

    def test_a_killed_daemon_comes_back_with_every_acknowledged_pin(self):
        daemon, load = self.serve()
        took, pins, waits = [], 0, {False: [], True: []}
        for n in range(size(200, 10)):
            noticed = n % 2 == 1
            took.append(self.kill_and_start(daemon, load, noticed))
            said = load.do("check")
            self.assertEqual(said.missing, 0, "an acknowledged pin is not in the store")
            pins += said.pins
            waits[noticed].append(load.all_are_back())
        counts = load.goes_on()
        self.assertEqual(counts.misses, 0)
        self.assertGreater(pins, 0)
        print(f"restart: {len(took)} kills, {pins} acknowledged pins looked for after them, none missing; exec to READY "
              f"{statistics.median(took) * 1000:.0f} ms, at most {max(took) * 1000:.0f}; {counts}")
        for noticed, since in ((False, "the kill, when started at once"), (True, "its start, when away until records fail")):
            mean = statistics.mean(w.sum_us / w.back for w in waits[noticed])
            print(f"restart: from {since}, to a process's next record: {mean / 1000:.1f} ms on average, "
                  f"at most {max(w.worst_us for w in waits[noticed]) / 1000:.0f}")

    def test_a_store_that_is_lost_under_load_costs_no_pinned_key(self):
        daemon, load = self.serve()
        for what, disturb in DISTURBANCES.items():
            with self.subTest(what):
                load.shows_replicas()
                before = load.counts()
                replaced = daemon.ask("show", "stats")["stats"]["stores_replaced"]
                disturb(daemon)
                eventually(lambda: daemon.ask("show", "stats")["stats"]["stores_replaced"] == replaced + 1)
                load.goes_on()
                load.shows_replicas()
                self.spared(load, before, what)
        print(f"restart: store lost {len(DISTURBANCES)} times under load: {load.counts()}")

    def test_a_store_that_is_lost_while_the_daemon_is_away_costs_no_pinned_key(self):
        daemon, load = self.serve()
        for what, disturb in {**DISTURBANCES, "is gone with everything beside it": emptied}.items():
            with self.subTest(what):
                load.shows_replicas()
                before = load.counts()
                daemon.kill()
                disturb(daemon)
                took = daemon.start()
                load.goes_on()
                load.shows_replicas()
                self.spared(load, before, what)
                print(f"restart: killed, the store {what}: exec to READY {took * 1000:.0f} ms")

    def test_a_daemon_that_dies_before_it_serves_owes_its_wait_to_the_next_one(self):
        """The second daemon makes a new store and is killed at once: the first one's may still be trusted."""
        daemon, load = self.serve()
        for _ in range(size(10, 2)):
            load.shows_replicas()
            before = load.counts()
            daemon.kill()
            deleted(daemon)
            daemon.start(wait=False)
            eventually(lambda: os.path.exists(data(daemon)), every=0.001, what="a new store")
            daemon.kill()
            daemon.start()
            load.goes_on()
            self.spared(load, before, "killed twice")


class Quick(harness.Scenario):
    """Without a database."""

    def test_a_start_with_a_full_table_is_quick(self):
        n = size(100_000)
        daemon = self.daemon({"main": NO_NODES}, None, {"max_pin_seconds": 3600})
        filled = harness.run_program("pins", "fill", daemon.dir, "main", 0, n, 4, 3600)
        self.assertEqual(filled.ok, n)
        took = []
        for _ in range(5):
            daemon.kill()
            took.append(daemon.start())
        print(f"restart: exec to READY with {n} pins: {', '.join(f'{t * 1000:.0f}' for t in took)} ms")
        self.assertLess(statistics.median(took), bound(0.3))
        self.assertEqual(daemon.ask("status")["pins"], n)
        self.assertEqual(harness.run_program("pins", "look", daemon.dir, "main", 0, n).PINNED, n)

    def test_a_drain_outlives_a_restart_with_a_store_of_another_size(self):
        nodes = NO_NODES + [f"shadow-{n} = host=127.0.0.1 port={n} dbname=app user=pinroute" for n in (1, 2)]
        daemon = self.daemon({"main": nodes}, {"max_pins": 10_000})
        daemon.ctl("drain", "shadow-2")
        self.assertEqual(self.worker(daemon).record("main", "k", 60).status, "OK")
        for max_pins, restart in ((50_000, daemon.stop), (10_000, daemon.kill), (10_000, daemon.kill)):
            restart()
            daemon.write_config({"main": nodes}, {"max_pins": max_pins})
            daemon.start()
            status = daemon.ask("status")
            self.assertEqual(status["max_pins"], max_pins)
            admin = {node["name"]: node["admin"] for node in status["clusters"][0]["nodes"]}
            self.assertEqual(admin, {"default": "ready", "shadow-1": "ready", "shadow-2": "drain"})
            self.assertIn(self.worker(daemon).read("main", "k").reason, ("PINNED", "FLOOR"))

    def test_a_second_daemon_on_the_directory_is_refused_and_the_first_goes_on(self):
        daemon = self.daemon({"main": NO_NODES})
        worker = self.worker(daemon)
        self.assertEqual(worker.record("main", "k", 60).status, "OK")
        epoch = daemon.ask("status")["epoch"]
        second = subprocess.run([os.path.join(harness.BUILD, "pinrouted"), "-c", daemon.conf], text=True, capture_output=True,
                                timeout=30)
        self.assertEqual(second.returncode, 1)
        self.assertIn(daemon.dir, second.stderr)
        self.assertRegex(second.stderr, "another pinrouted|already")
        self.assertNotIn("READY", second.stderr)
        self.assertEqual(worker.record("main", "l", 60).status, "OK")
        self.assertEqual(worker.read("main", "k").reason, "PINNED")
        status = daemon.ask("status")
        self.assertEqual((status["epoch"], status["pins"]), (epoch, 2))

    def test_a_daemon_reloads_as_often_as_it_is_told(self):
        daemon = self.daemon({"main": NO_NODES})
        for weight in range(1, 6):
            extra = f"shadow-1 = host=127.0.0.1 port=1 dbname=app user=pinroute weight={weight}"
            daemon.write_config({"main": NO_NODES + [extra]})
            self.assertTrue(daemon.ask("reload")["reloaded"])
            self.assertEqual([n["weight"] for n in daemon.ask("show", "nodes")["nodes"] if n["name"] == "shadow-1"], [weight])
        self.assertEqual(daemon.stop(), 0)

    def test_a_reload_tells_the_asker_which_values_wait_for_a_restart(self):
        daemon = self.daemon({"main": NO_NODES})
        daemon.write_config({"main": NO_NODES}, {"max_pins": 54321})
        self.assertEqual(daemon.ask("reload")["messages"], ["max_pins: the new value takes a restart; the old one stays"])
        daemon.wait_log("max_pins: the new value takes a restart")
        self.assertEqual(daemon.stop(), 0)

    def test_a_daemon_whose_lock_is_taken_away_ends_before_another_writes_beside_it(self):
        first = self.daemon({"main": NO_NODES})
        sockets = [os.path.join(first.dir, name) for name in ("pinrouted.sock", "ctl.sock")]
        os.unlink(os.path.join(first.dir, "pinrouted.lock"))
        self.assertEqual(first.process.wait(10), 1)
        first.wait_log("pinrouted.lock was taken away")
        self.assertTrue(all(map(os.path.exists, sockets)), "they may be another daemon's")
        first.start()
        self.assertEqual(self.worker(first).record("main", "k", 60).status, "OK")

    def test_a_daemon_whose_sockets_are_taken_away_listens_on_new_ones(self):
        daemon = self.daemon({"main": NO_NODES})
        connected = self.worker(daemon)
        self.assertEqual(connected.record("main", "before", 60).status, "OK")
        for name in ("pinrouted.sock", "ctl.sock"):
            seen = len(daemon.log)
            os.unlink(os.path.join(daemon.dir, name))
            daemon.wait_log("a socket was removed there; listening on a new one", since=seen)
        self.assertEqual(self.worker(daemon).record("main", "after", 60).status, "OK")
        self.assertEqual(connected.record("main", "still", 60).status, "OK")
        self.assertEqual(daemon.ask("show", "stats")["stats"]["records"], 3)

    def test_workers_that_were_there_first_find_the_daemon(self):
        daemon = self.daemon({"main": NO_NODES}, start=False)
        worker = self.worker(daemon)
        self.assertEqual(worker.read("main", "k").reason, "STORE_UNAVAILABLE")
        self.assertEqual(worker.record("main", "k", 60).status, "E_UNREACHABLE")
        self.assertEqual(worker.read("main", "k").role, "PRIMARY")
        daemon.start()
        eventually(lambda: worker.record("main", "l", 60).status == "OK", what="the worker finds it by itself")
        eventually(lambda: worker.read("main", "k").reason == "PINNED")
        eventually(lambda: self.worker(daemon).read("main", "k").reason == "PINNED", what="what had failed was sent again")


if __name__ == "__main__":
    unittest.main()
