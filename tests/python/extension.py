"""extension.py -- what tests of the module `pinroute` are played with: the module as built, two hosts.
Each has a daemon that knows a primary and two replicas, as far as it can tell; both have the same key of tokens.

    class Story(extension.Case):
        def test_a_sentence_that_holds(self):
            self.assertIn(self.router.node_for_read(self.main), REPLICAS)
"""
import contextlib
import functools
import os
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("PINROUTE_BUILD") or os.path.join(SOURCE, "build", "dev")
sys.path[:0] = [os.path.join(BUILD, "python"), os.path.join(SOURCE, "tests", "scenario")]

import harness
import pinroute
from fakepg import FakePg
from harness import eventually

REPLICAS = {"shadow-1", "shadow-2"}
NOWHERE = "/nonexistent/pinroute"
NOT_PINNED = (pinroute.BALANCED, pinroute.CAUGHT_UP)  # the latter after a stall of a busy machine, which raises a floor
QUICK = {"rise": 1, "fall": 10}  # one good answer is enough; a busy machine is no outage
# A daemon that starts waits for `stale_after`, and for `max_pin_seconds` takes all keys for pinned: both are short at
# its start.  Later it may stand still, and keys are pinned, for as long as a test takes.
START = {"stale_after": "200ms"}, {**QUICK, "pin_seconds": 1, "max_pin_seconds": 1}
LATER = {"stale_after": "20s"}, {**QUICK, "pin_seconds": 60, "max_pin_seconds": 120}


class Host:
    """PostgreSQL servers that answer the daemon's questions, and a daemon that may stand still for a while."""

    def __init__(self, keys=()):
        self.servers = [FakePg(mode) for mode in ("good", "replica", "replica")]
        nodes = self.nodes(*sorted(REPLICAS))
        self.daemon = harness.Daemon({"main": nodes, "reports": nodes}, *START, keys=keys)
        self.reload({"main": nodes, "reports": nodes})
        self.dir = self.daemon.dir
        router = pinroute.Router(self.dir)
        for cluster in ("main", "reports"):
            number = router.cluster(cluster)
            eventually(lambda number=number: nodes_of(router, number) == REPLICAS, 10)
            eventually(lambda number=number: router.route_read(number, "k").reason in NOT_PINNED, 10)
        router.close()

    def nodes(self, *names):
        """Lines of a [nodes X] section: the primary `default`, and replicas of these names."""
        infos = [server.conninfo() for server in self.servers]
        return [f"default = {infos[0]} role=primary", *(f"{name} = {info}" for name, info in zip(names, infos[1:]))]

    def reload(self, clusters, **more):
        """more: options of all these clusters."""
        seen = len(self.daemon.log)
        self.daemon.write_config(clusters, LATER[0], {**LATER[1], **more})
        self.daemon.reload()
        self.daemon.wait_log("reload", since=seen)

    @contextlib.contextmanager
    def paused(self):
        """The daemon is stopped for the block: who asks it waits for all of the timeout."""
        self.daemon.pause()
        try:
            yield
        finally:
            self.daemon.resume()

    def close(self):
        self.daemon.close()
        for server in self.servers:
            server.close()


@functools.cache
def hosts():
    """Two that share a key of tokens; they end with the module that asked first."""
    keys = [harness.random_key()]
    pair = []
    for _ in range(2):
        pair.append(Host(keys))
        unittest.addModuleCleanup(pair[-1].close)
    return pair


def nodes_of(router, cluster, key=None):
    """Where a few reads in a row go."""
    return {router.node_for_read(cluster, key) for _ in range(4)}


def main_of(router):
    return router.cluster("main")


@contextlib.contextmanager
def no_switching():
    """A thread keeps the GIL until it gives it up by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def run_python(program, **env):
    """What a program of its own prints."""
    done = subprocess.run(["/usr/bin/python3", "-B", "-c", program], text=True, capture_output=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.path.join(BUILD, "python"), **env})
    if done.returncode:
        raise AssertionError(f"exit {done.returncode}: {done.stderr}")
    return done.stdout


class Case(harness.Scenario):
    """`self.host`, `self.router` on it, and the number of its cluster main; `self.far` is another host."""

    @classmethod
    def setUpClass(cls):
        cls.host, cls.far = hosts()
        cls.router = pinroute.Router(cls.host.dir, timeout_ms=2000)
        cls.addClassCleanup(cls.router.close)
        cls.main = main_of(cls.router)

    def another(self, timeout_ms=2000, host=None):
        router = pinroute.Router((host or self.host).dir, timeout_ms=timeout_ms)
        self.addCleanup(router.close)
        return router

    def reason(self, key=None):
        return self.router.route_read(self.main, key).reason

    def pin(self, key):
        """Nothing but the primary satisfies the key for the rest of the test."""
        self.assertEqual(self.router.hold(self.main, key, 60000), pinroute.OK)
        self.assertEqual(self.reason(key), pinroute.PINNED)

    def assert_recorded(self, key):
        self.assertIn(self.reason(key), (pinroute.PINNED, pinroute.CAUGHT_UP))
