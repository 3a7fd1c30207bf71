"""contract.py -- the failure contract: its cells by name, and how a test says that one holds.
The words are those of README's table "When something fails"; tests/contract/test_house.py compares them.

    class Story(contract.Faults):
        def test_a_frozen_replica(self):
            ...
            with self.cell("replica", contract.KEYED, "frozen"):
                self.assertNotEqual(worker.read("main", "alice").node, "shadow-1")

Each row has faults; a cell, a row's column, holds when each of its faults was shown to do there what the table says.
What was shown is printed, a line each, and tests/tally.py counts the cells.
"""
import contextlib
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import harness  # noqa: E402  (its directory is known only now)

UNKEYED, KEYED, RECORD = "reads without a key", "keyed reads", "record_write"
COLUMNS = (UNKEYED, KEYED, RECORD)

# name: (the row's first cell in README, its faults)
ROWS = {
    "daemon back": ("daemon killed or stopped, back within `stale_after` (1 s)", ("killed", "stopped")),
    "daemon away": ("daemon away longer than `stale_after`", ("killed", "stopped")),
    "no store": ("daemon away longer than `stale_limit`; store missing, unreadable, of another layout",
                 ("daemon away", "lost in use", "missing", "unreadable", "truncated before attach", "garbage", "a copy",
                  "another layout", "another boot")),
    "daemon new": ("daemon restarted, upgraded; store replaced",
                   ("restarted", "upgraded", "store replaced", "store deleted")),
    "prober": ("prober dead or hung", ("dead", "hung", "name that does not resolve")),
    "worker": ("worker killed, stopped, forked, out of descriptors or memory, at any instant",
               ("killed", "stopped", "forked", "no descriptors", "no memory", "file size limit")),
    "replica": ("replica dead, frozen, refusing, lagging, lag unknown, restarted, on another timeline",
                ("dead", "frozen", "refusing", "never answers", "packets dropped", "lagging", "lag unknown", "restarted",
                 "another timeline")),
    "primary dead": ("primary dead", ("killed", "frozen")),
    "primary changes": ("primary changes", ("promotion", "old primary back", "split brain", "reload")),
    "table full": ("pin table full, store lost", ("table full", "store lost", "tmpfs full")),
    "clock": ("clock stepped, machine suspended or paused", ("wall clock stepped", "machine suspended", "machine paused")),
    "socket": ("garbage on the socket; slow, silent, or too many clients; no descriptors left in the daemon",
               ("garbage", "slow", "silent", "too many", "no descriptors")),
}

LINE = re.compile(r"^cell: (.+?) / (.+?) / (.+?): (holds|broken|skipped.*)$", re.M)


def report(output):
    """From all that tests printed: (cells that hold, what is missing in the others, what was skipped), as text."""
    said = {}
    for row, column, fault, verdict in LINE.findall(output):
        said.setdefault((row, column, fault), set()).add(verdict.split()[0])
    hold, lacking, skipped = [], [], []
    for row, (_, faults) in ROWS.items():
        for column in COLUMNS:
            cell = {fault: said.get((row, column, fault), {"not shown"}) for fault in faults}
            bad = [f"{row} / {column} / {fault}: {', '.join(sorted(v))}" for fault, v in cell.items()
                   if not v <= {"holds", "skipped"}]
            shown = [fault for fault, v in cell.items() if "holds" in v]
            skipped += [f"{row} / {column} / {fault}" for fault, v in cell.items() if v == {"skipped"}]
            if bad or not shown:
                lacking += bad or [f"{row} / {column}: skipped"]
            else:
                hold.append(f"{row} / {column}")
    unknown = [" / ".join(key) for key in said if key[0] not in ROWS or key[1] not in COLUMNS or key[2] not in ROWS[key[0]][1]]
    return hold, lacking + [f"{name}: not in the table" for name in unknown], skipped


class Faults(harness.Scenario):
    """A Scenario that says which cells of the contract it has shown."""

    @contextlib.contextmanager
    def cell(self, row, column, fault):
        """What is asserted inside is what the table promises there.  Said on a line of its own: the name of the test,
        or a dot, is still waiting for the end of its own."""
        assert column in COLUMNS and fault in ROWS[row][1], (row, column, fault)
        verdict = "broken"
        try:
            yield
            verdict = "holds"
        finally:
            print(f"\ncell: {row} / {column} / {fault}: {verdict}", flush=True)

    def skip_cells(self, row, fault, why):
        """This machine cannot make the fault: said in every column, and no failure."""
        for column in COLUMNS:
            print(f"\ncell: {row} / {column} / {fault}: skipped ({why})", flush=True)
        self.skipTest(why)
