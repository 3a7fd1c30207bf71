#!/usr/bin/env python3
"""mutants.py -- the product with one rule broken, which the hunter must catch: the rules, and a builder of such copies.
By hand: mutants.py [--seconds N] [--seed N] [NAME...]; without names, all."""
import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

import harness

DAEMON, STUB = ("daemon/", "proto/"), ("client/", "proto/")
OFFLOAD = "too few reads went to replicas"  # what the hunter says of its own reads: that catches nobody
BINARIES = {"pinrouted": DAEMON, "pinroutectl": STUB, "tests/hunter": STUB}  # and where they come from


class Change(NamedTuple):
    """A text that stands exactly once in a C file of the product, and what takes its place."""
    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    name: str
    breaks: str
    changes: tuple


def mutant(name, breaks, *changes):
    return Mutant(name, breaks, tuple(Change(*change) for change in changes))


# The first nine are those that a hunter must find by what it is for; the others, what else has a rule.
MUTANTS = [
    mutant("pins-ignored", "a reader looks for no pin",
           ("client/choose.c", "bool pinned = need_add(&need, &f->pin, f->now);", "bool pinned = false;")),
    mutant("fence-first", "the fence is sampled before its generation is closed",
           ("daemon/fence.c",
            "        if (f->carried == f->open)\n                fence_open_next(f);\n"
            "        f->asked = f->open - 1;\n",
            "        if (f->fenced == f->open)\n                fence_open_next(f);\n        f->asked = f->open;\n")),
    mutant("restart-unseen", "a replica's caught-up generation never falls, though it restarts at an older position",
           ("daemon/cluster.c", '"%s", why);\n        forget_caught_up(c, n);\n', '"%s", why);\n'),
           ("daemon/cluster.c",
            "        n->facts.last_timeline = 0;\n        forget_caught_up(c, n);\n}\n",
            "        n->facts.last_timeline = 0;\n}\n"),
           ("daemon/cluster.c",
            "        n->stamp = n->sent;\n",
            "        n->stamp = n->sent;\n"
            "        static uint64_t best[PNR_NODES_MAX], history;\n"
            "        uint64_t *b = &best[slot_of(c, n)];\n"
            "        if (history != c->timeline)\n                memset(best, 0, sizeof best);\n"
            "        history = c->timeline;\n"
            "        n->caught_up = *b = *b > n->caught_up ? *b : n->caught_up;\n")),
    mutant("flushed-position", "the fence is pg_current_wal_lsn(), which an asynchronous commit is ahead of",
           ("daemon/facts.c",
            "ELSE pg_catalog.pg_current_wal_insert_lsn() END AS lsn",
            "ELSE pg_catalog.pg_current_wal_lsn() END AS lsn")),
    mutant("overwrite", "the last record of a key counts, not the longest",
           ("daemon/pin.c",
            "        if (into->generation < add->generation)\n                into->generation = add->generation;\n",
            "        into->generation = add->generation;\n"),
           ("daemon/pin.c",
            "into->until_ms = later(into->until_ms, add->until_ms);", "into->until_ms = add->until_ms;"),
           ("daemon/pin.c", "into->hold_ms = later(into->hold_ms, add->hold_ms);", "into->hold_ms = add->hold_ms;")),
    mutant("answer-first", "a record is answered before its commit",
           ("daemon/core.c",
            "        if (rc == STORE_OK)\n                rc = store_commit(core->store);\n",
            "        extern void answer_first(struct core_item *, unsigned);\n"
            "        if (rc == STORE_OK && n)\n                answer_first(items, n);\n"
            "        if (rc == STORE_OK)\n                rc = store_commit(core->store);\n"),
           ("daemon/main.c",
            "/* ---- the loop ---- */\n",
            "void answer_first(struct core_item *items, unsigned n);\n"
            "void answer_first(struct core_item *items, unsigned n)\n{\n"
            "        for (unsigned i = 0; i < n; i++)\n"
            "                items[i].answered = !core_is_silent(&d.core, clock_mono());\n"
            "        if (items == d.conns.item)\n                conns_reply(&d.conns);\n}\n")),
    mutant("any-timeline", "positions are compared whatever timeline they are on",
           ("daemon/cluster.c",
            "        enum node_verdict v;\n",
            "        enum node_verdict v;\n"
            "        if (n->facts.in_recovery && c->timeline)\n"
            "                n->facts.timeline = n->facts.last_timeline = c->timeline;\n")),
    mutant("no-floor", "a daemon that was away raises no floor",
           ("daemon/cluster.c",
            "        floor_raise(c, now, owed_ms > most_ms ? owed_ms : most_ms, why);\n",
            "        (void)owed_ms, (void)most_ms, (void)why;\n")),
    mutant("stamp-unchecked", "a caught-up generation is trusted however old it is",
           ("client/choose.c",
            "bool fresh = stamp_ms > now.ms - trust_ms && stamp_ms <= now.ms + STAMP_AHEAD_MAX_MS;",
            "bool fresh = true;")),
    mutant("stale-trusted", "keyed reads go on without a heartbeat",
           ("client/choose.c", "if ((f->keyed || f->bound.given) && choose_is_stale(f))", "if (false)")),
    mutant("debts-forgotten", "a record that failed is not kept by its own process",
           ("client/tell.c", "                owe(&w, op);\n", "                (void)w;\n")),
    mutant("holds-ignored", "a replica that has caught up serves a held key",
           ("client/choose.c", "f->now.ms < need.hold_ms || need.generation", "need.generation")),
    mutant("drain-ignored", "a drained node stays in the schedule",
           ("daemon/cluster.c",
            "                if (cluster_schedules(c, n))\n                        weight",
            "                if (!is_primary(c, n) && n->state == NODE_UP)\n                        weight"),
           ("daemon/record.c", "if (cluster_schedules(c, n))", "if (i != c->primary && n->state == NODE_UP)")),
    mutant("foreign-token", "any live pin of the key passes for the token's write",
           ("daemon/request.c",
            "pin.until_ms > now.ms && pnr_stamp_covers(pin.stamp, it->request.stamp);", "pin.until_ms > now.ms;")),
]


