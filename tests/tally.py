#!/usr/bin/env python3
"""tally.py -- adds up what the tests of some ctest runs said, result by result.
Reads ctest's logs; the last line is `N passed, N failed`; a test program that says nothing has failed."""
import re
import sys

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


def main(paths):
    total = [0, 0, 0]
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
            if result[1]:
                print(f"\n---- {name} failed; the end of what it said (all of it: {path}):")
                print("\n".join(output.strip().splitlines()[-40:]), "\n")
            run = [a + b for a, b in zip(run, result)]
        print(f"{path}: {run[0]} passed, {run[1]} failed, {run[2]} skipped")
        total = [a + b for a, b in zip(total, run)]
    print(f"{total[0]} passed, {total[1]} failed" + (f", {total[2]} skipped" if total[2] else ""))
    return 0 if total[0] and not total[1] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
