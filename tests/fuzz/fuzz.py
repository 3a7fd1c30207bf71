#!/usr/bin/env python3
"""fuzz.py -- runs the fuzzers of an asan build, two at a time, and says what came of it.
    fuzz.py SECONDS [NAME ...]   a table; beside the seeds in the tree a corpus grows in build/fuzz/NAME
    fuzz.py --test NAME          a test: the seeds, then some seconds from them; keeps nothing but a finding"""
import concurrent.futures
import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests", "scenario"))
import harness  # noqa: E402  (its directory is known only now)

SEEDS = os.path.join(SOURCE, "tests", "fuzz", "corpus")
KEPT = os.path.join(SOURCE, "build", "fuzz")
AT_ONCE = 2
TEST_SECONDS = harness.size(60, 4)
LONGEST_INPUT = {"fuzz_walk": 241, "fuzz_token": 200, "fuzz_conf": 2000}
LONGEST_ELSE = 400
SAY_EVERY = 30  # seconds
PROGRESS = re.compile(r"^#(\d+)\t\S+ +cov: (\d+) .*corp: (\d+)/", re.M)


class Run:
    """One fuzzer for some seconds; `grown` is the directory that takes what it finds worth keeping."""

    def __init__(self, name, seconds, grown):
        self.name, self.seconds = name, seconds
        self.said, self.status, self.took, self.process = [], None, 0.0, None
        self.prefix = os.path.join(KEPT, "found", name + "-")
        for directory in (grown, os.path.dirname(self.prefix)):
            os.makedirs(directory, exist_ok=True)
        self.command = [os.path.join(harness.BUILD, "tests", name), f"-max_total_time={seconds}", "-timeout=60",
                        "-print_final_stats=1", f"-max_len={LONGEST_INPUT.get(name, LONGEST_ELSE)}",
                        f"-artifact_prefix={self.prefix}", grown, os.path.join(SEEDS, name)]

    def run(self, progress=False):
        """To its end, in whatever way; what it leaves in shared memory is removed."""
        scratch = harness.scratch("pinroute-fuzz-", memory=True)
        began = said_at = time.monotonic()
        with harness.spawn(self.command, cwd=scratch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, errors="replace",
                           env={**os.environ, "TMPDIR": scratch}) as process:
            self.process = process
            late = threading.Timer(self.seconds + 300, process.kill)
            late.start()
            try:
                for line in process.stdout:
                    self.said.append(line.rstrip("\n"))
                    if progress and time.monotonic() - said_at > SAY_EVERY:
                        said_at = time.monotonic()
                        print(f"{self.name}: {said_at - began:.0f} s, {line.strip()[:90]}", flush=True)
                self.status = process.wait()
            finally:
                late.cancel()
                process.kill()
                shutil.rmtree(scratch, ignore_errors=True)
        self.took = time.monotonic() - began
        return self

    @property
    def text(self):
        return "\n".join(self.said)

    def counts(self):
        """(executions, edges reached, edges in all, inputs in the corpus)."""
        last = (PROGRESS.findall(self.text) or [("0", "0", "0")])[-1]
        ran = re.search(r"^stat::number_of_executed_units: (\d+)", self.text, re.M)
        edges = re.search(r"\((\d+) inline 8-bit counters\)", self.text)
        return int(ran[1] if ran else last[0]), int(last[1]), int(edges[1] if edges else 0), int(last[2])

    def finding(self):
        """What is wrong, or ""."""
        unit = re.search(r"Test unit written to (\S+)", self.text)
        if unit:
            return unit[1]
        if self.status != 0 or not re.search(r"^Done \d+ runs", self.text, re.M):
            return f"ended with {self.status}"
        own_words = (line for line in self.said if not line.startswith(("#", '"')))  # those are words that it has tried
        said = harness.SANITIZER_SAID.search("\n".join(own_words))
        return said[0] if said else ""

    def last_words(self, lines=60):
        return "\n".join([line[:300] for line in self.said if "fuzzer::" not in line and line[:1] not in '#"'][-lines:])


def names():
    """Of the build's fuzzers."""
    return sorted(name for name in os.listdir(SEEDS) if os.access(os.path.join(harness.BUILD, "tests", name), os.X_OK))


def table(runs):
    print(f"\n{'target':<14} {'executions':>11} {'exec/s':>8} {'edges':>12} {'corpus':>7}  verdict")
    for run in runs:
        ran, edges, of, corpus = run.counts()
        print(f"{run.name:<14} {ran:>11,} {ran / max(run.took, 1):>8,.0f} {f'{edges} of {of}':>12} {corpus:>7}  "
              f"{run.finding() or 'nothing found'}")


def fuzz(seconds, wanted):
    lacking = set(wanted) - set(names())
    if lacking or not names():
        print(f"fuzz.py: no such fuzzer: {' '.join(lacking) or harness.BUILD}; there are: {' '.join(names())}",
              file=sys.stderr)
        return 2
    runs = [Run(name, seconds, os.path.join(KEPT, name)) for name in wanted or names()]
    print(f"{len(runs)} fuzzers, {seconds} s each, {AT_ONCE} at a time", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as crew:
        try:
            for done in concurrent.futures.as_completed([crew.submit(run.run, True) for run in runs]):
                run = done.result()
                print(f"{run.name}: {run.finding() or 'done'}", flush=True)
        except KeyboardInterrupt:
            crew.shutdown(wait=False, cancel_futures=True)
            for run in runs:
                if run.process:
                    run.process.kill()
            raise
    table(runs)
    found = [run for run in runs if run.finding()]
    for run in found:
        print(f"\n---- {run.name}: {run.finding()}\n{run.last_words()}")
    return 1 if found else 0


def test(name):
    grown = harness.scratch("pinroute-fuzz-corpus-")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, grown, ignore_errors=True)
        run = Run(name, TEST_SECONDS, grown).run()
    ran, edges, of, corpus = run.counts()
    print(f"{name}: {ran} executions, {edges} of {of} edges, {corpus} inputs")
    if run.finding():
        print(f"{run.last_words()}\n{name}: {run.finding()}")
    print("0 passed, 1 failed" if run.finding() else "1 passed, 0 failed")
    return 1 if run.finding() else 0


def main(words):
    if len(words) == 2 and words[0] == "--test":
        return test(words[1])
    if words and re.fullmatch(r"[1-9]\d*", words[0]):
        return fuzz(int(words[0]), words[1:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