def text_of(path):
    with open(os.path.join(harness.SOURCE, path), encoding="utf-8") as f:
        return f.read()


def changed(changes, read=text_of):
    """{path: its text with the changes}; ValueError when a text to be changed is not there once."""
    texts = {}
    for path, old, new in changes:
        text = texts.get(path) or read(path)
        if text.count(old) != 1:
            raise ValueError(f"{path} has {text.count(old)} times, not once: {old!r}")
        texts[path] = text.replace(old, new)
    return texts


class Workshop:
    """The build that is tested: a mutant's files alone are compiled anew, and linked before what they replace."""

    def __init__(self, directory=None):
        self.dir = directory or os.path.join(harness.BUILD, "mutants")
        with open(os.path.join(harness.BUILD, "compile_commands.json"), encoding="utf-8") as f:
            self.commands = {os.path.relpath(one["file"], harness.SOURCE): shlex.split(one["command"])
                             for one in json.load(f)}

    def build(self, name, changes):
        """The directory with the binaries of that mutant."""
        place = os.path.join(self.dir, name)
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(os.path.join(place, "tests"))
        objects = [self._compile(place, path, text) for path, text in changed(changes).items()]
        for target, parts in BINARIES.items():
            self._link(place, target, [one for one in objects if one[0].startswith(parts)])
        return place

    def _compile(self, place, path, text):
        """(its path, the object that the build has, the mutant's)"""
        command = list(self.commands[path])
        source = os.path.join(place, os.path.basename(path))
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        at = command.index("-o") + 1
        original, command[at] = command[at], source[:-1] + "o"
        command[command.index("-c") + 1] = source
        self._run([*command, "-Wno-error"])
        return path, original, command[at]

    def _link(self, place, target, objects):
        if not objects:
            shutil.copy(os.path.join(harness.BUILD, target), os.path.join(place, target))
            return
        said = self._run(["ninja", "-t", "commands", target])
        words = shlex.split(said.rstrip("\n").rpartition("\n")[2])[2:-2]  # without `: &&` and `&& :`
        at = words.index("-o")
        words[at + 1] = os.path.join(place, target)
        for _, original, ours in objects:
            if original in words:
                words[words.index(original)] = ours
            else:
                words.insert(at, ours)  # an archive's member is not taken where there is that object already
        self._run(words)

    def _run(self, command):
        done = subprocess.run(command, cwd=harness.BUILD, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-4000:]}")
        return done.stdout


class Caught(NamedTuple):
    seconds: float
    said: str

    def first(self):
        return next((line for line in self.said.splitlines() if line.startswith("violation")), self.said[-200:])


def hunt(place, seconds, seed):
    """Sets the hunter on the mutant in that directory: what it found, None when it found nothing in that time."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-B", os.path.join(harness.SOURCE, "tests/scenario/hunter.py"), str(seconds),
                           "--seed", str(seed), "--until-found"], env={**os.environ, "PINROUTE_BUILD": place},
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds + 240)
    said = done.stdout
    if done.returncode not in (0, 1) or "Traceback" in said:
        raise RuntimeError(f"the hunter failed, exit {done.returncode}:\n{said[-4000:]}")
    caught = Caught(time.monotonic() - began, said)
    return caught if done.returncode and "violation" in caught.first() and OFFLOAD not in caught.first() else None


def main():
    parser = argparse.ArgumentParser(description="Breaks the product, rule by rule, and sets the hunter on it.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    workshop, missed = Workshop(), []
    for m in MUTANTS:
        if args.names and m.name not in args.names:
            continue
        caught = hunt(workshop.build(m.name, m.changes), args.seconds, args.seed)
        verdict = f"caught after {caught.seconds:.0f} s: {caught.first()}" if caught else "NOT CAUGHT"
        print(f"{m.name}: {verdict}", flush=True)
        if not caught:
            missed.append(m.name)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
