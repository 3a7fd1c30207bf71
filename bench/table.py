#!/usr/bin/python3 -B
"""table.py [FILE] -- rows from stdin as one aligned table for people, and in FILE with a ratio for programs.
A row comes as name, p50, p99, unit, against; the ratio is that of its p50 to the p50 of the row `against`."""
import signal
import sys

HEAD = "name", "p50", "p99", "unit", "ratio", "against"
NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def in_base_unit(row):
    return float(row[1]) * NS.get(row[3], 1)


def with_ratios(rows):
    by_name = {row[0]: row for row in rows}
    for name, p50, p99, unit, against in rows:
        ratio = f"{in_base_unit(by_name[name]) / in_base_unit(by_name[against]):.3f}" if against in by_name else "-"
        yield name, p50, p99, unit, ratio, against


def aligned(rows):
    widths = [max(map(len, column)) for column in zip(HEAD, *rows)]
    for row in [HEAD, *rows]:
        cells = [cell.rjust(width) if column in (1, 2, 4) else cell.ljust(width)
                 for column, (cell, width) in enumerate(zip(row, widths))]
        yield "  ".join(cells).rstrip()


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is for who measures
    rows = list(with_ratios([line.rstrip("\n").split("\t") for line in sys.stdin]))
    for path in sys.argv[1:]:
        with open(path, "w", encoding="ascii") as f:
            f.writelines("\t".join(row) + "\n" for row in rows)
    print("\n".join(aligned(rows)))


if __name__ == "__main__":
    main()
