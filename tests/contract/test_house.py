"""test_house.py -- the rules of the house that a look at the files, the library and an installation can check.
Needs no server and no daemon."""
import glob
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PINROUTE_BUILD") or os.path.join(SOURCE, "build", "dev")
sys.path.insert(0, os.path.join(SOURCE, "tests", "scenario", "faults"))
import contract  # noqa: E402  (its directory is known only now)

# Whose headers may a layer's files include?  Everything above is out of reach.
MAY_INCLUDE = {
    "proto": ("proto/",),
    "client": ("proto/", "client/"),
    "daemon": ("proto/", "daemon/", "client/pinroute.h"),
}
# Who may include a library's header, among the product's files?
LIBRARIES = {
    "lmdb.h": {"daemon/store.c", "bench/raw.h"},
    "libpq-fe.h": {"daemon/probe.c", "daemon/login.c", "daemon/login.h", "daemon/conninfo.c",
                   "client/examples/prefork_server.c"},
}
# Entry points: what they are made of has unit tests, what they do has scenarios.
NO_UNIT_TEST = re.compile(r"^(daemon/main|client/pinroutectl|client/ctl_\w+|client/examples/\w+)\.c$")
TOP_LEVEL = {"CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", "run.sh", "bench", "client", "daemon",
             "packaging", "proto", "tests", "build"}


def files(*patterns):
    found = [path for pattern in patterns for path in glob.glob(pattern, root_dir=SOURCE, recursive=True)]
    return sorted(path for path in found if not path.startswith("build/"))


