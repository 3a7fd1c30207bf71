#!/usr/bin/env python3
"""test_store.py -- the failure contract: no store that can be read, and no room for pins.
A file is never trusted for looking like a store, and a daemon that has no room says so."""
# ctest: parallel long
import os
import shutil
import struct
import unittest
from unittest import mock

from contract import KEYED, RECORD, UNKEYED  # first: it knows where harness.py is
import harness
import lagging
import mounts
from harness import eventually, scratch

MAGIC = b"PINRUTE1"  # the header's first bytes, and where its fields are: proto/store.h
LAYOUT, BOOT_ID, FILE_INO = 8, 24, 56
NOBODY = 65534
ROOM = 24 << 20  # of the tmpfs: for two stores, since workers map the old one until there is a new one


def patched(content, offset, what):
    """Every copy of the header that lies in the file, changed."""
    content, at = bytearray(content), content.find(MAGIC)
    while at >= 0:
        content[at + offset:at + offset + len(what)] = what
        at = content.find(MAGIC, at + 1)
    return bytes(content)


class Stranger(harness.Worker):
    """An application process of a user who is neither root nor the daemon's: as ourselves, where we are not root."""

    def __init__(self, where):
        self.place = None
        if os.getuid() == 0:
            self.place = scratch()
            path = shutil.copy(harness.Worker.command[0], self.place)
            os.chmod(self.place, 0o755)
            self.command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", path]
        super().__init__(where)

    def close(self):
        super().close()
        if self.place:
            shutil.rmtree(self.place)


