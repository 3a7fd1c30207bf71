"""test_manual.py -- the manual pages say what the programs know: every option, status, reason, metric, command and call.
Needs the pages (target `man`), mandoc and a compiler; no server."""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PINROUTE_BUILD") or os.path.join(SOURCE, "build", "dev")
MAN = os.path.join(BUILD, "packaging", "man")
TABLES = os.path.join(MAN, "manual_tables")
KEY = "0123456789abcdef" * 4

# Where the rows of a table are told.
PLACE = {"OPTION": "pinrouted.ini.5", "METRIC": "pinrouted.8", "STATUS": "pinroute_strerror.3",
         "REASON": "pinroute_route_read.3", "COMMAND": "pinroutectl.1", "SHOW": "pinroutectl.1"}
SHAPE = {"OPTION": " {name} = ", "METRIC": " {name} (", "COMMAND": " {name} ", "SHOW": " {name}: "}


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def run(*command, **options):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)


def said(*command):
    done = run(*command)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def names():
    return sorted(os.path.basename(path).removesuffix(".scd.in")
                  for path in glob.glob(os.path.join(SOURCE, "packaging", "man", "*.scd.in")))


def links():
    """{name of a page that refers to another: that page}"""
    paths = glob.glob(os.path.join(MAN, "links", "*"))
    return {os.path.basename(path): re.fullmatch(r"\.so man\d/(\S+)\n", read(path))[1] for path in paths}


def rendered(page):
    """A page as a terminal shows it, without overstrikes."""
    return re.sub(r".\x08", "", said("mandoc", "-T", "ascii", "-O", "width=500", os.path.join(MAN, page)))


def shown(page):
    return re.sub(r"\s+", " ", rendered(page))


def source(page):
    return read(SOURCE, "packaging", "man", page + ".scd.in")


def blocks(page, section):
    """What is shown as it stands in a section of a page: further to the right than its paragraphs."""
    text = re.search(rf"^{section}\n(.*?)^(?=\S)", rendered(page), re.M | re.S)
    return re.findall(r"(?:^ {9,}.*\n|^\n)*^ {9,}.*\n", text[1], re.M) if text else []


class Tables(unittest.TestCase):
    def test_every_row_of_every_table_is_told_with_its_number(self):
        text = {page: shown(page) for page in PLACE.values()}
        missing = []
        for row in said(TABLES, "--names").splitlines():
            *table, name, number = row.split()
            word = SHAPE.get(table[0], " PINROUTE_{name} ({number})").format(name=name, number=number)
            if word not in text[PLACE[table[0]]]:
                missing.append(row)
        self.assertEqual(missing, [])

    def test_every_command_is_told_with_its_arguments_and_options(self):
        text, tool = shown("pinroutectl.1"), os.path.join(BUILD, "pinroutectl")
        listed = re.findall(r"^  ([a-z]\w*) ", said(tool, "--help"), re.M)
        self.assertGreater(len(listed), 8)
        for command in listed:
            usage = re.search(r"^usage: pinroutectl (.*)$", said(tool, command, "--help"), re.M)[1]
            self.assertIn(f" {usage} ", text)

    def test_a_marker_that_no_table_knows_makes_no_page(self):
        for marker in ("@OPTION cluster pin_second@", "@REASONS of@", "@STATUS OKAY@"):
            done = run(TABLES, input=f"{marker}\n")
            self.assertEqual((done.returncode, "line 1" in done.stdout), (1, True), marker)


class Calls(unittest.TestCase):
    def test_man_finds_every_exported_call(self):
        exported = re.findall(r"^\s+(pinroute_\w+);", read(SOURCE, "client", "pinroute.map"), re.M)
        found = {*names(), *links()}
        self.assertEqual([name for name in exported if name + ".3" not in found], [])

    def test_the_page_that_man_finds_for_a_call_shows_it(self):
        for call, page in {**{name: name for name in names()}, **links()}.items():
            if call.endswith(".3") and call != "libpinroute.3":
                self.assertIn(f"{call[:-2]}(", re.search("# SYNOPSIS\n(.*?)\n# ", source(page).replace("*", ""), re.S)[1], page)

    def test_a_synopsis_declares_what_the_header_declares(self):
        for page in (page for page in names() if page.endswith(".3")):
            self.compile(blocks(page, "SYNOPSIS"), page)

    def test_examples_compile_without_a_warning(self):
        for page in (page for page in names() if page.endswith(".3")):
            self.assertTrue(blocks(page, "EXAMPLES"), f"{page} has no example")
            self.compile(blocks(page, "EXAMPLES"), page)

    def compile(self, texts, page):
        for text in texts:
            if "#include <pinroute.h>" not in text:
                text = "#include <pinroute.h>\n#include <stdio.h>\n#include <string.h>\n" + text
            done = run("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{SOURCE}/client", "-fsyntax-only", "-xc", "-", input=text)
            self.assertEqual((done.returncode, done.stdout), (0, ""), page)


class Pages(unittest.TestCase):
    def test_mandoc_finds_nothing_wrong(self):
        self.assertGreater(len(names()), 10)
        done = run("mandoc", "-T", "lint", "-W", "warning", *(os.path.join(MAN, page) for page in names()))
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_a_page_that_is_referred_to_exists(self):
        ours = re.compile(r"\*((?:lib)?pinroute[\w.]*)\*(?:\((\d)\))")
        for page in names():
            missing = {f"{name}.{section}" for name, section in ours.findall(source(page))} - {*names(), *links()}
            self.assertEqual(missing, set(), page)

    def test_constants_that_a_page_names_are_the_headers(self):
        header = read(SOURCE, "client", "pinroute.h")
        for page in names():
            named = set(re.findall(r"\bPINROUTE_[A-Z][A-Z_]*[A-Z]\b", shown(page))) - {"PINROUTE_DIR"}
            self.assertEqual([word for word in sorted(named) if word not in header], [], page)

    def test_examples_of_configs_are_accepted(self):
        with tempfile.TemporaryDirectory() as place:
            path, keys = os.path.join(place, "pinrouted.ini"), os.path.join(place, "token.keys")
            with open(keys, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as f:
                f.write(KEY + "\n")
            examples = [text for text in blocks("pinrouted.ini.5", "EXAMPLES") if "[nodes" in text]
            self.assertGreater(len(examples), 1)
            for text in examples:
                with open(path, "w", encoding="ascii") as f:
                    f.write(text.replace("/etc/pinroute/token.keys", keys))
                self.assertRegex(said(os.path.join(BUILD, "pinrouted"), "-t", "-c", path), ": ok, ")

    def test_examples_of_pinroutectl_name_commands_that_it_has(self):
        listed = re.findall(r"^  ([a-z]\w*) ", said(os.path.join(BUILD, "pinroutectl"), "--help"), re.M)
        used = [word for page in names() for text in blocks(page, "EXAMPLES")
                for word in re.findall(r"\bpinroutectl (?:-d \S+ |--json )*([a-z]\w*)", text)]
        self.assertTrue(used)
        self.assertEqual(sorted(set(used) - set(listed)), [])


if __name__ == "__main__":
    if not os.path.exists(TABLES) or not shutil.which("mandoc"):
        raise SystemExit("the pages are not built, or mandoc is not installed: ./run.sh test installs scdoc and mandoc")
    unittest.main()
