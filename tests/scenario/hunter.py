"""hunter.py -- plays a seeded schedule of faults against two daemons and a PostgreSQL cluster, while hunter.c's players
write and read; then has their history judged.

    hunter.py SECONDS [--seed N] [--keep DIR] [--until-found]
"""
import argparse
import contextlib
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

import harness

CONF = "wal_writer_delay = 300ms\nwal_keep_size = 512MB\nmax_connections = 200\nwal_receiver_timeout = 3s"
STALE_AFTER = 1.0
CHECKS = {"check_interval": "200ms", "check_timeout": "200ms", "fall": 3, "rise": 2, "follow_promotion": "on"}
DOWN_AFTER = 3 * 0.2 + 0.2 + 2.0  # fall intervals and a timeout, and what a loaded machine adds
SETTLES_WITHIN = 20.0
HOSTS = ({"pin_seconds": 3, "max_pin_seconds": 5, "max_pins": 1000},  # floors that end, a table that fills
         {"pin_seconds": 10, "max_pin_seconds": 15, "max_pins": 100000})
WISHES = {"async": 0, "pause_ms": 4, "quiet": 8, "flood": 12, "shoot": 20}  # struct board of hunter_board.h


def now_us():
    return time.monotonic_ns() // 1000


class Board:
    """What the players are asked for, by name; [NAME, host] where each host has its own."""

    def __init__(self, path):
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)

    def __setitem__(self, which, value):
        name, host = which if isinstance(which, tuple) else (which, 0)
        struct.pack_into("<I", self.map, WISHES[name] + 4 * host, value)

    def __getitem__(self, which):
        name, host = which if isinstance(which, tuple) else (which, 0)
        return struct.unpack_from("<I", self.map, WISHES[name] + 4 * host)[0]


class Log:
    """DIR/faults, for the judge: see hunter_check.h."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="ascii", buffering=1)
        self.counts = {}
        self.lock = threading.Lock()

    def put(self, *words):
        with self.lock:
            self.file.write(" ".join(map(str, words)) + "\n")

    def at(self, *words):
        self.put("at", now_us(), *words)

    def fault(self, kind, *words):
        with self.lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        self.at(kind, *words)


class Host:
    """One daemon, and when it or its prober was not itself."""

    def __init__(self, number, pg, keys):
        self.number = number
        own = HOSTS[number]
        self.options = {"max_pins": own["max_pins"], "stale_after": f"{int(STALE_AFTER * 1000)}ms"}
        self.cluster_options = {**CHECKS, **{name: own[name] for name in ("pin_seconds", "max_pin_seconds")}}
        self.daemon = harness.Daemon(pg, self.options, self.cluster_options, keys=keys)
        self.disturbed = []  # (from, until)

    @contextlib.contextmanager
    def disturbs(self):
        began = now_us()
        try:
            yield
        finally:
            self.disturbed.append((began, now_us()))

    def quiet_since(self, began, until):
        """Was it itself all that time, and for as long before as a check needs?"""
        margin = int(DOWN_AFTER * 1e6)
        return all(end + margin < began or start > until for start, end in self.disturbed)

    def prober(self):
        """The pid of its child; None while it has none."""
        pid = self.daemon.pid
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as f:
                    if int(f.read().rpartition(")")[2].split()[1]) == pid:
                        return int(entry)
        return None

    def settled_on(self, name):
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired, ValueError):
            return self.daemon.ask("status")["clusters"][0]["primary"] == name
        return False


class Servers:
    """The PostgreSQL cluster as it is now: which node is the primary, and how another becomes it."""

    def __init__(self):
        self.pg = harness.Cluster(replicas=2, conf=CONF)
        self.primary = 0
        self.names = ["default", "shadow-1", "shadow-2"]
        self.pg.sql(0, "create table hunted (k bigint primary key, v int not null)")
        self.pg.sql(0, "grant all on hunted to app")
        self.pg.sql(0, "create table junk (x text)")

    def replicas(self):
        return [n for n in range(3) if n != self.primary]

    def nodes(self, weights=(1, 1, 1)):
        return [f"{name} = {self.pg.conninfo(n)} " + ("role=primary" if n == self.primary else f"weight={weights[n]}")
                for n, name in enumerate(self.names)]

    def as_server(self, *command):
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        path = f"/usr/lib/postgresql/15/bin:{os.environ.get('PATH', '/usr/bin:/bin')}"
        done = subprocess.run([*user, *command], env={"PATH": path, "LC_ALL": "C"}, cwd="/", capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")
        return done.stdout

    def upstream(self, n):
        return f"host=127.0.0.1 port={self.pg.ports[self.primary]} user=postgres application_name=n{n}"

    def rejoin(self, n):
        """A stopped former primary streams from the new one."""
        place = os.path.join(self.pg.dir, f"n{n}")
        script = 'touch "$1/standby.signal" && echo "primary_conninfo = \'$2\'" >>"$1/postgresql.auto.conf"'
        self.as_server("sh", "-c", script, "sh", place, self.upstream(n))
        self.pg.start(n)

    def rebuild(self, n):
        """A stopped node on a history of its own becomes a fresh copy of the primary."""
        place = os.path.join(self.pg.dir, f"n{n}")
        self.as_server("rm", "-rf", place)
        self.as_server("pg_basebackup", "-d", self.upstream(n), "-D", place, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        self.pg.start(n)

    def replays_all_of(self, n, position):
        return self.pg.sql(n, f"select pg_last_wal_replay_lsn() >= '{position}'") == "t"

    def position(self):
        return self.pg.sql(self.primary, "select pg_current_wal_flush_lsn()")

    def shut_at(self, n):
        """Where a stopped server's WAL ends: the start of its last record, its shutdown checkpoint."""
        said = self.as_server("pg_controldata", os.path.join(self.pg.dir, f"n{n}"))
        return next(line.split()[-1] for line in said.splitlines() if line.startswith("Latest checkpoint location"))


