#!/usr/bin/python3 -B
"""bench_daemon.py -- what the daemon takes, and what asking it costs: with a real primary and two replicas.
Rows on stdout: name, p50, p99, unit, against; of a CPU share and of a restart p99 is the worst.  What serves is on the
first core; bench_ask and bench_writes, which this starts, measure on the last.  [--quick]"""
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.setdefault("PINROUTE_BUILD", os.path.join(SOURCE, "build", "release"))
sys.path.insert(0, os.path.join(SOURCE, "tests", "scenario"))

import harness
from harness import eventually

QUICK = "--quick" in sys.argv
WINDOWS = 3 if QUICK else 10  # of a second each: a CPU share is that of a window
RESTARTS = 3 if QUICK else 7
RECLAIM_SECONDS = 5 if QUICK else 20
FIRST_EXPIRES = 10  # seconds after the first of 1,000,000 pins was recorded
RATE = 20000
MILLION = 1000000
# A daemon that starts takes all keys for pinned for `max_pin_seconds`: short at its start.
START = {"max_pin_seconds": 1, "pin_seconds": 1, "rise": 1}
LATER = {"max_pin_seconds": 86400, "pin_seconds": 15}
OPTIONS = {"max_pins": 2 * MILLION, "stale_after": "20s"}


def say(words):
    print(words, file=sys.stderr)


def row(name, p50, p99=None, unit="", against=None):
    print(name, f"{p50:.4g}", "-" if p99 is None else f"{p99:.4g}", unit, against or "-", sep="\t", flush=True)


def program(name, *words):
    """A measuring program, run to its end: what it printed."""
    quick = ["--quick"] if QUICK else []
    process = harness.spawn([os.path.join(BUILD, name), *quick, *map(str, words)], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{name} ended with {process.returncode}")
    return said


def load(daemon, first, count, rate, ms, step_us=0):
    return harness.spawn([os.path.join(BUILD, "bench_load"), daemon.dir,
                          *map(str, (first, count, rate, ms, step_us))], stdout=subprocess.PIPE, text=True)


def end_of(process):
    said, _ = process.communicate()
    if process.returncode:
        sys.exit(f"bench_load ended with {process.returncode}")
    return harness.Answer(said.rstrip("\n"))


def start(stack, cluster):
    """A daemon whose start is over: without a floor, and with a schedule of both replicas."""
    daemon = harness.Daemon(cluster, {**OPTIONS, "stale_after": "200ms"}, START)
    stack.callback(daemon.close)

    def settled():
        main = daemon.ask("status")["clusters"][0]
        return main["floor_left_ms"] == 0 and len(main["schedule"]) == cluster.replicas
    eventually(settled, within=10)
    daemon.write_config(cluster, OPTIONS, LATER)
    seen = len(daemon.log)
    daemon.reload()
    daemon.wait_log("reload", since=seen)
    return daemon


def peers(stack):
    """A directory with the sockets of Redis and memcached, as far as they are installed."""
    place = harness.scratch()
    stack.callback(shutil.rmtree, place, ignore_errors=True)
    guard = harness.when_we_are_gone("rm", "-rf", place)
    stack.callback(os.close, guard)
    sockets = {name: os.path.join(place, name + ".sock") for name in ("redis", "memcached")}
    servers = {"redis-server": ("redis", ["--port", "0", "--unixsocket", sockets["redis"], "--save", "",
                                          "--appendonly", "no", "--dir", place]),
               "memcached": ("memcached", ["-s", sockets["memcached"], "-u", "root", "-m", "64"])}
    for server, (name, arguments) in servers.items():
        if not shutil.which(server):
            say(f"{server} is not here, and the rows of {name} are left out: apt-get install {server}")
            continue
        process = harness.spawn([server, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        eventually(lambda path=sockets[name]: os.path.exists(path), what=server)
    return place


def cpu_seconds(daemon):
    """Of the daemon and its prober, since they began."""
    def words(path):
        with open(path, encoding="ascii") as f:
            return list(map(int, f.read().split()))

    pids = [daemon.pid, *words(f"/proc/{daemon.pid}/task/{daemon.pid}/children")]
    return sum(words(f"/proc/{pid}/schedstat")[0] for pid in pids) / 1e9


def cpu_row(name, daemon):
    shares = []
    for _ in range(WINDOWS):
        began, before = time.monotonic(), cpu_seconds(daemon)
        time.sleep(1)
        shares.append((cpu_seconds(daemon) - before) / (time.monotonic() - began) * 100)
    row(name, statistics.median(shares), max(shares), "%")


def measure_small(cluster):
    with contextlib.ExitStack() as stack:
        daemon = start(stack, cluster)
        say("the daemon's share of a core: idle")
        cpu_row("daemon_cpu_idle", daemon)
        say("questions to other processes")
        print(program("bench_ask", daemon.dir, peers(stack)), end="", flush=True)
        say(f"look-ups while {RATE} pins arrive each second")
        print(program("bench_writes", daemon.dir), end="", flush=True)
        say(f"the daemon's share of a core: {RATE} pins each second")
        pins = load(daemon, 2 * MILLION, (WINDOWS + 2) * RATE, RATE, 15000)
        time.sleep(1)
        cpu_row("daemon_cpu_20k", daemon)
        end_of(pins)


def memory_row(name, daemon):
    """The daemon's own, without the store, which all processes map."""
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f)
    row(name, int(fields["RssAnon"].split()[0]) / 1e3, unit="MB")


def measure_restarts(daemon):
    took = []
    for _ in range(RESTARTS):
        daemon.stop()
        took.append(daemon.start() * 1000)
    row("restart_1m", statistics.median(took), max(took), "ms")


def measure_reclaiming(daemon, first):
    """RATE pins expire each second, and as many arrive."""
    arriving = load(daemon, first, RECLAIM_SECONDS * RATE, RATE, MILLION // RATE * 1000)
    before = daemon.ask("show", "stats")["stats"]
    waited = end_of(arriving)
    after = daemon.ask("show", "stats")["stats"]
    row("reclaim_longest_answer", waited.slowest_us / 1000, unit="ms")
    row("reclaim_longest_turn", after["longest_turn_us"] / 1000, unit="ms")
    row("reclaim_store_start", before["store_used_bytes"] / 1e6, unit="MB")
    row("reclaim_store_end", after["store_used_bytes"] / 1e6, unit="MB", against="reclaim_store_start")


def measure_large(cluster):
    with contextlib.ExitStack() as stack:
        daemon = start(stack, cluster)
        say("1,000,000 pins: recording them, and restarts of the daemon")
        began = time.monotonic()
        end_of(load(daemon, 0, MILLION, 0, FIRST_EXPIRES * 1000, MILLION // RATE))
        stats = daemon.ask("show", "stats")["stats"]
        row("bytes_per_pin_1m", stats["store_used_bytes"] / stats["pins"], unit="bytes")
        memory_row("daemon_memory_1m", daemon)
        measure_restarts(daemon)
        say(f"{RATE} pins expire and {RATE} arrive each second, among 1,000,000")
        time.sleep(max(0.0, began + FIRST_EXPIRES - time.monotonic()))
        measure_reclaiming(daemon, MILLION)


def main():
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    with contextlib.closing(harness.Cluster(replicas=2)) as cluster:
        measure_small(cluster)
        measure_large(cluster)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