def lines(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as f:
        return f.read().splitlines()


def includes(path, form):
    return [m[1] for m in (re.match(rf"\s*#\s*include\s+{form}", line) for line in lines(path)) if m]


def run(*command, directory=SOURCE, **options):
    done = subprocess.run(command, cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class Layers(unittest.TestCase):
    def test_an_include_points_only_downward(self):
        bad = [f"{path} includes {header}" for layer, allowed in MAY_INCLUDE.items()
               for path in files(f"{layer}/*.c", f"{layer}/*.h") for header in includes(path, '"([^"]+)"')
               if not header.startswith(allowed)]
        self.assertEqual(bad, [])

    def test_an_example_knows_only_what_a_user_knows(self):
        bad = [f"{path} includes {header}" for path in files("client/examples/*.[ch]")
               for header in includes(path, '"([^"]+)"') if "/" in header]
        self.assertEqual(bad, [])

    def test_the_python_extension_knows_only_what_a_user_knows(self):
        bad = [f"{path} includes {header}" for path in files("client/python/src/*.[ch]")
               for header in includes(path, '"([^"]+)"') if header != "pinroute.h" and "/" in header]
        self.assertEqual(bad, [])

    def test_a_library_has_one_door(self):
        for header, allowed in LIBRARIES.items():
            users = {path for path in files("proto/**/*.[ch]", "client/**/*.[ch]", "daemon/**/*.[ch]")
                     if header in includes(path, "<([^>]+)>")}
            self.assertLessEqual(users, allowed, header)

    def test_the_stub_and_what_is_shared_use_libsodium_and_libc_only(self):
        foreign = re.compile(r"lmdb|libpq|event|jansson|systemd")
        bad = [f"{path} includes <{header}>" for path in files("proto/*.[ch]", "client/*.[ch]")
               if not re.match(r"client/(ctl|pinroutectl)", path)
               for header in includes(path, "<([^>]+)>") if foreign.search(header)]
        self.assertEqual(bad, [])


class Files(unittest.TestCase):
    maxDiff = None

    def test_the_first_line_of_each_file_says_its_name_and_noun(self):
        bad = [path for path in files("proto/**/*.[ch]", "client/**/*.[ch]", "daemon/**/*.[ch]", "tests/**/*.[ch]", "bench/**/*.[ch]")
               if not lines(path)[0].startswith(f"/* {os.path.basename(path)} -- ")]
        for path in files("tests/**/*.py", "tests/**/*.sh", "packaging/**/*.sh", "client/python/**/*.py", "bench/*.py", "run.sh"):
            first = next(line for line in lines(path) if not line.startswith("#!"))
            package, name = path.split("/")[-2:] if "/" in path else ("", path)
            names = f"{re.escape(name)}|{re.escape(package)}" if name == "__init__.py" else re.escape(name)
            if not re.match(rf'("""|# )({names}).* -- ', first):
                bad.append(path)
        self.assertEqual(bad, [])

    def test_the_second_line_of_each_c_file_says_what_it_alone_may_do(self):
        bad = [path for path in files("proto/*.c", "client/*.c", "client/python/src/*.c", "daemon/*.c")
               if not lines(path)[1].startswith(" *") and not lines(path)[0].endswith("Pure. */")]
        self.assertEqual(bad, [])

    def test_each_c_file_has_its_unit_test(self):
        missing = [path for path in files("proto/*.c", "client/*.c", "daemon/*.c")
                   if not NO_UNIT_TEST.match(path)
                   and not os.path.exists(os.path.join(SOURCE, "tests", "unit", "test_" + os.path.basename(path)))]
        self.assertEqual(missing, [])

    def test_the_top_level_holds_nothing_without_a_reason(self):
        strangers = {name for name in os.listdir(SOURCE) if not name.startswith(".")} - TOP_LEVEL
        self.assertEqual(strangers, set())

    def test_the_failure_contract_that_is_tested_is_that_of_the_readme(self):
        text = lines("README.md")
        table = itertools.takewhile(lambda line: line.startswith("| "), text[text.index("## When something fails") + 2:])
        rows = [line.split(" | ")[0].removeprefix("| ") for line in table][2:]
        self.assertEqual(rows, [words for words, _ in contract.ROWS.values()])

    def test_c_is_formatted(self):
        tool = shutil.which("clang-format")
        self.assertIsNotNone(tool)
        run(tool, "--dry-run", "-Werror",
            *files("proto/**/*.[ch]", "client/**/*.[ch]", "daemon/**/*.[ch]", "tests/**/*.[ch]", "bench/**/*.[ch]"))

    def test_scripts_pass_shellcheck(self):
        tool = shutil.which("shellcheck")
        self.assertIsNotNone(tool)
        run(tool, *files("run.sh", ".ci/run", "tests/**/*.sh", "packaging/**/*.sh", "packaging/completion/*.bash",
                         "packaging/debian/*.post*"))


class Library(unittest.TestCase):
    def setUp(self):
        self.stub = os.path.join(BUILD, "libpinroute.so")

    def test_it_exports_what_the_version_script_names(self):
        promised = set(re.findall(r"^\s+(pinroute_\w+);", "\n".join(lines("client/pinroute.map")), re.M))
        symbols = run("nm", "-D", "--defined-only", self.stub).splitlines()
        exported = {line.split()[-1].split("@")[0] for line in symbols if line.split()[-2] != "A"}
        self.assertEqual(exported, promised)

    def test_the_header_declares_what_the_version_script_names(self):
        promised = set(re.findall(r"^\s+(pinroute_\w+);", "\n".join(lines("client/pinroute.map")), re.M))
        declared = set(re.findall(r"^(?!static)[a-z][\w \*]*?\b(pinroute_\w+)\(", "\n".join(lines("client/pinroute.h")), re.M))
        self.assertEqual(declared, promised)

    def test_it_links_libsodium_and_libc_only(self):
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", self.stub))
        self.assertEqual([name for name in needed if not re.match(r"(libsodium|libc|ld-linux[\w-]*)\.so", name)], [])

    def test_its_soname_is_libpinroute_so_0(self):
        self.assertIn("[libpinroute.so.0]", run("readelf", "-d", self.stub))

    def test_the_header_is_c99_on_its_own(self):
        with tempfile.TemporaryDirectory() as place:
            program = os.path.join(place, "only.c")
            with open(program, "w", encoding="ascii") as f:
                f.write("#include <pinroute.h>\nint main(void) { return (int)sizeof(struct pinroute_scope) == 0; }\n")
            run("gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-Iclient", program)


class Installation(unittest.TestCase):
    """`cmake --install build/release --prefix P`, and a program of somebody else's: tests/outside."""

    def built_outside(self, *commands):
        """What it says without a daemon, made by these commands in a directory of its own that is a copy."""
        with tempfile.TemporaryDirectory() as place:
            there = shutil.copytree(os.path.join(SOURCE, "tests", "outside"), os.path.join(place, "outside"))
            for command in commands:
                run(*command, env=self.env, directory=there)
            program = next(path for path in ("outside", "build/outside") if os.path.isfile(os.path.join(there, path)))
            done = subprocess.run([os.path.join(there, program), "main", "somebody"], text=True, stdout=subprocess.PIPE,
                                  env={**self.env, "PINROUTE_DIR": place})
            return done.stdout.split()[-1]

    def test_it_gives_the_promised_files_and_outside_programs_find_them_build_and_run(self):
        build = os.path.join(SOURCE, "build", "release")
        with tempfile.TemporaryDirectory() as prefix:
            run("cmake", "--preset", "release", directory=SOURCE)
            run("cmake", "--build", build)
            run("cmake", "--install", build, "--prefix", prefix)
            for path in ("bin/pinrouted", "bin/pinroutectl", "include/pinroute.h", "lib/libpinroute.so",
                         "lib/libpinroute.so.0", "lib/pkgconfig/pinroute.pc", "lib/cmake/pinroute/pinrouteConfig.cmake"):
                self.assertTrue(os.path.exists(os.path.join(prefix, path)), path)
            self.env = {**os.environ, "PKG_CONFIG_PATH": os.path.join(prefix, "lib", "pkgconfig"),
                        "CMAKE_PREFIX_PATH": prefix, "LD_LIBRARY_PATH": os.path.join(prefix, "lib")}
            self.assertEqual(self.built_outside(["make"]), "STORE_UNAVAILABLE")
            self.assertEqual(self.built_outside(["cmake", "-G", "Ninja", "-B", "build"], ["cmake", "--build", "build"]),
                             "STORE_UNAVAILABLE")
            flags = run("pkg-config", "--cflags", "--libs", "pinroute", "libpq", env=self.env).split()
            run("gcc", "-Wall", "-Werror", os.path.join(SOURCE, "client/examples/prefork_server.c"), "-o",
                os.path.join(prefix, "prefork_server"), *flags)


if __name__ == "__main__":
    unittest.main()
