"""test_table.py -- what ./run.sh bench makes of the rows that it measured: bench/table.py.
Needs nothing built."""
import os
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def made_of(*rows):
    """(lines of build/bench.tsv, lines of the table) of rows as programs print them."""
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "bench.tsv")
        done = subprocess.run(["/usr/bin/python3", "-B", os.path.join(SOURCE, "bench", "table.py"), path], check=True,
                              input="".join("\t".join(row) + "\n" for row in rows), text=True, stdout=subprocess.PIPE)
        with open(path, encoding="ascii") as f:
            return f.read().splitlines(), done.stdout.splitlines()


class Table(unittest.TestCase):
    def test_a_ratio_is_of_medians_in_one_unit_whichever_row_came_first(self):
        rows, _ = made_of(("peer", "50", "90", "us", "ours"), ("ours", "100.0", "900", "ns", "-"))
        self.assertEqual(rows, ["peer\t50\t90\tus\t500.000\tours", "ours\t100.0\t900\tns\t-\t-"])

    def test_what_was_not_measured_gives_no_ratio(self):
        rows, _ = made_of(("ours", "100.0", "-", "ns", "peer"))
        self.assertEqual(rows, ["ours\t100.0\t-\tns\t-\tpeer"])

    def test_people_see_columns_under_their_names(self):
        _, table = made_of(("a", "1", "2", "ns", "-"), ("a_long_name", "10000.0", "-", "bytes", "-"))
        self.assertEqual(table, ["name             p50  p99  unit   ratio  against",
                                 "a                  1    2  ns         -  -",
                                 "a_long_name  10000.0    -  bytes      -  -"])


if __name__ == "__main__":
    unittest.main()
