"""hunter_stage.py -- what the hunt is played with: two daemons that stand for two hosts, the servers, the players'
wishes, and the log of faults."""
import contextlib
import mmap
import os
import struct
import subprocess
import threading
import time

import harness
from test_crowd import prober_of

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
    """One daemon."""

    def __init__(self, number, pg, keys):
        self.number = number
        own = HOSTS[number]
        self.options = {"max_pins": own["max_pins"], "stale_after": f"{int(STALE_AFTER * 1000)}ms"}
        self.cluster_options = {**CHECKS, **{name: own[name] for name in ("pin_seconds", "max_pin_seconds")}}
        self.daemon = harness.Daemon(pg, self.options, self.cluster_options, keys=keys)
        self.looked_us = 0  # by when all processes have found the store that is there now

    def new_store(self):
        """A process looks for one once a second: until then its reads without a key go by the old schedule."""
        self.looked_us = now_us() + 1100000

    def prober(self):
        """The pid of its child; None while it has none."""
        with contextlib.suppress(FileNotFoundError):
            return prober_of(self.daemon)
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

    def replays_all_of(self, n, position):
        return self.pg.sql(n, f"select pg_last_wal_replay_lsn() >= '{position}'") == "t"

    def position(self):
        return self.pg.sql(self.primary, "select pg_current_wal_flush_lsn()")

    def shut_at(self, n):
        """Where a stopped server's WAL ends: the start of its last record, its shutdown checkpoint."""
        said = subprocess.run(["/usr/lib/postgresql/15/bin/pg_controldata", os.path.join(self.pg.dir, f"n{n}")],
                              env={"LC_ALL": "C"}, text=True, stdout=subprocess.PIPE, check=True).stdout
        return next(line.split()[-1] for line in said.splitlines() if line.startswith("Latest checkpoint location"))
