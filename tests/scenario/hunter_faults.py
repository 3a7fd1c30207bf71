"""hunter_faults.py -- what the hunt does to daemons, players and servers, and what it tells the judge of that."""
import contextlib
import os
import random
import signal
import subprocess
import time

import harness
from hunter_stage import DOWN_AFTER, SETTLES_WITHIN, STALE_AFTER, now_us

# each start may be an upgrade, or the way back; the next version is there where the tests are built
VERSIONS = [command for command in (harness.Daemon.command, [os.path.join(harness.BUILD, "tests", "pinrouted_next")])
            if os.access(command[0], os.X_OK)]


class Faults:
    """What the daemons' and the servers' faults share."""

    def __init__(self, hunt, seed):
        self.hunt, self.seed, self.dice = hunt, seed, random.Random(seed)
        self.log, self.servers, self.hosts, self.board = hunt.log, hunt.servers, hunt.hosts, hunt.board

    def nap(self, low, high):
        """false: the hunt is over."""
        return not self.hunt.over.wait(self.dice.uniform(low, high))

    def play(self):
        """One fault after the other until the time is over: each kind once, then some again, and so on.
        Each has dice of its own: what one does depends on the seed and its turn, not on how long others took."""
        deal, turn = random.Random(self.seed), 0
        names = list(self.TIMES)
        again = [name for name in names for _ in range(self.TIMES[name] - 1)]
        while True:
            for deck in (names, again):
                deal.shuffle(deck)
                for name in deck:
                    self.dice, turn = random.Random(f"{self.seed} {turn}"), turn + 1
                    if not self.nap(0.05, 0.4):
                        return
                    getattr(self, name)()


