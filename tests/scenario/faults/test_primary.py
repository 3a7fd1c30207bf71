"""test_primary.py -- a primary that dies, freezes, is replaced, comes back, and is not the only one.
One cluster of three nodes, whose roles wander from test to test."""
# ctest: parallel long
import os
import re
import time
import unittest

import contract
from contract import KEYED, RECORD, UNKEYED
from harness import Cluster, bound, eventually, size

INTERVAL, TIMEOUT = 0.2, 0.2
QUICK = {"check_interval": "200ms", "check_timeout": "200ms"}
USUAL = {"check_interval": "500ms", "check_timeout": "400ms"}
STREAMING = "select count(*) from pg_stat_wal_receiver where status = 'streaming'"


def name(n):
    return f"pg-{n}"


class Primary(contract.Faults):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(Cluster(replicas=2))
        cls.pg.sql(0, "create table t (k text primary key, v int)")
        cls.leader, cls.value = 0, 0

    def setUp(self):
        self.heal()

    def states(self):
        return [line.split("\t")[3] for line in self.pg.do("status").splitlines()]

    def heal(self):
        """Whoever does not stream from the leader, after the test before, becomes a copy of it."""
        states = self.states()
        if states[self.leader] != "primary" and "primary" in states:  # a test failed on the way
            Primary.leader = states.index("primary")
        for n in self.others():
            if states[n] != "replica" or not self.streams(n):
                self.pg.do("rejoin", n, self.leader)

    def streams(self, n):
        upstream = f"port={self.pg.ports[self.leader]} "
        return (self.pg.sql(n, STREAMING) == "1"
                and upstream in self.pg.sql(n, "select current_setting('primary_conninfo')") + " ")

    def others(self, *but):
        return [n for n in range(3) if n not in (self.leader, *but)]

    def names(self, *nodes):
        return {name(n) for n in nodes}

    def lines(self, primary):
        return [f"{name(n)} = {self.pg.conninfo(n)}{' role=primary' if n == primary else ''}" for n in range(3)]

    def begin(self, options=None, **more):
        """A daemon and a worker; both replicas are in the schedule."""
        self.options = {**(options or QUICK), "follow_promotion": "on", **more}
        clusters = {"main": self.lines(self.leader)}
        self.system = self.daemon(clusters, {"stale_after": "300ms"}, self.options)  # soon READY
        self.system.write_config(clusters, cluster_options=self.options)
        self.assertTrue(self.system.ask("reload")["reloaded"])
        self.reader = self.worker(self.system)
        self.reader.timeout(10000)  # what is asserted is that it is OK, not how busy this machine is
        self.until_scheduled(*self.others())

    def main(self):
        return self.system.ask("status")["clusters"][0]

    def node(self, n):
        return next(node for node in self.main()["nodes"] if node["name"] == name(n))

    def stats(self):
        return self.system.ask("show", "stats")["stats"]

    def until_scheduled(self, *nodes):
        eventually(lambda: set(self.main()["schedule"]) == self.names(*nodes), within=30, what=f"{nodes} scheduled")

    def until_led_by(self, n):
        eventually(lambda: self.reader.write().node == name(n), within=30, what=f"{name(n)} is the primary")

    def put(self, node=None):
        """A new value for every key, on the primary."""
        Primary.value += 1
        self.pg.sql(self.leader if node is None else node,
                    f"insert into t values ('k', {self.value}) on conflict (k) do update set v = excluded.v")

    def seen(self, said):
        """What a read of that decision's node sees."""
        node = int(said.node.rpartition("-")[2])
        return int(self.pg.sql(node, "select coalesce(max(v), 0) from t where k = 'k'"))

    def recorded(self, *keys):
        for key in keys:
            self.assertEqual(self.reader.record("main", key).status, "OK")

    def caught_up(self, key, *nodes):
        """The key's reads come to each of these replicas, and there they see what was written."""
        seen = {}
        eventually(lambda: seen.update({r.node: r for r in [self.reader.read("main", key)] if r.reason == "CAUGHT_UP"})
                   or self.names(*nodes) <= set(seen), within=30, what=f"{key} released by {nodes}")
        for node in nodes:
            self.assertEqual(self.seen(seen[name(node)]), self.value)

    def checks(self, n=3):
        """While each living node is checked n times more: yields, over and over."""
        def counted():
            return {node["name"]: node["checks"] for node in self.main()["nodes"]}

        before = counted()
        while not all(now >= before[node] + n for node, now in counted().items()):
            yield
            time.sleep(0.02)  # one look at a time, beside whatever else this machine does

    def expect_reads(self, key, *allowed):
        """Many reads at once: nothing but these (node, reason)."""
        end = time.monotonic() + 20
        said = self.reader.reads("main", key, 60).counts
        while (name(self.leader), "STORE_STALE") in said and time.monotonic() < end:  # this machine let no daemon run
            said = self.reader.reads("main", key, 60).counts
        self.assertLessEqual(set(said), {(name(n), reason) for n, reason in allowed}, (key, self.system.log[-5:]))
        return said

    # ---- primary dead ----

    def without_a_primary(self, fault, ends, mends):
        self.begin()
        replicas = self.others()
        self.put()
        self.recorded("before")
        stalls = self.stats()["stalls"]
        self.caught_up("before", *replicas)
        self.caught_up("never wrote", *replicas)
        ends(self.leader)
        eventually(lambda: self.node(self.leader)["state"] == "DOWN", within=30)
        balanced = [(n, "BALANCED") for n in replicas]
        with self.cell("primary dead", UNKEYED, fault), self.cell("primary dead", KEYED, fault), \
                self.cell("primary dead", RECORD, fault):
            for i, _ in enumerate(self.checks(5)):
                self.assertEqual(len(self.expect_reads(None, *balanced)), 2)
                self.recorded("after", f"after {i}")
                self.expect_reads("after", (self.leader, "PINNED"))
                self.has_it_still(stalls, replicas)
        self.assertEqual(self.reader.write().node, name(self.leader))
        self.over_a_restart(fault, balanced)
        mends(self.leader)
        self.caught_up("after", *replicas)

    def has_it_still(self, stalls, replicas):
        """What replicas were known to have they are known to have, unless the daemon stood still since: then a floor is
        owed that no replica can reach without a primary."""
        if self.stats()["stalls"] == stalls:
            seen = {}
            for key in ("before", "never wrote"):
                seen[key] = self.reader.reads("main", key, 60).counts
            if self.stats()["stalls"] == stalls:
                caught_up = {(name(n), "CAUGHT_UP") for n in replicas}
                self.assertEqual([set(said) for said in seen.values()], [caught_up, caught_up], self.system.log[-5:])
                return
        print("the daemon stood still: its floor is owed, too", flush=True)
        for key, reason in (("before", "PINNED"), ("never wrote", "FLOOR")):
            self.expect_reads(key, (self.leader, reason), *((n, "CAUGHT_UP") for n in replicas))

    def over_a_restart(self, fault, balanced):
        self.system.kill()
        self.system.start()
        eventually(lambda: self.reader.read("main", "before").reason == "PINNED", within=10, what="it is heard again")
        with self.cell("primary dead", UNKEYED, fault), self.cell("primary dead", KEYED, fault), \
                self.cell("primary dead", RECORD, fault):
            for _ in self.checks(5):
                self.assertEqual(len(self.expect_reads(None, *balanced)), 2)
                self.recorded("restarted")
                for key, reason in (("restarted", "PINNED"), ("before", "PINNED"), ("never wrote", "FLOOR")):
                    self.expect_reads(key, (self.leader, reason))

    def test_without_a_primary_reads_and_records_go_on_and_what_replicas_have_they_have(self):
        self.without_a_primary("killed", self.pg.kill, self.pg.start)

    def test_a_frozen_primary_is_a_dead_one(self):
        self.addCleanup(self.pg.thaw, self.leader)
        self.without_a_primary("frozen", self.pg.freeze, self.pg.thaw)

    # ---- primary changes ----

    def promote(self, heir):
        """Returns when pg_promote() has, and the time then."""
        session = self.pg.session(heir)
        self.addCleanup(session.close)
        self.assertEqual(session.value("select pg_promote()"), "t")
        return time.monotonic()

    def change(self, manner, options):
        """The primary ends in that manner, a replica is promoted; how long until it is named."""
        old, (heir, third) = self.leader, self.others()
        self.put()
        self.recorded("before")
        self.caught_up("before", heir, third)
        self.recorded("between")
        {"killed": self.pg.kill, "stopped": self.pg.stop, "frozen": self.pg.freeze}[manner](old)
        promoted = self.promote(heir)
        Primary.leader = heir
        with self.cell("primary changes", RECORD, "promotion"):
            while self.reader.write().node != name(heir):
                self.recorded("between")
                self.assertLess(time.monotonic(), promoted + 30, "never followed")
        named = time.monotonic() - promoted
        with self.cell("primary changes", KEYED, "promotion"):
            self.recorded("after")
            self.assertEqual(self.reader.read("main", "after").node, name(heir))
            self.put()
            for _ in self.checks():
                for key in ("before", "between", "after"):  # third has no part in the new timeline yet
                    self.expect_reads(key, (heir, "PINNED"))
        pinned = time.monotonic() - promoted
        with self.cell("primary changes", UNKEYED, "promotion"):
            self.pg.follow(third, heir)
            self.until_scheduled(third)
            self.expect_reads(None, (third, "BALANCED"))
        self.caught_up("between", third)
        self.assertEqual(self.main()["split_brain"], 0)
        self.assertLess(named, bound(2 * (options[0] + options[1])), f"{manner}: after two checks")
        return old, named, pinned

    def back_as_a_replica(self, old, heals):
        """It is read from, and has what is written now."""
        third, = self.others(old)
        heals(old, self.leader)
        with self.cell("primary changes", UNKEYED, "old primary back"):
            self.until_scheduled(old, third)
            self.assertEqual(len(self.expect_reads(None, (old, "BALANCED"), (third, "BALANCED"))), 2)
        self.put()
        with self.cell("primary changes", RECORD, "old primary back"):
            self.recorded("back")
        with self.cell("primary changes", KEYED, "old primary back"):
            self.caught_up("back", old, third)
        node = self.node(old)
        self.assertEqual((node["role"], node["state"], node["lag_ms"]), ("replica", "UP", 0))

    def demote(self, old, leader):
        self.pg.do("demote", old, leader)

    def rejoin(self, old, leader):
        self.pg.do("rejoin", old, leader)

    def test_a_promoted_replica_leads_within_two_checks_and_the_old_primary_comes_back_as_a_replica(self):
        for options, interval in ((USUAL, (0.5, 0.4)), (QUICK, (INTERVAL, TIMEOUT)))[size(0, 1):]:
            self.begin(options)
            took = {}
            for turn in range(size(20, 2)):
                manner = ("stopped", "killed", "frozen")[turn % 3]
                old, named, _ = self.change(manner, interval)
                took.setdefault(manner, []).append(named)
                self.back_as_a_replica(old, self.demote if manner == "stopped" else self.rejoin)
            self.assertEqual(self.stats()["primary_changes"], size(20, 2))
            figures = ", ".join(f"{manner} {sorted(round(t * 1000) for t in times)}" for manner, times in took.items())
            print(f"checks every {interval[0] * 1000:.0f} ms: from pg_promote()'s return to its name, in ms: {figures}",
                  flush=True)
            self.system.stop()

    def split_brain_said(self):
        said = self.system.ctl("status")
        return said.returncode == 3 and "split brain" in said.stdout

    def expect_split_brain(self, other):
        """The leader stays the leader, whatever `other` says, and it is told."""
        fault, third = "split brain", self.others(other)[0]
        eventually(self.split_brain_said, within=30, what="the alarm")
        self.assertEqual(self.stats()["split_brains"], 1)
        self.put()
        self.recorded("split")
        with self.cell("primary changes", UNKEYED, fault), self.cell("primary changes", KEYED, fault), \
                self.cell("primary changes", RECORD, fault):
            for _ in self.checks():
                self.assertEqual(self.reader.write().node, name(self.leader))
                self.expect_reads(None, (third, "BALANCED"), (self.leader, "NO_REPLICA"))
                self.expect_reads("split", (third, "CAUGHT_UP"), (self.leader, "PINNED"))
                self.recorded("split too")
                self.assertTrue(self.split_brain_said())
        node = self.node(other)
        self.assertEqual((node["state"], node["role"], node["in_recovery"]), ("DOWN", "replica", False))

    def restart(self, lost_store=False):
        self.system.stop()
        if lost_store:
            os.unlink(os.path.join(self.system.dir, "data.mdb"))
        seen = len(self.system.log)
        self.system.start()
        return seen

    def alarms(self, since=0):
        return [line for line in self.system.log[since:] if re.search("more than one node is out of recovery", line)]

    def test_an_old_primary_that_still_leads_takes_nothing_back_over_restarts_and_a_lost_store_either(self):
        self.begin()
        old, _, _ = self.change("frozen", (INTERVAL, TIMEOUT))
        self.assertEqual(self.alarms(), [])
        self.pg.thaw(old)
        self.expect_split_brain(old)
        self.assertEqual(len(self.alarms()), 1, "one line, however long it lasts")
        for lost_store in (False, True):  # it was back before the daemon restarts
            seen = self.restart(lost_store)
            self.expect_split_brain(old)
            self.assertEqual(len(self.alarms(seen)), 1)
        self.pg.kill(old)
        eventually(lambda: self.stats()["split_brains"] == 0, within=30)
        for lost_store in (False, True):  # and after
            seen = self.restart(lost_store)
            self.until_led_by(self.leader)
            eventually(lambda: self.node(self.leader)["state"] == "UP", within=30)
            self.pg.start(old)
            self.expect_split_brain(old)
            self.assertEqual(len(self.alarms(seen)), 1)
            self.pg.kill(old)
        self.back_as_a_replica(old, self.rejoin)
        self.assertFalse(self.split_brain_said())

    def test_of_two_that_are_promoted_none_is_followed_while_both_lead(self):
        self.begin()
        one, two = self.others()
        self.pg.promote(one)  # beside a primary that lives
        self.expect_split_brain(one)
        self.pg.promote(two)
        eventually(lambda: self.node(two)["in_recovery"] is False, within=30)
        self.pg.kill(self.leader)
        eventually(lambda: self.node(self.leader)["state"] == "DOWN", within=30)
        with self.cell("primary changes", UNKEYED, "split brain"), self.cell("primary changes", KEYED, "split brain"), \
                self.cell("primary changes", RECORD, "split brain"):
            for _ in self.checks():
                self.assertEqual(self.reader.write().node, name(self.leader), "nobody knows which")
                self.expect_reads(None, (self.leader, "NO_REPLICA"))
                self.recorded("split")
                self.expect_reads("split", (self.leader, "PINNED"))
                self.assertTrue(self.split_brain_said())
        self.pg.kill(one)
        Primary.leader = two
        self.until_led_by(two)
        eventually(lambda: self.stats()["split_brains"] == 0, within=30)

    def cut_off(self, n):
        self.pg.sql(n, "alter system set primary_conninfo = ''")
        self.pg.sql(n, "select pg_reload_conf()")
        eventually(lambda: self.pg.sql(n, "select count(*) from pg_stat_wal_receiver") == "0", within=20)

    def promote_one_that_was_behind(self):
        """The primary dies; the other replica has WAL that the promoted one, which is returned first, never had."""
        old, (heir, ahead) = self.leader, self.others()
        self.put()
        self.recorded("before")
        self.caught_up("before", heir, ahead)
        self.cut_off(heir)
        self.pg.sql(old, "insert into t select 'lost ' || i || repeat('x', 1000), i from generate_series(1, 1000) i")
        eventually(lambda: int(self.pg.sql(ahead, "select count(*) from t where k like 'lost%'")) >= 1000, within=20)
        self.pg.kill(old)
        self.promote(heir)
        theirs = self.pg.sql(ahead, "select pg_last_wal_replay_lsn()")
        self.assertEqual(self.pg.sql(heir, f"select pg_current_wal_insert_lsn() < '{theirs}'"), "t", "it is not ahead")
        return heir, ahead

    def nothing_from(self, ahead, *keys):
        """It follows the promoted one, or tries to; and whatever its position, it is not read from."""
        eventually(lambda: self.node(ahead)["state"] == "DOWN", within=30)
        for follows in (False, True):
            if follows:
                self.pg.follow(ahead, self.leader)
            self.put()
            self.recorded("k")
            for _ in self.checks(size(20, 4)):
                self.recorded("k too")
                for key in ("k", "k too", *keys):
                    self.expect_reads(key, (self.leader, "PINNED"))
                self.expect_reads(None, (self.leader, "NO_REPLICA"))
        self.assertRegex(self.node(ahead)["why"], "timeline|lag unknown")

    def test_a_replica_that_was_ahead_of_the_promoted_one_has_a_greater_position_and_other_rows(self):
        self.begin()
        heir, ahead = self.promote_one_that_was_behind()
        Primary.leader = heir
        self.until_led_by(heir)
        self.nothing_from(ahead, "before")

    def test_without_follow_promotion_the_config_says_who_leads_and_a_reload_changes_it(self):
        self.begin(follow_promotion="off")
        old = self.leader
        heir, ahead = self.promote_one_that_was_behind()
        eventually(lambda: self.node(heir)["in_recovery"] is False, within=30)
        for _ in self.checks():
            self.assertEqual(self.reader.write().node, name(old))
            self.expect_reads(None, (ahead, "BALANCED"))
        said = self.system.ctl("status")
        self.assertEqual(said.returncode, 3)
        self.assertIn("not in recovery: it is a primary, not a replica", said.stdout)
        Primary.leader = heir
        with self.cell("primary changes", RECORD, "reload"):
            self.recorded("between")
            self.system.write_config({"main": self.lines(heir)}, cluster_options=self.options)
            self.system.reload()
            while self.reader.write().node != name(heir):
                self.recorded("between")
        with self.cell("primary changes", KEYED, "reload"):
            self.nothing_from(ahead, "before", "between")
            self.pg.do("rejoin", ahead, heir)
            self.caught_up("between", ahead)
        with self.cell("primary changes", UNKEYED, "reload"):
            self.until_scheduled(ahead)
            self.expect_reads(None, (ahead, "BALANCED"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
