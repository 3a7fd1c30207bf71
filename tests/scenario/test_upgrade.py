#!/usr/bin/env python3
"""test_upgrade.py -- a daemon of one version goes on with the store of another's, forward and back.
The next version is this one with a layout of its own: pinrouted_next and worker_next (tests/CMakeLists.txt)."""
# ctest: parallel
import os
import re
import struct
import time
import unittest

import harness
from harness import eventually

LAYOUT = int(re.search(r"^#define PNR_LAYOUT (\d+)", open(os.path.join(harness.SOURCE, "proto", "store.h"), encoding="ascii").read(),
                       re.M)[1])
MAGIC = b"PINRUTE1"  # the header's first bytes, and where its fields are: proto/store.h
HEADER_LAYOUT, HEARTBEAT, CURSOR, OLDEST_WRITER = 8, 64, 88, 96
NOW, NEXT = harness.Daemon.command, [os.path.join(harness.BUILD, "tests", "pinrouted_next")]
VERSIONS = {LAYOUT: NOW, LAYOUT + 1: NEXT}
LONG = 100  # seconds: longer than the test takes


class NextWorker(harness.Worker):
    command = [os.path.join(harness.BUILD, "tests", "worker_next")]


def headers(content):
    at = content.find(MAGIC)
    while at >= 0:
        yield at
        at = content.find(MAGIC, at + 1)


class Upgrade(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))

    def data(self):
        return os.path.join(self.system.dir, "data.mdb")

    def header(self):
        """(layout, cursor) of the newest one in the file, and which file that is."""
        with open(self.data(), "rb") as f:
            content = f.read()
            newest = max(headers(content), key=lambda at: struct.unpack_from("<q", content, at + HEARTBEAT))
            return (struct.unpack_from("<I", content, newest + HEADER_LAYOUT)[0],
                    struct.unpack_from("<Q", content, newest + CURSOR)[0], os.fstat(f.fileno()).st_ino)

    def pins(self):
        said = self.system.ask("show", "pins")
        self.assertFalse(said["truncated"])
        return {(p["cluster"], p["key"]): (p["until_ms"], p["generation"], p["hold_left_ms"] > 0) for p in said["pins"]}

    def cluster_now(self, name="main"):
        return next(c for c in self.system.ask("status")["clusters"] if c["name"] == name)

    def floor_is_over(self):
        """But for who is held: shadow-1 is read from, whoever asks, and shadow-2 is drained."""
        for worker in self.workers:
            eventually(lambda w=worker: w.read("main", "never wrote").node == "shadow-1", within=20)

    def serve(self, **options):
        nodes = self.pg.nodes()
        full = [re.sub(r"^\S+", f"full-{n}", line) for n, line in enumerate(nodes)]
        self.system = self.daemon({"main": nodes, "full": full}, {"max_pins": 1000}, options)
        self.system.ctl("drain", "shadow-2")
        self.workers = [self.worker(self.system), self._ends(NextWorker(self.system))]
        self.writer = self.worker(self.system)
        self.floor_is_over()

    def owe(self):
        """All kinds: a pin, a hold, a token, and a floor that is held for what the full table did not take."""
        for key in ("wrote", "has a token"):
            self.assertEqual(self.writer.record("main", key, LONG).status, "OK")
        self.assertEqual(self.writer.hold("main", "held", LONG * 1000).status, "OK")
        self.token = self.writer.issue("main", "has a token").token
        for n in [250] * 4 + [1] * 64:  # 64 keys are pinned together or not at all
            self.assertEqual(self.writer.records("full", f"{n} of {time.monotonic_ns()}", n, LONG).status, "OK")
        self.assertEqual(self.writer.hold("full", "held", LONG * 1000).status, "OK")
        self.assertEqual(len(self.pins()), 1000)

    def owes(self):
        for worker in self.workers:
            for cluster, key, reason in (("main", "wrote", "CAUGHT_UP"), ("main", "held", "PINNED"), ("full", "never wrote", "FLOOR")):
                eventually(lambda w=worker, c=cluster, k=key, r=reason: w.read(c, k).reason == r, what=f"{key}: {reason}")
            worker.scope("begin", "main")
            self.assertEqual(worker.accept(self.token).status, "OK")

    def change_to(self, layout, end):
        """Readers of both versions decide all the while."""
        before, pins, (was, cursor, ino) = self.cluster_now(), self.pins(), self.header()
        keyed, unkeyed = self.workers
        keyed.start_spin("main", "held", 500)
        unkeyed.start_spin("main", None, 500)
        end()
        seen = len(self.system.log)
        self.system.command = VERSIONS[layout]
        self.system.start()
        self.system.wait_log(f"going on with the store in .*, layout {was}, this daemon writes {layout}$", since=seen)
        self.assertEqual(set(keyed.answer().by_node()), {"default"})
        said = unkeyed.answer()
        self.assertEqual((set(said.by_node()), set(said.by_reason())), ({"shadow-1"}, {"BALANCED"}))
        self.floor_is_over()
        self.owes()
        self.assertEqual(self.pins(), pins)
        self.assertGreater(self.cluster_now()["open_generation"], before["open_generation"])
        self.assertEqual({n["name"]: n["admin"] for n in self.cluster_now()["nodes"]}["shadow-2"], "drain")
        now = self.header()
        self.assertEqual((now[0], now[2]), (layout, ino))
        self.assertGreaterEqual(now[1], cursor)
        for worker in (*self.workers, self.writer):
            eventually(lambda w=worker: w.record("main", "wrote", LONG).status == "OK", what="it finds the daemon by itself")

    def test_each_version_goes_on_with_the_others_store_and_owes_what_it_owed(self):
        self.serve(max_pin_seconds=LONG)
        self.owe()
        self.owes()
        for end in (self.system.stop, self.system.kill):
            for layout in (LAYOUT + 1, LAYOUT):
                with self.subTest(end=end.__name__, layout=layout):
                    self.change_to(layout, end)

    def test_what_was_held_in_a_store_that_cannot_be_gone_on_with_is_held_for_as_long_as_it_could_be(self):
        seconds = 2
        self.serve(max_pin_seconds=seconds, pin_seconds=1)
        self.assertEqual(self.writer.hold("main", "held", seconds * 1000).status, "OK")
        held_until = time.monotonic() + seconds
        self.system.kill()
        with open(self.data(), "r+b") as f:
            content = bytearray(f.read())
            for at in headers(content):
                struct.pack_into("<II", content, at + HEADER_LAYOUT, 99, 99)
                struct.pack_into("<I", content, at + OLDEST_WRITER, 99)
            f.seek(0)
            f.write(content)
        self.system.start()
        self.system.wait_log("new store in .*: layout 99, this daemon writes")
        while time.monotonic() < held_until:
            for worker in self.workers:
                self.assertEqual(worker.read("main", "held").role, "PRIMARY")
        self.assertEqual(self.cluster_now()["floor_why"], "daemon started, and the earlier store could not be read")
        self.floor_is_over()
        self.assertGreater(time.monotonic(), held_until)


if __name__ == "__main__":
    unittest.main(verbosity=2)
