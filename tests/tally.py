#!/usr/bin/env python3
"""tally.py -- adds up what the tests of some ctest runs said, result by result, and the failure contract, cell by cell.
Reads ctest's logs; the last line is `N passed, N failed`; a test program that says nothing has failed."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "scenario", "faults"))
import contract  # noqa: E402  (its directory is known only now)

HEAD = re.compile(r"^\d+/\d+ Testing: (\S+)$", re.M)
CRITERION = re.compile(r"Tested: *(\d+) *\| *Passing: *(\d+) *\| *Failing: *(\d+) *\| *Crashing: *(\d+)")
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*?^(OK|FAILED)(.*?)$", re.M | re.S)
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)


def read(output):
    """The results that one test program printed: (passed, failed, skipped)."""
    passed = failed = skipped = 0
    for m in CRITERION.finditer(output):
        passed, failed = passed + int(m[2]), failed + int(m[1]) - int(m[2])
    for m in UNITTEST.finditer(output):
        said = {word: int(n) for word, n in re.findall(r"([a-z ]+)=(\d+)", m[3].replace(", ", ","))}
        bad = said.get("failures", 0) + said.get("errors", 0) + said.get("unexpected successes", 0)
        passed += max(0, int(m[1]) - bad - said.get("skipped", 0))
        failed, skipped = failed + bad, skipped + said.get("skipped", 0)
    for m in PLAIN.finditer(output):
        passed, failed, skipped = passed + int(m[1]), failed + int(m[2]), skipped + int(m[3] or 0)
    return passed, failed, skipped


def programs(log):
    """(name, output, ctest's verdict) of every test program in a log of ctest's."""
    starts = list(HEAD.finditer(log))
    for m, after in zip(starts, starts[1:] + [None]):
        text = log[m.end():after.start() if after else len(log)]
        yield m[1], text, re.search(r"^Test Passed\.$", text, re.M) is not None


def verdict(output, ok):
    """Like read(), and distrustful: what ctest failed has failed, and silence is no success."""
    passed, failed, skipped = read(output)
    if not failed and (not ok or passed + skipped == 0):
        failed = 1
    return passed, failed, skipped


def cells(said):
    """Says how much of the failure contract was shown; returns how many cells were not."""
    hold, lacking, skipped = contract.report(said)
    for line in skipped:
        print(f"skipped: {line}")
    for line in lacking:
        print(f"the failure contract: {line}")
    cells = len(contract.ROWS) * len(contract.COLUMNS)
    faults = sum(len(faults) for _, faults in contract.ROWS.values()) * len(contract.COLUMNS)
    print(f"the failure contract: {len(hold)} of {cells} cells hold, {faults} faults")
    return cells - len(hold)


def main(paths, every_cell=False):
    """every_cell: also where no test of the failure contract was run at all."""
    total, said_by_faults = [0, 0, 0], ""
    for path in paths:
        run = [0, 0, 0]
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                log = f.read()
        except OSError as e:
            print(f"no log of a whole test run: {e}")
            log, run = "", [0, 1, 0]
        if log and not list(programs(log)):
            print(f"{path}: no test was run")
            run[1] = 1
        for name, output, ok in programs(log):
            result = verdict(output, ok)
            if name.startswith("faults/"):
                said_by_faults += output
            if result[1]:
                print(f"\n---- {name} failed; the end of what it said (all of it: {path}):")
                print("\n".join(output.strip().splitlines()[-40:]), "\n")
            run = [a + b for a, b in zip(run, result)]
        print(f"{path}: {run[0]} passed, {run[1]} failed, {run[2]} skipped")
        total = [a + b for a, b in zip(total, run)]
    if said_by_faults or every_cell:
        total[1] += cells(said_by_faults)
    print(f"{total[0]} passed, {total[1]} failed" + (f", {total[2]} skipped" if total[2] else ""))
    return 0 if total[0] and not total[1] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], every_cell=True))
