"""hunter.py -- plays a seeded schedule of faults against two daemons and a PostgreSQL cluster, while hunter.c's players
write and read; then has their history judged.

    hunter.py SECONDS [--seed N] [--keep DIR] [--until-found]
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import harness
from hunter_faults import DaemonFaults, ServerFaults
from hunter_stage import HOSTS, Board, Host, Log, Servers


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
        words = [self.program, "play", self.place, str(self.seed), str(writers), str(readers), *hosts, *nodes]
        process = harness.spawn(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "playing\n"
        return process

    def players(self):
        pids = sorted(int(name.rpartition("-")[2]) for name in os.listdir(self.place) if name.startswith("events-"))
        return [pid for pid in pids if self.plays(pid)]

    def plays(self, pid):
        """A number of one that has ended may be somebody else's by now."""
        state, parent = harness.stat_of(pid)
        return state not in (None, "Z") and parent == self.process.pid

    def counted(self, kind):
        self.log.fault(kind)

    def play_servers(self):
        try:
            ServerFaults(self, self.seed * 2 + 1).play()
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
        servers = threading.Thread(target=self.play_servers)
        watch = threading.Thread(target=self.watch, args=(until_found,))
        servers.start()
        watch.start()
        try:
            DaemonFaults(self, self.seed * 2).play()
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
    faults = sum(hunt.log.counts.values())
    head = f"soak: {took:.0f} s, seed {hunt.seed}, {seen.commits} commits, {reads} reads, {faults} faults"
    if seen.violations:
        return f"{head}: {seen.violations} violations"
    if story:
        return f"{head}: too few reads of pinned keys on replicas, this proves nothing"
    return f"{head}, {float(seen.keyed_offload):.0%} of keyed ones on replicas: no stale read, no lost pin"


def tell(hunt, took, seen, story):
    if story:
        print(story)
    print("faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(hunt.log.counts.items())))
    print(f"history: {seen.line}")
    print(verdict(hunt, took, seen, story), flush=True)


def scratch():
    """A directory for a history, which takes a lot of room: gone at the latest when this process is."""
    place = harness.scratch("hunter-")
    harness.when_we_are_gone("rm", "-rf", place)
    return place


def run(seconds, seed, place, until_found=False, writers=3, readers=4):
    """Plays and judges: (exit status, figures); prints what there is to say."""
    print(f"hunt of {seconds} s, seed {seed}", flush=True)
    hunt = Hunt(seconds, seed, place, writers, readers)
    began = time.monotonic()
    try:
        hunt.play(until_found)
        took = time.monotonic() - began
    finally:
        hunt.close()
    story, seen = hunt.judge()
    tell(hunt, took, seen, story)
    return (1 if story or seen.violations else 0), seen


def main():
    parser = argparse.ArgumentParser(description="Hunts for stale reads and lost pins.")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", metavar="DIR", help="a new directory for the history, which stays there")
    parser.add_argument("--until-found", action="store_true", help="ends with the first violation")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1, 1 << 31)
    if args.keep:
        os.makedirs(args.keep)  # two histories in one would be judged as one
        return run(args.seconds, seed, args.keep, args.until_found)[0]
    place = scratch()
    try:
        return run(args.seconds, seed, place, args.until_found)[0]
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("soak: interrupted, nothing was judged", file=sys.stderr)
        sys.exit(130)