class NoStore(lagging.Lagging):
    """Handles find no store to read, or one that nobody has kept up for longer than stale_limit."""

    def data(self):
        return os.path.join(self.system.dir, "data.mdb")

    def newcomer(self, primary="", kind=harness.Worker):
        with mock.patch.dict(os.environ, PINROUTE_PRIMARY=primary):
            return self._ends(kind(self.system))

    def nothing_to_read(self, fault, worker, *nodes):
        """Both columns of reads: the primary, by the name that this process knows for it."""
        for column, key in ((UNKEYED, None), (KEYED, "acked")):
            with self.cell("no store", column, fault):
                said = self.found(worker.read("main", key), self.acked)
                self.assertEqual((said.status, said.role, said.reason), ("E_STORE", "PRIMARY", "STORE_UNAVAILABLE"))
                self.assertIn(said.node, nodes)

    def nobody_to_record(self, fault, worker):
        """And the third.  A token that was made before holds its scope on the primary."""
        with self.cell("no store", RECORD, fault):
            owed = self.fails_to_record(worker, f"owed, {fault}")
            worker.scope("begin", "main")
            self.assertEqual(worker.accept(self.token).status, "E_STORE")
            self.assertEqual(self.found(worker.scope("read"), self.acked).role, "PRIMARY")
        return owed

    def goes_on(self, owing):
        """The daemon is back: all find it, and what they owe is recorded.  owing: [(fault, worker, write)]"""
        for fault, worker, write in owing:
            with self.cell("no store", RECORD, fault):
                self.is_sent_again(worker, f"owed, {fault}", write)
        for fault, worker, write in owing:
            with self.cell("no store", KEYED, fault):
                self.sees_until(worker, "acked", self.acked, "FLOOR", "PINNED")
                self.assertEqual(self.found(worker.scope("read"), self.acked).role, "PRIMARY", "the token's scope")
        self.lack(self.acked)
        self.catches_up(self.other, ("acked", self.acked), *((f"owed, {fault}", write) for fault, _, write in owing))

    def begin(self, **options):
        self.serve(**options)
        self.hold_back()
        self.acked = self.wrote(self.writer, "acked")
        self.token = self.writer.issue("main", "acked").token

    # -- a daemon that is away for too long --

    def away(self, fault, leave, come):
        self.begin(stale_limit="1s")
        leave()
        for key in ("acked", None):
            eventually(lambda k=key: self.other.read("main", k).reason == "STORE_UNAVAILABLE", what="past stale_limit")
        self.nothing_to_read(fault, self.other, "default")
        owed = self.nobody_to_record(fault, self.writer)
        come()
        self.goes_on([(fault, self.writer, owed)])
        with self.cell("no store", UNKEYED, fault):
            self.settled()

    def test_a_daemon_that_was_killed_long_ago_leaves_the_primary(self):
        self.away("daemon away", self.system.kill, self.system.start)

    def test_a_daemon_that_was_stopped_long_ago_leaves_the_primary(self):
        self.serve()
        self.addCleanup(self.system.resume)
        self.away("daemon away", self.system.pause, self.system.resume)

    # -- files --

    def put(self, content, mode=0o640, keep_inode=False, owner=None):
        """A file in the store's place; sound but for what is said, unless its inode is another's."""
        with open(self.data() + ".new", "w+b") as f:
            if not keep_inode:
                content = patched(content, FILE_INO, struct.pack("<Q", os.fstat(f.fileno()).st_ino))
            f.write(content)
            os.fchmod(f.fileno(), mode)
            if owner is not None:
                os.fchown(f.fileno(), owner, -1)
        os.rename(self.data() + ".new", self.data())

    def unreadable(self, sound):
        os.chmod(self.system.dir, 0o755)
        self.put(sound, mode=0)
        yield self.newcomer("default", Stranger)
        self.put(sound, mode=0o660)
        yield self.newcomer("default")
        if os.getuid() == 0:
            self.put(sound, owner=NOBODY)
            yield self.newcomer("default")

    def truncated(self, sound):
        for size in (0, 100, 4096, 5000, 8192, len(sound) // 2, len(sound) - 4096, len(sound) - 1):
            self.put(sound[:size])
            yield self.newcomer("default")

    def garbage(self, sound):
        for content in (os.urandom(len(sound)), bytes(len(sound)), b"no store\n" * 1000):
            self.put(content, keep_inode=True)
            yield self.newcomer("default")

    def missing(self, _):
        os.unlink(self.data())
        yield self.newcomer("default")

    def changed(self, offset, what):
        def files(sound):
            self.put(patched(sound, offset, what))
            yield self.newcomer("default")
        return files

    def copied(self, sound):
        self.put(sound, keep_inode=True)
        yield self.newcomer("default")

    def test_a_file_that_is_no_sound_store_of_this_boot_is_not_read(self):
        self.begin()
        self.system.kill()
        with open(self.data(), "rb") as f:
            sound = f.read()
        self.put(sound)
        eventually(lambda: self.newcomer().read("main").reason == "BALANCED", what="a sound one would be")
        files = {"missing": self.missing, "unreadable": self.unreadable, "truncated before attach": self.truncated,
                 "garbage": self.garbage, "a copy": self.copied,
                 "another layout": self.changed(LAYOUT, struct.pack("<II", 99, 99)),
                 "another boot": self.changed(BOOT_ID, os.urandom(16))}  # last: no hold may be in it
        owing = []
        for fault, make in files.items():
            with self.subTest(fault):
                for worker in make(sound):
                    self.nothing_to_read(fault, worker, "default")
                self.nothing_to_read(fault, self.newcomer() if fault != "unreadable" else worker, "", "default")
                owing.append((fault, worker, self.nobody_to_record(fault, worker)))
        self.system.start()
        self.system.wait_log("new store in .*: of another boot")
        self.goes_on(owing)
        self.settled()

    def test_a_store_that_is_lost_in_use_serves_until_its_limit(self):
        def leave():
            self.system.kill()
            os.unlink(self.data())
            self.nothing_to_read("lost in use", self.newcomer(), "")

        self.away("lost in use", leave, self.system.start)


class NoRoom(lagging.Lagging):
    """More pins than the table takes, a store that is lost, a file system that is full."""

    @classmethod
    def prepare(cls, system):
        if not mounts.why_not:
            mounts.mount_tmpfs(system.dir, ROOM)
            cls.addClassCleanup(shutil.rmtree, system.dir, ignore_errors=True)
            cls.addClassCleanup(mounts.unmount, system.dir)
            system.write_config(cls.pg, cls.OPTIONS, lagging.CHECKS)

    def in_dir(self, name):
        return os.path.join(self.system.dir, name)

    def begin(self):
        self.addCleanup(self.start_afresh)
        self.serve()
        self.hold_back()
        self.acked = self.wrote(self.writer, "acked")
        self.reader = self.spin(300)

    def start_afresh(self):
        if self.system.process.poll() is None:
            self.system.kill()
        for name in ("data.mdb", "filler"):
            if os.path.exists(self.in_dir(name)):
                os.unlink(self.in_dir(name))

    def made_up_for(self, fault, *written):
        """All three columns of the row: as after any loss of pins, and all goes on."""
        with self.cell("table full", UNKEYED, fault):
            self.was_balanced(self.reader)
        with self.cell("table full", RECORD, fault):
            self.writer.timeout(20_000)
            late = self.wrote(self.writer, "late")
        with self.cell("table full", KEYED, fault):
            self.sees_until(self.other, "never wrote", 0, "FLOOR")
            written = (("acked", self.acked), ("late", late), *written)
            for key, write in written:
                self.sees_until(self.other, key, write, "FLOOR", "PINNED")
                self.lack(write)
            self.catches_up(self.other, *written)
        self.settled()

    def overflow(self):
        filled = harness.run_program("pins", "fill", self.system.dir, "main", 0, 3000, 4, lagging.PINNED_FOR)
        self.assertEqual((filled.ok, filled.failed), (3000, 0), "a record was refused")

    def test_pins_beyond_the_table_pin_the_whole_cluster(self):
        self.begin()
        with self.cell("table full", RECORD, "table full"):
            self.overflow()
        with self.cell("table full", KEYED, "table full"):
            looked = harness.run_program("pins", "look", self.system.dir, "main", 0, 3000)
            self.assertEqual((looked.PINNED > 0, looked.PINNED + looked.FLOOR), (True, 3000), looked)
            self.assertIn("full", self.system.ask("status")["clusters"][0]["floor_why"])
        self.made_up_for("table full")

    def lost(self, lose):
        self.begin()
        seen = len(self.system.log)
        lose(self.in_dir("data.mdb"))
        with self.cell("table full", RECORD, "store lost"):
            self.writer.timeout(20_000)
            meanwhile = self.wrote(self.writer, "meanwhile")
        self.system.wait_log("making a new one", since=seen)
        self.made_up_for("store lost", ("meanwhile", meanwhile))

    def test_pins_of_a_store_that_is_removed_are_owed_by_all_keys(self):
        self.lost(os.unlink)

    def test_pins_of_a_store_that_something_else_has_replaced_are_owed_by_all_keys(self):
        self.lost(self.replace)

    def replace(self, path):
        with open(path + ".new", "wb") as f:
            f.write(os.urandom(100_000))
        os.rename(path + ".new", path)

    # -- not a byte is left --

    def fill(self):
        with open(self.in_dir("filler"), "wb", buffering=0) as f:
            for size in (1 << 16, 4096, 1):
                try:
                    while f.write(bytes(size)):
                        pass
                except OSError:
                    pass
        self.assertEqual(os.statvfs(self.system.dir).f_bfree, 0)

    def begin_full(self):
        if mounts.why_not:
            self.skip_cells("table full", "tmpfs full", mounts.why_not)
        self.begin()
        self.fill()

    def test_a_tmpfs_that_fills_up_costs_a_daemon_nothing_that_has_its_store(self):
        self.begin_full()
        with self.cell("table full", RECORD, "tmpfs full"):
            self.overflow()
        self.system.kill()
        self.system.start()
        self.assertEqual(os.statvfs(self.system.dir).f_bfree, 0)
        self.made_up_for("tmpfs full")

    def test_a_store_that_cannot_be_replaced_for_want_of_room_is_replaced_when_there_is_room(self):
        self.begin_full()
        seen = len(self.system.log)
        os.unlink(self.in_dir("data.mdb"))
        self.system.wait_log("No space left on device; trying again", since=seen)
        with self.cell("table full", UNKEYED, "tmpfs full"):
            self.balanced(self.other)
        with self.cell("table full", KEYED, "tmpfs full"):
            self.sees(self.other, "acked", self.acked, "STORE_STALE")
        with self.cell("table full", RECORD, "tmpfs full"):
            owed = self.fails_to_record(self.writer, "owed")
            self.sees(self.writer, "owed", owed, "STORE_STALE", "PINNED")
            os.unlink(self.in_dir("filler"))
            self.is_sent_again(self.writer, "owed", owed)
        complaints = sum("no new store" in line for line in self.system.log[seen:])
        self.assertLess(complaints, 4, "one at each of many heartbeats")
        self.made_up_for("tmpfs full", ("owed", owed))

    def test_a_daemon_without_room_for_a_store_says_so_and_ends(self):
        self.begin_full()
        self.system.kill()
        os.unlink(self.in_dir("data.mdb"))
        seen = len(self.system.log)
        self.system.start(wait=False)
        self.assertEqual(self.system.process.wait(20), 1)
        self.assertIn(self.system.dir, self.system.wait_log("No space left on device", since=seen))
        self.sees(self.other, "acked", self.acked, "PINNED", "STORE_STALE")
        self.balanced(self.other)
        os.unlink(self.in_dir("filler"))
        self.system.start()
        self.made_up_for("tmpfs full")


if __name__ == "__main__":
    mounts.try_own()
    unittest.main()
