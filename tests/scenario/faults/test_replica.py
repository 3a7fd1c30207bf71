#!/usr/bin/env python3
"""test_replica.py -- the row `replica` of the failure contract: a replica that fails in every way is not read from.
What is written after each fault the replica really lacks, so that one wrong decision would be a stale read."""
# ctest: parallel long
import contextlib
import os
import re
import signal
import socket
import struct
import time
import unittest

from contract import KEYED, RECORD, UNKEYED  # and with it the way to the harness
import harness
from fakepg import FakePg
from harness import bound, eventually, size
from relay import Apart, Relay
from test_positions import look, until_ready
from watch import Watched

INTERVAL, TIMEOUT, FALL, MAX_LAG = 0.12, 0.1, 2, 0.4
OPTIONS = {"check_interval": "120ms", "check_timeout": "100ms", "fall": FALL, "rise": 2, "max_lag": "400ms"}
LEAVES = FALL * (INTERVAL + TIMEOUT) + 0.2
TRUST = 0.06 + 0.01  # caught_up_trust, and a tick of the clock by which a stub tells an answer's age
# Of the other cluster: there nothing but a broken connection says so soon that a replica is not to be trusted.
PATIENT = {**OPTIONS, "check_interval": "400ms", "fall": 3, "rise": 1, "caught_up_trust": "2s"}