class Faults:
    """What the daemons' and the servers' faults share."""

    def __init__(self, hunt, dice):
        self.hunt, self.dice = hunt, dice
        self.log, self.servers, self.hosts, self.board = hunt.log, hunt.servers, hunt.hosts, hunt.board

    def nap(self, low, high):
        """false: the hunt is over."""
        return not self.hunt.over.wait(self.dice.uniform(low, high))

    def play(self):
        """One fault after the other until the time is over: each kind once, then some again, and so on."""
        names = list(self.TIMES)
        again = [name for name in names for _ in range(self.TIMES[name] - 1)]
        while True:
            for deck in (names, again):
                self.dice.shuffle(deck)
                for name in deck:
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
        start_us = now_us()
        self.log.at(f"host {host.number}: start, {why}{', without its store' if empty else ''}")
        host.daemon.start(within=60)
        self.log.put("back", host.number, start_us, now_us())
        self.silent(host, dead_us, start_us)
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
        with self.hunt.daemons_are_alive, host.disturbs():
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
        with self.hunt.daemons_are_alive, host.disturbs():
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
        with self.hunt.daemons_are_alive, host.disturbs():
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
        """The prober runs for moments only: the longer between the primary's answer and its arrival, the more is recorded
        meanwhile."""
        host, until = self.host(), time.monotonic() + self.dice.uniform(0.5, 2)
        with self.hunt.daemons_are_alive, host.disturbs():
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
        with self.hunt.daemons_are_alive, host.disturbs():
            self.log.fault("prober paused", f"host {host.number}")
            pid = self.signal_prober(host, signal.SIGSTOP)
            self.nap(long, long)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill_prober(self):
        host = self.host()
        with self.hunt.daemons_are_alive, host.disturbs():
            self.log.fault("prober killed", f"host {host.number}")
            self.signal_prober(host, signal.SIGKILL)

    def lose_store(self):
        host = self.host()
        with self.hunt.daemons_are_alive, host.disturbs():
            self.log.fault("store deleted", f"host {host.number}")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(host.daemon.dir, "data.mdb"))

    def drain(self):
        host, what = self.host(), self.dice.choice(["drain", "maint"])
        with self.hunt.daemons_are_alive:
            node = self.dice.choice(self.servers.replicas())
            name = self.servers.names[node]
            host.daemon.ctl(what, name)
            since_us = now_us() + 100000
            self.log.fault("node drained", f"host {host.number}: {what} {name}")
            if self.dice.random() < 0.3:
                self.restart(host, may_be_empty=False)
            self.nap(0.3, 1.5)
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
    TIMES = {"lag": 8, "crash": 5, "freeze": 2, "restart_replica": 1, "power_off": 1, "freeze_primary": 1,
             "restart_primary": 1, "commits": 3, "promote": 1, "promote_behind": 1, "calm": 1}

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
        self.log.fault("replica crashed", f"node {n}, delay {delay}")
        self.servers.pg.lag(n, delay)
        self.servers.pg.crash(n)
        self.answers(n)
        self.log.at(f"node {n} answers")
        self.nap(0.5, 1.5)
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

    def down(self, n, since_us, until_us):
        """A dead node is named by nobody any more, once the checks have told."""
        since_us += int(DOWN_AFTER * 1e6)
        for host in self.hosts:
            if since_us < until_us and host.quiet_since(since_us, until_us):
                self.log.put("excluded", host.number, n, since_us, until_us, "dead")

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
        since_us = now_us()
        self.nap(0.1, self.dice.choice([1, 1, 5]))
        self.down(n, since_us, now_us())
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
            harness.eventually(lambda: self.servers.replays_all_of(n, at), within=60, what=f"node {n} replays", every=0.05)

    def settle(self, heir):
        name = self.servers.names[heir]
        for host in self.hosts:
            harness.eventually(lambda: host.settled_on(name), within=SETTLES_WITHIN, what=f"host {host.number} follows {name}",
                               every=0.05)
        self.log.at(f"both hosts follow node {heir}")

    def new_roles(self):
        """The operator writes down who leads now: a daemon that starts in an empty directory has to know."""
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
            self.servers.rejoin(old)
            self.log.at(f"node {old} is a replica")
            self.new_roles()

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
            harness.eventually(lambda: pg.sql(heir, "select count(*) from pg_stat_wal_receiver") == "0", within=30, every=0.02)
            self.write_junk(old)
            self.even([other])
            pg.stop(old)
            pg.promote(heir)
            self.servers.primary = heir
            self.board["quiet"] = 0
            self.settle(heir)
            self.rebuild([other, old])
            self.new_roles()

    def write_junk(self, n):
        session = self.servers.pg.session(n)
        try:
            session.run("set default_transaction_read_only = off")
            session.run("insert into junk select repeat('x', 1000) from generate_series(1, 8000)")
        finally:
            session.close()

    def rebuild(self, nodes):
        other, _ = nodes
        since_us = now_us() + int(DOWN_AFTER * 1e6)
        self.nap(DOWN_AFTER + 0.5, DOWN_AFTER + 0.5)
        for host in self.hosts:
            self.log.put("excluded", host.number, other, since_us, now_us(), "on the old timeline")
        self.servers.pg.stop(other, "immediate")
        for n in nodes:
            self.servers.rebuild(n)
            self.log.at(f"node {n} is a fresh replica")


