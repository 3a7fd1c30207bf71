#!/usr/bin/env python3
"""coverage.py -- how much of each C file the unit tests run, from the counters that gcc's --coverage left in a build.
Fails when a pure module, one whose file says so at its top, has less than 95 % of its branches taken both ways."""
import glob
import json
import os
import subprocess
import sys

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHIPPED = ("proto", "client", "daemon")
LEAST = 95.0


def counters(build):
    """What gcov reads from each .gcda file of a shipped C file: a document with `files`."""
    for layer in SHIPPED:
        for path in glob.glob(f"{build}/**/*.dir/{layer}/*.gcda", recursive=True):
            said = subprocess.run(["gcov", "--branch-probabilities", "--json-format", "--stdout", path], cwd=build,
                                  stdout=subprocess.PIPE, text=True, check=True)
            yield json.loads(said.stdout)


def measure(build):
    """{file: ({line: ran}, {(line, branch): taken})}: the best of what each program's copy of the file has seen."""
    seen = {}
    for document in counters(build):
        for file in document["files"]:
            name = os.path.relpath(os.path.join(document["current_working_directory"], file["file"]), SOURCE)
            if not name.startswith(SHIPPED) or not name.endswith(".c"):
                continue
            lines, branches = seen.setdefault(name, ({}, {}))
            for line in file["lines"]:
                at = line["line_number"]
                lines[at] = lines.get(at, False) or line["count"] > 0
                for n, branch in enumerate(line["branches"]):
                    branches[at, n] = branches.get((at, n), False) or branch["count"] > 0
    return seen


def is_pure(name):
    """Does the file, or its header, say so in its first lines?"""
    for path in (name, name[:-1] + "h"):
        try:
            with open(os.path.join(SOURCE, path), encoding="utf-8") as f:
                if any("Pure" in f.readline() for _ in range(4)):
                    return True
        except FileNotFoundError:
            pass
    return False


def share(taken):
    return 100.0 * sum(taken.values()) / len(taken) if taken else 100.0


def main(build):
    bad = 0
    seen = measure(os.path.abspath(build))
    print(f"{'file':24} {'lines':>7} {'branches':>9}")
    for name, (lines, branches) in sorted(seen.items()):
        pure = is_pure(name)
        low = pure and share(branches) < LEAST
        bad += low
        missed = sorted({at for (at, _), taken in branches.items() if not taken}) if low else ""
        print(f"{name:24} {share(lines):6.1f}% {share(branches):8.1f}%{'  pure' if pure else ''}"
              f"{f', too few: lines {missed}' if low else ''}")
    pure = sum(is_pure(name) for name in seen)
    print(f"{pure - bad} passed, {bad} failed" if pure else "no pure module was measured")
    return 1 if bad or not pure else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