class Replica(Watched):
    """shadow-1 comes to harm itself; `relayed` is the same server behind a network, `apart` behind one with a cable.
    shadow-2 does not; `silent` and `mute` never served."""

    server = {**Watched.server, "relayed": 1, "apart": 1, "silent": 1, "mute": 1}

    @classmethod
    def setUpClass(cls):
        cls.set_up(2, "max_connections = 24")
        cls.relay = cls.shared(Relay(cls.pg.ports[1]))
        cls.silent, cls.mute = cls.shared(FakePg("silent")), cls.shared(FakePg("ok_then_silent"))
        lines = cls.pg.nodes() + [f"silent = {cls.silent.conninfo()}", f"mute = {cls.mute.conninfo()}",
                                  "relayed = " + cls.by(cls.relay)]
        cls.apart = None
        with contextlib.suppress(PermissionError):
            cls.apart = cls.shared(Apart(f"{cls.pg.dir}/.s.PGSQL.{cls.pg.ports[1]}"))
            lines.append("apart = " + cls.by(cls.apart))
        cls.system = cls.shared(harness.Daemon({"main": lines}, start=False))
        cls.configure(lines)
        cls.system.start()

    @classmethod
    def by(cls, relay):
        itself = f"host=127.0.0.1 port={cls.pg.ports[1]}"
        return cls.pg.conninfo(1).replace(itself, f"host={relay.host} port={relay.port}")

    @classmethod
    def configure(cls, lines):
        """Two clusters of the same servers."""
        text = harness.config(cls.system.dir, {"main": lines}, None, OPTIONS)
        other = harness.config(cls.system.dir, {"patient": lines}, None, PATIENT)
        cls.system.write_text(text + "\n" + other.partition("\n\n")[2])

    def stand_by(self, *victims):
        """All is well: the victims are read from, with a key that wrote and without."""
        self.key = self.id().rpartition(".")[2] + "-".join(victims)
        self.later = self.key + "-later"
        self.watchers(("main", None), ("main", self.key), ("patient", self.key))
        self.write(self.key, "main", "patient")
        for victim in victims:
            self.names(victim, None)
            self.names(victim, self.key)
            self.names(victim, self.key, "patient")
        self.before = {victim: self.node(victim) for victim in victims}
        self.died = float("inf")

    def befall(self, fault, harm, mend, *victims, keeps=False, breaks=False):
        """keeps: its answers are fresh and true, so that it may serve what it has until it leaves.
        breaks: its connection does, so that it is told at once."""
        harm()
        self.struck = min(time.monotonic(), self.died)
        self.write(self.later, "main", "patient")
        self.watch.about += [("main", self.later), ("patient", self.later)]
        for victim in victims:
            eventually(lambda v=victim: self.node(v)["state"] == "DOWN", within=20, what=f"{victim} leaves")
        self.left = time.monotonic()
        after = {victim: self.node(victim) for victim in victims}
        until = self.left + size(5, 0.2)
        eventually(lambda: time.monotonic() > until, within=20)
        self.watch.turn()
        self.mended = time.monotonic()
        mend()
        for victim in victims:
            self.names(victim, None)
            self.names(victim, self.later)
        self.watch.close()
        with self.cell("replica", UNKEYED, fault):
            for victim in victims:
                self.left_after_its_checks(victim, after[victim])
        with self.cell("replica", KEYED, fault):
            for victim in victims:
                self.was_not_trusted(victim, keeps, breaks)
        with self.cell("replica", RECORD, fault):
            self.records_hold()

    def left_after_its_checks(self, victim, after):
        unkeyed = self.watch.of(None)
        last = max((s.asked for s in self.watch.of(None, since=self.struck, until=self.mended) if s.node == victim),
                   default=self.struck)
        print(f"{victim}: {after['why']}; read from without a key for {last - self.struck:.2f} s more", flush=True)
        self.assertEqual({s.status for s in unkeyed}, {"OK"})
        self.assertLess(last, self.left)
        self.assertLess(last - self.struck, bound(LEAVES + MAX_LAG + INTERVAL))
        self.assertGreaterEqual(after["fails"] - self.before[victim]["fails"], FALL)
        self.assertTrue(self.watch.of(None, since=self.left, until=self.mended))

    def was_not_trusted(self, victim, keeps, breaks):
        self.assertEqual(self.watch.stale, [])
        for cluster in ("main", "patient"):
            during = self.watch.of(self.later, cluster, until=self.mended)
            self.assertTrue(during)
            self.assertEqual([s for s in during if s.node == victim], [])
            named = [s.asked for s in self.watch.of(self.key, cluster, self.struck, self.mended) if s.node == victim]
            trusted = max(named, default=self.struck) - self.struck
            print(f"{victim}: trusted for {trusted * 1000:.0f} ms more in {cluster}", flush=True)
            if cluster == "main":
                self.assertLess(trusted, self.left - self.struck if keeps else TRUST)
            elif breaks:
                self.assertLess(trusted, bound(0.05))

    # what befalls it, and how it is mended

    def server_processes(self):
        pid = self.pg.pid(1)
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [pid, *map(int, f.read().split())]

    def die(self):
        """As a power failure would have it."""
        os.kill(self.pg.pid(1), signal.SIGSTOP)  # what is stopped forks no more
        all_of_them = self.server_processes()[::-1]
        for pid in all_of_them:
            os.kill(pid, signal.SIGKILL)
        self.died = time.monotonic()
        eventually(lambda: all(harness.state_of(pid) in (None, "Z") for pid in all_of_them), within=20)

    def revive(self):
        with contextlib.suppress(RuntimeError):  # it runs
            self.pg.start(1)

    def freeze(self):
        self.pg.freeze(1)
        eventually(lambda: all(harness.state_of(p) in ("T", "Z", None) for p in self.server_processes()), within=20)

    def pause_replay(self):
        self.pg.sql(1, "select pg_wal_replay_pause()")
        eventually(lambda: self.pg.sql(1, "select pg_get_wal_replay_pause_state()") == "paused", within=20)

    def resume_replay(self):
        self.pg.sql(1, "select pg_wal_replay_resume()")

    def cut(self, relay, how):
        """The server goes on, and stands still: what is written now it lacks."""
        self.pause_replay()
        relay.do(how)

    def uncut(self, relay):
        relay.do("pass")
        self.resume_replay()

    def rules(self, first=""):
        """Puts a rule at the head of pg_hba.conf, or takes it out again."""
        path = os.path.join(self.pg.dir, "n1", "pg_hba.conf")
        with open(path, encoding="utf-8") as f:
            lines = [line for line in f.readlines() if "reject" not in line]
        with open(path, "w", encoding="utf-8") as f:
            f.writelines([first, *lines])
        os.kill(self.pg.pid(1), signal.SIGHUP)  # a server that is full takes no order by SQL

    def turn_away(self):
        self.pause_replay()
        self.rules("host all pinroute 127.0.0.1/32 reject\nlocal all pinroute reject\n")
        eventually(lambda: look(self.pg.ports[1], "select 1", user="pinroute") is None, within=20)
        self.pg.sql(1, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pinrouted'")

    def let_in(self):
        self.rules()
        self.resume_replay()

    def take_all_places(self):
        """While the prober is turned away, all others; then there is none left for it."""
        self.turn_away()
        words = b"user\0app\0database\0app\0\0"
        self.guests, taken = [], True
        while taken:
            guest = self._ends(socket.create_connection(("127.0.0.1", self.pg.ports[1]), timeout=20))
            guest.sendall(struct.pack("!II", len(words) + 8, 196608) + words)
            self.guests.append(guest)
            with guest.makefile("rb") as said:
                taken = until_ready(said)
        self.rules()

    def leave_places(self):
        eventually(lambda: re.search("connection slots|too many clients", self.node("shadow-1")["why"]), within=20)
        for guest in self.guests:
            guest.close()
        eventually(lambda: look(self.pg.ports[1], "select 1") == "1", within=20, what="there are places")
        self.resume_replay()

    def cut_off(self):
        self.pg.sql(1, "alter system set primary_conninfo = ''")
        self.pg.sql(1, "select pg_reload_conf()")
        eventually(lambda: self.pg.sql(1, "select count(*) from pg_stat_wal_receiver") == "0", within=20)

    def crash(self):
        """It comes back at once, from before its last commits, and waits for an hour with each that it replays."""
        self.pg.lag(1, "1h")
        self.watch.forget("shadow-1", "relayed", "apart")
        self.pg.crash(1)

    # the cells

    def test_a_dead_replica(self):
        self.stand_by("shadow-1")
        self.addCleanup(self.revive)
        self.befall("dead", self.die, lambda: self.pg.start(1), "shadow-1", breaks=True)

    def test_a_frozen_replica(self):
        self.stand_by("shadow-1")
        self.addCleanup(self.pg.thaw, 1)
        self.befall("frozen", self.freeze, lambda: self.pg.thaw(1), "shadow-1")

    def test_a_replica_that_refuses(self):
        self.addCleanup(self.let_in)
        self.stand_by("shadow-1", "relayed")
        self.befall("refusing", lambda: (self.turn_away(), self.relay.do("refuse")),
                    lambda: (self.let_in(), self.relay.do("pass")), "shadow-1", "relayed", breaks=True)

    def test_a_replica_without_a_free_connection(self):
        self.addCleanup(self.let_in)
        self.stand_by("shadow-1")
        self.befall("refusing", self.take_all_places, self.leave_places, "shadow-1", breaks=True)

    def test_a_replica_that_accepts_and_never_answers(self):
        self.addCleanup(self.uncut, self.relay)
        self.stand_by("relayed")
        self.befall("never answers", lambda: self.cut(self.relay, "mute"), lambda: self.uncut(self.relay), "relayed")
        self.assertEqual([s for s in self.watch.seen if s.node in ("silent", "mute")], [])

    def test_a_network_that_drops_packets(self):
        cables = {"relayed": self.relay, **({"apart": self.apart} if self.apart else {})}
        if not self.apart:
            print("no network namespaces here: a socket's packets are dropped, no cable is pulled", flush=True)
        for relay in cables.values():
            self.addCleanup(self.uncut, relay)
        self.stand_by(*cables)
        self.befall("packets dropped", lambda: [self.cut(relay, "drop") for relay in cables.values()],
                    lambda: [self.uncut(relay) for relay in cables.values()], *cables)

    def test_a_replica_that_lags(self):
        self.addCleanup(self.resume_replay)
        self.stand_by("shadow-1")
        self.befall("lagging", self.pause_replay, self.resume_replay, "shadow-1", keeps=True)

    def test_a_replica_whose_lag_nobody_knows(self):
        self.stand_by("shadow-1")
        self.addCleanup(self.pg.follow, 1, 0)
        self.befall("lag unknown", self.cut_off, lambda: self.pg.follow(1, 0), "shadow-1")

    def test_a_replica_that_restarts_at_an_older_position(self):
        self.addCleanup(self.pg.lag, 1, 0)
        self.pg.sql(0, "checkpoint")
        eventually(lambda: self.pg.caught_up(1), within=20)
        self.pg.sql(1, "checkpoint")
        self.stand_by("shadow-1")
        self.befall("restarted", self.crash, self.back_again, "shadow-1", breaks=True)

    def back_again(self):
        eventually(lambda: self.has("shadow-1", self.key) is not None, within=20)
        self.assertIs(self.has("shadow-1", self.key), False, "it is not older than it was: this shows nothing")
        self.pg.lag(1, 0)

    def test_two_replicas_that_go_on_by_themselves_on_another_timeline(self):
        """One is promoted behind our back, and one follows it.  The last test: they do not come back."""
        self.watchers(("main", None), ("main", "early"))
        self.write("early")
        for name in ("shadow-1", "shadow-2"):
            self.names(name, "early")
            self.names(name, None)
        before = self.node("shadow-1")
        struck = self.divide()
        eventually(lambda: self.schedule() == set(), within=20)
        self.assertRegex(self.node("shadow-1")["why"], "not in recovery")
        eventually(lambda: "timeline" in self.node("shadow-2")["why"], within=20)
        out = time.monotonic()
        self.write("late")
        self.watch.about.append(("main", "late"))
        other = self.pg.sql(1, "insert into written select 'lost ' || i, i from generate_series(1, 10000) i "
                               "returning pg_current_wal_insert_lsn()").splitlines()[-1]
        eventually(lambda: self.pg.sql(2, f"select pg_last_wal_replay_lsn() >= '{other}'") == "t", within=20)
        self.assertEqual(self.pg.sql(0, f"select pg_current_wal_insert_lsn() < '{other}'"), "t", "they are not ahead")
        until = time.monotonic() + size(10, 0.5)
        eventually(lambda: time.monotonic() > until, within=20)
        self.watch.turn()
        self.watch.close()
        with self.cell("replica", UNKEYED, "another timeline"):
            self.assertEqual({s.node for s in self.watch.of(None, since=out)}, {"default"})
            last = max(s.asked for s in self.watch.of(None) if s.node == "shadow-1")
            self.assertLess(last - struck, bound(INTERVAL + TIMEOUT), "it leaves at once")
            self.assertGreater(self.node("shadow-1")["fails"], before["fails"])
        with self.cell("replica", KEYED, "another timeline"):
            self.assertEqual({s.node for s in self.watch.of("late")}, {"default"})
            named = [s.asked - struck for s in self.watch.of("early", since=struck) if s.node == "shadow-1"]
            self.assertLess(max(named, default=0), bound(TRUST))
            self.assertEqual({s.node for s in self.watch.of("early", since=out)}, {"default"})
            self.assertEqual(self.watch.stale, [])
        with self.cell("replica", RECORD, "another timeline"):
            self.records_hold()

    def divide(self):
        """shadow-1 is promoted, and shadow-2 goes with it."""
        self.pg.promote(1)
        struck = time.monotonic()
        self.pg.follow(2, 1)
        eventually(lambda: self.pg.sql(2, "select received_tli from pg_stat_wal_receiver") == "2", within=20)
        return struck


if __name__ == "__main__":
    unittest.main(verbosity=2)