class Hunt:
    def __init__(self, seconds, seed, place, writers, readers):
        self.seconds, self.seed, self.place = seconds, seed, place
        self.over = threading.Event()
        self.daemons_are_alive = threading.RLock()  # whoever holds it may disturb them, or rely on them
        self.servers = self.process = None
        self.hosts = []
        self.failure = None
        self.log = Log(os.path.join(place, "faults"))
        self.program = os.path.join(harness.BUILD, "tests", "hunter")
        try:
            self.servers = Servers()
            keys = [harness.random_key()]
            for number in range(2):
                self.hosts.append(Host(number, self.servers.pg, keys))
            self.process = self.start_players(writers, readers)
        except BaseException:
            self.close()
            raise
        self.board = Board(os.path.join(place, "board"))
        self.board["pause_ms"] = 20

    def start_players(self, writers, readers):
        hosts = [str(word) for host, own in zip(self.hosts, HOSTS)
                 for word in (host.daemon.dir, own["pin_seconds"] * 1000, own["max_pin_seconds"] * 1000)]
        nodes = [f"{name}={port}" for name, port in zip(self.servers.names, self.servers.pg.ports)]
        process = harness.spawn([self.program, "play", self.place, str(self.seed), str(writers), str(readers), *hosts, *nodes],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "playing\n"
        return process

    def players(self):
        pids = sorted(int(name.rpartition("-")[2]) for name in os.listdir(self.place) if name.startswith("events-"))
        return [pid for pid in pids if harness.state_of(pid) not in (None, "Z")]

    def counted(self, kind):
        self.log.fault(kind)

    def play_servers(self):
        try:
            ServerFaults(self, random.Random(self.seed * 2 + 1)).play()
        except Exception as e:  # the verdict tells
            self.failure = self.failure or e
            self.over.set()

    def watch(self, until_found):
        """Ends the hunt when its time is over, or when something was found."""
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not self.over.wait(min(5, max(0.01, end - time.monotonic()))):
            if until_found and self.judge()[1].violations:
                break
        self.over.set()

    def play(self, until_found=False):
        for n in self.servers.replicas():
            self.servers.pg.lag(n, "200ms")
        servers, watch = threading.Thread(target=self.play_servers), threading.Thread(target=self.watch, args=(until_found,))
        servers.start()
        watch.start()
        try:
            DaemonFaults(self, random.Random(self.seed * 2)).play()
        finally:
            self.over.set()
            servers.join()
            watch.join()
        self.end_players()
        if self.failure:
            raise self.failure

    def end_players(self):
        self.process.terminate()
        status = self.process.wait(60)
        self.process.stdout.close()
        self.process = None
        if status:
            raise AssertionError(f"the players ended with {status}")

    def judge(self):
        """(story, figures) of what has happened so far."""
        return judge(self.program, self.place)

    def close(self):
        self.over.set()
        if self.process:
            self.process.kill()
            self.process.wait()
        for host in self.hosts:
            if host.daemon.process.poll() is None:
                host.daemon.resume()
            host.daemon.close()
        if self.servers:
            self.servers.pg.close()
        self.log.file.close()


def judge(program, place):
    done = subprocess.run([program, "check", place], capture_output=True, text=True, timeout=600)
    if done.returncode not in (0, 1):
        raise AssertionError(f"hunter check: {done.returncode}: {done.stderr}")
    story, _, line = done.stdout.rstrip("\n").rpartition("\n")
    return story, harness.Answer(line)


def verdict(hunt, took, seen, story):
    reads = seen.keyed + seen.unkeyed
    head = f"soak: {took:.0f} s, seed {hunt.seed}, {seen.commits} commits, {reads} reads, {sum(hunt.log.counts.values())} faults"
    if seen.violations or story:
        return f"{head}: {seen.violations} violations"
    return f"{head}: no stale read, no lost pin"


def tell(hunt, took, seen, story):
    if story:
        print(story)
    print("faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(hunt.log.counts.items())))
    print(f"history: {seen.line}")
    print(verdict(hunt, took, seen, story), flush=True)


def run(seconds, seed, place, until_found=False, writers=3, readers=4):
    """Plays and judges: (exit status, figures); prints what there is to say."""
    print(f"hunt of {seconds} s, seed {seed}", flush=True)
    began = time.monotonic()
    hunt = Hunt(seconds, seed, place, writers, readers)
    try:
        hunt.play(until_found)
    finally:
        hunt.close()
    story, seen = hunt.judge()
    tell(hunt, time.monotonic() - began, seen, story)
    return (1 if story or seen.violations else 0), seen


def main():
    parser = argparse.ArgumentParser(description="Hunts for stale reads and lost pins.")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", metavar="DIR", help="a new directory for the history, which stays there")
    parser.add_argument("--until-found", action="store_true", help="ends with the first violation")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1, 1 << 31)
    place = args.keep or harness.scratch("hunter-")
    os.makedirs(place, exist_ok=True)
    try:
        return run(args.seconds, seed, place, args.until_found)[0]
    finally:
        if not args.keep:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
