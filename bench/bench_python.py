#!/usr/bin/python3 -B
"""bench_python.py -- what a decision costs in Python: beside the call in C, and beside a router that knows nothing.
Rows on stdout: name, p50, p99, unit, against; of batches of 1,000 calls in a plain loop, each answer checked.  Rounds
are interleaved (every row once per round), the first is dropped.  python_seed_shape is the shape of
django-multidb-router's db_for_read(): is this thread pinned?  next() of an itertools.cycle of aliases."""
import contextlib
import ctypes
import gc
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("PINROUTE_BUILD", os.path.join(SOURCE, "build", "release"))
sys.path.insert(0, os.path.join(SOURCE, "tests", "python"))

from extension import BUILD, REPLICAS, Host, main_of

import django.conf
import pinroute

QUICK = "--quick" in sys.argv
ROUNDS = 6 if QUICK else 7
BATCHES = 40 if QUICK else 100  # per row and round
CALLS = 1000
KEYS = [f"{number * 0x9e3779b97f4a7c15 % 2**128:032x}" for number in range(1, CALLS + 1)]  # like session ids

LOOPS_IN_C = r"""
#include <pinroute.h>
#include <stddef.h>
#include <string.h>

static struct pinroute *pr;
static unsigned cluster;
static struct pinroute_scope scope;

int begin(const char *dir)
{
        int status = pinroute_open(&pr, dir);
        if (status == PINROUTE_OK)
                status = pinroute_cluster(pr, "main", &cluster);
        pinroute_scope_begin(&scope, pr, cluster, "somebody", 8);
        return status;
}

int unkeyed(const char *const *keys, int n)
{
        int wrong = 0;
        struct pinroute_decision d;
        (void)keys;
        for (int i = 0; i < n; i++)
                wrong += pinroute_route_read(pr, cluster, NULL, 0, &d) != PINROUTE_OK || d.reason != PINROUTE_BALANCED;
        return wrong;
}

int unpinned(const char *const *keys, int n)
{
        int wrong = 0;
        struct pinroute_decision d;
        for (int i = 0; i < n; i++)
                wrong += pinroute_route_read(pr, cluster, keys[i], strlen(keys[i]), &d) != PINROUTE_OK ||
                         d.reason != PINROUTE_BALANCED;
        return wrong;
}

int repeat(const char *const *keys, int n)
{
        int wrong = 0;
        struct pinroute_decision d;
        (void)keys;
        for (int i = 0; i < n; i++)
                wrong += pinroute_scope_read(&scope, &d) != PINROUTE_OK || d.reason != PINROUTE_BALANCED;
        return wrong;
}
"""


class InC:
    """The loops above, compiled and on a handle of their own."""

    def __init__(self, directory):
        with tempfile.TemporaryDirectory() as place:
            source, library = os.path.join(place, "loops.c"), os.path.join(place, "loops.so")
            with open(source, "w", encoding="ascii") as f:
                f.write(LOOPS_IN_C)
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-I", os.path.join(SOURCE, "client"), source,
                            "-o", library, "-L", BUILD, "-lpinroute", f"-Wl,-rpath,{BUILD}"], check=True)
            self.loops = ctypes.CDLL(library)
        self.keys = (ctypes.c_char_p * CALLS)(*(key.encode() for key in KEYS))
        assert self.loops.begin(os.fsencode(directory)) == pinroute.OK

    def row(self, name):
        loop = getattr(self.loops, name)
        return lambda: loop(self.keys, CALLS)


def each(call, things, right):
    """A row: calls it with each of them, and counts the answers that are not right."""
    def row():
        wrong = 0
        for thing in things:
            if call(thing) not in right:
                wrong += 1
        return wrong
    return row


def each_key(call, cluster, right):
    def row():
        wrong = 0
        for key in KEYS:
            if call(cluster, key) not in right:
                wrong += 1
        return wrong
    return row


def over_and_over(call, right):
    def row():
        wrong = 0
        for _ in KEYS:
            if call() not in right:
                wrong += 1
        return wrong
    return row


def decisions(call, cluster, reason):
    def row():
        wrong = 0
        for key in KEYS:
            if call(cluster, key).reason != reason:
                wrong += 1
        return wrong
    return row


replicas_in_turn = itertools.cycle(sorted(REPLICAS))
this_thread = threading.local()
this_thread.pinned = False  # as a request leaves it that only reads


def is_pinned():
    return getattr(this_thread, "pinned", False)


def next_replica():
    return next(replicas_in_turn)


class SeedShape:
    def db_for_read(self, model, **hints):
        return "default" if is_pinned() else next_replica()


class Model:
    """As much of a model as routers ask for."""

    class _meta:
        app_label = "bench"
        model_name = "model"
        label_lower = "bench.model"


def django_router(directory):
    """The router of pinroute.django, and the request that it is asked in."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    databases = {name: database for name in ("default", *REPLICAS)}
    django.conf.settings.configure(DATABASES=databases, PINROUTE_DIR=directory)
    import pinroute.django
    return pinroute.django.PinningReplicaRouter(), pinroute.django.request_scope("somebody")


def rows(host, router, stack):
    """{name: (row, the row to compare with or None)}, in the order in which they are printed."""
    main, right = main_of(router), frozenset(REPLICAS)
    in_c = InC(host.dir)
    scope = router.scope(main, "somebody")
    ours, request = django_router(host.dir)
    seed = SeedShape()
    stack.enter_context(request)
    return {
        "c_route_unkeyed": (in_c.row("unkeyed"), None),
        "c_route_unpinned": (in_c.row("unpinned"), None),
        "c_scope_repeat": (in_c.row("repeat"), None),
        "python_c_call": (over_and_over(scope.unforce, {None}), None),
        "python_node_unkeyed": (each(router.node_for_read, [main] * CALLS, right), "c_route_unkeyed"),
        "python_node_for_read": (each_key(router.node_for_read, main, right), "c_route_unpinned"),
        "python_route_read": (decisions(router.route_read, main, pinroute.BALANCED), "c_route_unpinned"),
        "python_scope_node": (over_and_over(scope.node, right), "c_scope_repeat"),
        "python_seed_shape": (each(seed.db_for_read, [Model] * CALLS, right), None),
        "python_db_for_read": (each(ours.db_for_read, [Model] * CALLS, right), "python_seed_shape"),
    }


def measure(table):
    """{name: ns per call, of each batch}."""
    times = {name: [] for name in table}
    for number in range(ROUNDS):
        if sys.stderr.isatty():
            print(f"round {number + 1} of {ROUNDS}", end="\r", file=sys.stderr)
        for name, (row, _) in table.items():
            for _ in range(BATCHES):
                began = time.perf_counter_ns()
                wrong = row()
                took = time.perf_counter_ns() - began
                if wrong:
                    sys.exit(f"{name}: {wrong} of {CALLS} answers are not right")
                if number:
                    times[name].append(took / CALLS)
    return times


def main():
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    gc.disable()
    with contextlib.ExitStack() as stack:
        host = Host()
        stack.callback(host.close)
        router = pinroute.Router(host.dir)
        table = rows(host, router, stack)
        times = measure(table)
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, (_, against) in table.items():
        p99 = statistics.quantiles(times[name], n=100)[98]
        print(f"{name}\t{middle[name]:.1f}\t{p99:.1f}\tns\t{against or '-'}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