class DaemonFaults(Faults):
    TIMES = {"restart": 4, "shoot": 3, "pause": 3, "pause_prober": 2, "stutter": 5, "kill_prober": 1, "lose_store": 1,
             "drain": 2, "reload": 1, "flood": 1, "kill_player": 2, "pause_player": 2, "calm": 2}

    def host(self):
        return self.dice.choice(self.hosts)

    def play(self):
        with self.hunt.daemons_are_alive:  # but for those moments in which somebody else needs them
            pass
        super().play()

    def back(self, host, dead_us, why, wait, empty=False):
        """A dead daemon stays away for a while, and comes back."""
        self.nap(wait, wait)
        if empty:
            os.unlink(os.path.join(host.daemon.dir, "data.mdb"))
            self.log.put("empty", host.number, now_us())
        host.daemon.command = self.dice.choice(VERSIONS)
        start_us = now_us()
        self.log.at(f"host {host.number}: start of {os.path.basename(host.daemon.command[0])}, {why}"
                    f"{', without its store' if empty else ''}")
        host.daemon.start(within=60)
        self.log.put("back", host.number, start_us, now_us())
        self.silent(host, dead_us, start_us)
        if empty:
            host.new_store()
        self.log.at(f"host {host.number}: READY")

    def silent(self, host, since_us, until_us):
        since_us += int((STALE_AFTER + 0.2) * 1e6)
        if since_us < until_us:
            self.log.put("silent", host.number, since_us, until_us)

    def away(self):
        """How long: mostly so short that the store does not become stale."""
        return self.dice.uniform(*self.dice.choice([(0, 0.05), (0, 0.2), (0, 0.2), (0.2, 0.9), (1.2, 2.5)]))

    def restart(self, host=None, may_be_empty=True):
        host = host or self.host()
        wait, empty = self.away(), may_be_empty and self.dice.random() < 0.15
        polite = self.dice.random() < 0.2
        with self.hunt.daemons_are_alive:
            self.log.fault("daemon stopped" if polite else "daemon killed", f"host {host.number}")
            if polite:
                host.daemon.stop(within=30)
            else:
                host.daemon.kill()
            self.back(host, now_us(), "after that", wait, empty)
            if empty:
                self.hunt.counted("store lost")

    def shoot(self):
        """It dies by the hand of a writer that has just got its OK."""
        host, wait = self.host(), self.dice.choice([self.dice.uniform(0.2, 0.9), self.dice.uniform(0.2, 0.9), 1.5])
        with self.hunt.daemons_are_alive:
            self.board["shoot", host.number] = host.daemon.pid
            try:
                host.daemon.process.wait(1)
            except subprocess.TimeoutExpired:  # nobody wrote
                self.board["shoot", host.number] = 0
            if host.daemon.process.poll() is None:
                return
            self.log.fault("daemon killed by a writer", f"host {host.number}")
            host.daemon.kill()
            self.back(host, now_us(), "after a shot", wait)

    def pause(self):
        host, long = self.host(), self.dice.choice([0.05, 0.2, 0.9, 1.5])
        with self.hunt.daemons_are_alive:
            self.log.fault("daemon paused", f"host {host.number}")
            host.daemon.pause()
            since_us = now_us()
            self.nap(long, long)
            self.silent(host, since_us, now_us())
            host.daemon.resume()
            self.log.at(f"host {host.number}: daemon goes on")

    def signal_prober(self, host, number):
        pid = host.prober()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def stutter(self):
        """The prober runs for moments only: the longer the primary's answer takes to arrive, the more is recorded
        meanwhile."""
        host, until = self.host(), time.monotonic() + self.dice.uniform(0.5, 2)
        with self.hunt.daemons_are_alive:
            self.log.fault("prober stutters", f"host {host.number}")
            pid = host.prober()
            with contextlib.suppress(ProcessLookupError):
                while pid and time.monotonic() < until:
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(self.dice.uniform(0.01, 0.03))
                    os.kill(pid, signal.SIGCONT)
                    time.sleep(self.dice.uniform(0, 0.001))

    def pause_prober(self):
        host, long = self.host(), self.dice.choice([0.05, 0.1, 0.3])
        with self.hunt.daemons_are_alive:
            self.log.fault("prober paused", f"host {host.number}")
            pid = self.signal_prober(host, signal.SIGSTOP)
            self.nap(long, long)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill_prober(self):
        host = self.host()
        with self.hunt.daemons_are_alive:
            self.log.fault("prober killed", f"host {host.number}")
            self.signal_prober(host, signal.SIGKILL)

    def lose_store(self):
        host = self.host()
        with self.hunt.daemons_are_alive:
            self.log.fault("store deleted", f"host {host.number}")
            path = os.path.join(host.daemon.dir, "data.mdb")
            os.unlink(path)  # and not killed before it has found out: see `empty`
            harness.eventually(lambda: os.path.exists(path), within=30, what="a new store")
            host.new_store()

    def drain(self):
        host, what = self.host(), self.dice.choice(["drain", "drain", "maint"])
        with self.hunt.daemons_are_alive:
            node = self.dice.choice(self.servers.replicas())
            name = self.servers.names[node]
            host.daemon.ctl(what, name)
            since_us = now_us() + 100000
            self.log.fault("node drained", f"host {host.number}: {what} {name}")
            if self.dice.random() < 0.3:
                self.restart(host, may_be_empty=False)
            self.nap(0.3, 1.5)
            since_us = max(since_us, host.looked_us)
            if since_us < now_us():
                self.log.put("excluded", host.number, node, since_us, now_us(), what)
            self.log.at(f"host {host.number}: ready {name}")
            host.daemon.ctl("ready", name)

    def reload(self):
        host, weights = self.host(), [self.dice.randint(1, 3) for _ in range(3)]
        with self.hunt.daemons_are_alive:
            self.log.fault("reload", f"host {host.number}")
            host.daemon.write_config({"main": self.servers.nodes(weights)}, host.options, host.cluster_options)
            host.daemon.reload()

    def flood(self):
        host = self.hosts[0]
        self.log.fault("table flooded", f"host {host.number}")
        self.board["flood", host.number] = 1500

    def a_player(self):
        return self.dice.choice(self.hunt.players() or [None])

    def kill_player(self):
        pid = self.a_player()
        if pid:
            self.log.fault("player killed", f"pid {pid}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pause_player(self):
        pid, long = self.a_player(), self.dice.choice([0.01, 0.1, 0.7])
        if pid:
            self.log.fault("player paused", f"pid {pid}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.nap(long, long)
                os.kill(pid, signal.SIGCONT)

    def calm(self):
        """Long enough for floors to end."""
        self.nap(1, 6)


class ServerFaults(Faults):
    TIMES = {"lag": 8, "crash": 5, "crash_unseen": 2, "freeze": 2, "restart_replica": 1, "power_off": 1,
             "freeze_primary": 1, "restart_primary": 1, "commits": 3, "promote": 1, "promote_behind": 1, "calm": 1}

    def replica(self):
        return self.dice.choice(self.servers.replicas())

    def lag(self, n=None, delay=None):
        n = self.replica() if n is None else n
        delay = delay or self.dice.choice(["0", "50ms", "100ms", "200ms", "300ms", "500ms", "1s", "2s"])
        self.log.fault("lag", f"node {n}: {delay}")
        self.servers.pg.lag(n, delay)

    def crash(self):
        """It comes back at an older position, and replays from there the slower the longer its delay is."""
        n, delay = self.replica(), self.dice.choice(["100ms", "1s", "3s", "3s"])
        self.servers.pg.lag(n, "0")
        self.nap(0.5, 1)
        self.servers.pg.lag(n, delay)
        self.log.fault("replica crashed", f"node {n}, delay {delay}")
        self.servers.pg.crash(n)
        self.answers(n)
        self.log.at(f"node {n} answers")
        self.nap(0.5, 1.5)
        self.lag(n)

    def crash_unseen(self):
        """While no daemon looks, and for less time than makes a store stale: only stamps tell that it may be behind."""
        n = self.replica()
        self.servers.pg.lag(n, "0")
        self.nap(0.5, 1)
        with self.hunt.daemons_are_alive, contextlib.ExitStack() as paused:
            self.servers.pg.lag(n, "3s")
            self.log.fault("replica crashed unseen", f"node {n}")
            for host in self.hosts:
                host.daemon.pause()
                paused.callback(host.daemon.resume)
            end = time.monotonic() + 0.85 * STALE_AFTER
            self.nap(0.3, 0.3)  # longer than caught_up_trust: until then, what was told last may be believed
            self.servers.pg.crash(n)
            self.hunt.over.wait(max(0, end - time.monotonic()))
        self.log.at("both daemons go on")
        self.answers(n)
        self.lag(n)

    def answers(self, n):
        def asked():
            with contextlib.suppress(RuntimeError):
                return self.servers.pg.sql(n, "select 1") == "1"
            return False
        harness.eventually(asked, within=60, what=f"node {n} answers", every=0.05)

    def freeze(self):
        n, long = self.replica(), self.dice.choice([0.1, 0.5, 1.5])
        self.log.fault("replica frozen", f"node {n}")
        self.servers.pg.freeze(n)
        self.nap(long, long)
        self.servers.pg.thaw(n)
        self.log.at(f"node {n} thawed")

    def restart_replica(self):
        n = self.replica()
        self.log.fault("replica stopped", f"node {n}")
        self.servers.pg.stop(n, self.dice.choice(["fast", "immediate"]))
        self.come_back(n)

    def power_off(self):
        n = self.replica()
        self.log.fault("replica powered off", f"node {n}")
        self.servers.pg.kill(n)
        self.come_back(n)

    def come_back(self, n):
        if self.dice.random() < 0.4:
            with self.hunt.daemons_are_alive:
                self.excluded(n, "dead")
        else:
            self.nap(0.1, self.dice.choice([1, 1, 5]))
        self.servers.pg.start(n)
        self.log.at(f"node {n} started")

    def freeze_primary(self):
        n = self.servers.primary
        self.log.fault("primary frozen", f"node {n}")
        self.servers.pg.freeze(n)
        self.nap(0.05, 0.6)
        self.servers.pg.thaw(n)

    def restart_primary(self):
        n = self.servers.primary
        self.log.fault("primary restarted", f"node {n}")
        self.servers.pg.stop(n)
        self.nap(0.1, 1)
        self.servers.pg.start(n)

    def commits(self):
        """Dense or sparse; nothing but asynchronous ones, so that nobody else's flush helps them."""
        self.board["async"] = asynchronous = self.dice.choice([0, 1])
        self.board["pause_ms"] = pause = self.dice.choice([10, 20, 50, 150])
        self.log.fault("commits", f"async {asynchronous}, a pause of {pause} ms")
        self.nap(0.5, 2)

    def calm(self):
        self.nap(0.5, 2)

    # -- promotion: both daemons run, and tell when they have followed

    def even(self, replicas):
        """Without delay, and with all that the primary has."""
        for n in replicas:
            self.servers.pg.lag(n, "0")
        for n in replicas:
            at = self.servers.position()
            harness.eventually(lambda: self.servers.replays_all_of(n, at), within=60, what=f"node {n} replays",
                               every=0.05)

    def settle(self, heir):
        name = self.servers.names[heir]
        for host in self.hosts:
            harness.eventually(lambda: host.settled_on(name), within=SETTLES_WITHIN,
                               what=f"host {host.number} follows {name}", every=0.05)
        self.log.at(f"both hosts follow node {heir}")
        self.new_roles()

    def new_roles(self):
        """The operator writes down who leads now: a daemon that starts in an empty directory goes by that at first."""
        for host in self.hosts:
            host.daemon.write_config({"main": self.servers.nodes()}, host.options, host.cluster_options)
            host.daemon.reload()

    def stopped_evenly(self, old, heir):
        """The primary ends in order, which leaves nothing behind; else it goes on."""
        self.servers.pg.stop(old)
        end = self.servers.shut_at(old)
        if self.servers.pg.sql(heir, f"select pg_last_wal_receive_lsn() >= '{end}'") == "t":
            return True
        self.servers.pg.start(old)
        return False

    def promote(self):
        """The old primary ends in order, and rejoins as a replica."""
        old, (heir, other) = self.servers.primary, self.dice.sample(self.servers.replicas(), 2)
        with self.hunt.daemons_are_alive:
            self.even([heir])
            if not self.stopped_evenly(old, heir):
                return
            self.log.fault("promotion", f"node {heir} after {old}")
            self.servers.pg.promote(heir)
            self.servers.primary = heir
            self.servers.pg.follow(other, heir)
            self.settle(heir)
        self.servers.pg.do("demote", old, heir)
        self.log.at(f"node {old} is a replica")

    def promote_behind(self):
        """The heir is behind the other replica, which is on the old timeline then: ahead in bytes, and without what is
        written from now on.  What it is ahead by are rows that nobody was told of."""
        old, (heir, other) = self.servers.primary, self.dice.sample(self.servers.replicas(), 2)
        pg = self.servers.pg
        with self.hunt.daemons_are_alive:
            self.board["quiet"] = 1
            self.nap(0.8, 0.8)
            pg.sql(old, "alter system set default_transaction_read_only = on")
            pg.sql(old, "select pg_reload_conf()")
            pg.sql(old, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
            self.nap(0.1, 0.1)
            self.even([heir, other])
            self.log.fault("promotion of one behind", f"node {heir} after {old}, {other} is ahead")
            pg.sql(heir, "alter system set primary_conninfo = ''")
            pg.sql(heir, "select pg_reload_conf()")
            harness.eventually(lambda: pg.sql(heir, "select count(*) from pg_stat_wal_receiver") == "0", within=30,
                               what="the receiver's end", every=0.02)
            self.write_junk(old)
            self.even([other])
            pg.stop(old)
            pg.promote(heir)
            self.servers.primary = heir
            self.board["quiet"] = 0
            self.settle(heir)
            watched = self.dice.random() < 0.3
            if watched:
                self.excluded(other, "on the old timeline")
        if not watched:
            self.nap(1, 2)
        self.rebuild(other, old)

    def write_junk(self, n):
        session = self.servers.pg.session(n)
        try:
            session.run("set default_transaction_read_only = off")
            session.run("insert into junk select repeat('x', 1000) from generate_series(1, 8000)")
        finally:
            session.close()

    def excluded(self, n, why):
        """Waits until nobody may name the node any more, and half a second longer.  The daemons are left alone."""
        since_us = now_us() + int(DOWN_AFTER * 1e6)
        self.nap(DOWN_AFTER + 0.5, DOWN_AFTER + 0.5)
        if since_us < now_us():
            for host in self.hosts:
                self.log.put("excluded", host.number, n, since_us, now_us(), why)

    def rebuild(self, *nodes):
        if self.hunt.over.is_set():
            return
        for n in nodes:
            self.servers.pg.do("rejoin", n, self.servers.primary)
            self.log.at(f"node {n} is a fresh replica")
