"""watch.py -- workers that read and record all the while that something fails, and what they were told and when.
For cells that say what must not be seen: it is looked for in every decision, from before the fault to after it."""
import collections
import random
import statistics
import threading
import time

import contract
import harness
from harness import bound, eventually
from test_positions import look

Sight = collections.namedtuple("Sight", "asked cluster key node reason status us")


class Watch(threading.Thread):
    """A worker that decides for each (cluster, key) in turn; key None: without a key."""

    def __init__(self, worker, truth, *about):
        super().__init__(daemon=True)
        self.worker, self.truth = worker, truth
        self.about = list(about)
        self.seen, self.stale, self.proven = [], [], set()
        self.failed = None
        self._enough = threading.Event()
        for cluster, _ in about:
            worker.number(cluster)
        self.start()

    def run(self):
        try:
            while not self._enough.wait(0.001):
                about = tuple(self.about)
                one_more = random.choices(about, k=random.randrange(2))  # out of step with the schedule
                for cluster, key in (*about, *one_more):
                    self.decide(cluster, key)
        except Exception as e:  # whoever asks next is told
            self.failed = e

    def decide(self, cluster, key):
        asked = time.monotonic()
        said = self.worker.read(cluster, key)
        self.seen.append(Sight(asked, cluster, key, said.node, said.reason, said.status, said.us))
        if said.reason in ("CAUGHT_UP", "BALANCED") and key and (said.node, key) not in self.proven:
            has = self.truth(said.node, key)  # of now, and so at least what it was when it was named
            if has:
                self.proven.add((said.node, key))
            elif has is False:
                self.stale.append(self.seen[-1])

    def forget(self, *nodes):
        """These servers may lose what they had."""
        self.proven = {(node, key) for node, key in self.proven if node not in nodes}

    def of(self, key, cluster="main", since=0.0, until=float("inf")):
        assert self.failed is None, self.failed
        return [s for s in self.seen if s.key == key and s.cluster == cluster and since < s.asked < until]

    def turn(self):
        """Until each was decided at least once more, whole turns."""
        for _ in range(2):
            before = len(self.seen) + len(self.about)
            eventually(lambda b=before: self.failed or len(self.seen) > b, within=20)

    def close(self):
        self._enough.set()
        self.join(30)


class Records(threading.Thread):
    """A worker that records all the while, and reads what it has recorded."""

    def __init__(self, worker, key="scribe", pause=0.01):
        super().__init__(daemon=True)
        self.worker, self.key, self.pause = worker, key, pause
        self.statuses = collections.Counter()
        self.reasons = collections.Counter()
        self.us = []
        self.failed = None
        self._enough = threading.Event()
        worker.timeout(5000)  # how long it took is looked at, but not under a load that is not ours
        worker.number("main")
        self.start()

    def run(self):
        try:
            while not self._enough.wait(self.pause):
                said = self.worker.record("main", self.key)
                self.statuses[said.status] += 1
                self.us.append(said.us)
                self.reasons[self.worker.read("main", self.key).reason] += 1
        except Exception as e:  # whoever asks next is told
            self.failed = e

    def go_on(self, more=3):
        before = len(self.us)
        eventually(lambda: self.failed or len(self.us) >= before + more, within=20, what="records go on")

    def median_ms(self):
        return statistics.median(self.us) / 1000

    def close(self):
        self._enough.set()
        self.join(30)


class Watched(contract.Faults):
    """A PostgreSQL cluster `pg` with a table of writes, a daemon `system` on it, and who watches them."""

    last_write = 0
    server = {"default": 0, "shadow-1": 1, "shadow-2": 2}  # which node of pg an alias is

    @classmethod
    def set_up(cls, replicas, conf=""):
        cls.pg = cls.shared(harness.Cluster(replicas, conf))
        cls.pg.sql(0, "create table written (key text primary key, value int)")
        cls.pg.sql(0, "grant select on written to app")
        cls.primary = cls.shared(cls.pg.session(0))
        cls.value = {}

    def commit(self, key):
        """A new value for the key, and it is committed on the primary."""
        Watched.last_write += 1
        self.primary.run(f"insert into written values ('{key}', {self.last_write}) "
                         "on conflict (key) do update set value = excluded.value")
        self.value[key] = str(Watched.last_write)

    def write(self, key, *clusters):
        self.commit(key)
        for cluster in clusters or ("main",):
            said = self.scribe.record(cluster, key, 300)
            self.assertEqual(said.status, "OK")

    def has(self, node, key):
        """Does the server really have the write?  None: it does not answer, so nobody reads there."""
        if key not in self.value:
            return True
        seen = look(self.pg.ports[self.server[node]], f"select value from written where key = '{key}'")
        return None if seen is None else seen == self.value[key]

    def node(self, name, cluster="main"):
        nodes = self.system.ask("show", "nodes")["nodes"]
        return next(n for n in nodes if (n["name"], n["cluster"]) == (name, cluster))

    def schedule(self, cluster="main"):
        return set(next(c for c in self.system.ask("status")["clusters"] if c["name"] == cluster)["schedule"])

    def stats(self):
        return self.system.ask("show", "stats")["stats"]

    def watchers(self, *about):
        """One worker that reads, one that records, and self.scribe, who writes when told to."""
        self.scribe, reader, recorder = (self.greeted() for _ in range(3))
        self.scribe.timeout(5000)
        self.watch = self._ends(Watch(reader, self.has, *about))
        self.records = self._ends(Records(recorder))

    def greeted(self):
        """A worker that knows the daemon's clock: one that is greeted slowly, on a busy machine, learns it later."""
        worker = self.worker(self.system)
        eventually(lambda: worker.read("main").reason not in ("STORE_STALE", "STORE_UNAVAILABLE"), within=20)
        return worker

    def names(self, node, key, cluster="main", within=20):
        """Waits until a read is sent there."""
        since = time.monotonic()
        eventually(lambda: any(s.node == node for s in self.watch.of(key, cluster, since)), within,
                   what=f"{node} serves {key or 'reads without a key'}")

    def records_hold(self):
        """Each was acknowledged, and as a rule at once."""
        self.records.go_on()
        self.assertIsNone(self.records.failed)
        self.assertEqual(set(self.records.statuses), {"OK"})
        self.assertLess(self.records.median_ms(), bound(50))
