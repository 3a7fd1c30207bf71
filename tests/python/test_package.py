#!/usr/bin/env python3
"""test_package.py -- the package `pinroute` as a whole: its words, its types, its one symbol, and what pip makes of it.
ctest: parallel"""
import ast
import gc
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from extension import SOURCE, run_python

import pinroute  # found by extension.py
from pinroute import _pinroute


class Module(unittest.TestCase):
    def header(self):
        with open(os.path.join(SOURCE, "client", "pinroute.h"), encoding="utf-8") as f:
            return re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)

    def test_the_constants_are_the_headers(self):
        numbers = {}
        for body in re.findall(r"enum pinroute_\w+ \{(.*?)\};", self.header(), re.S):
            number = -1
            for name, given in re.findall(r"PINROUTE_(\w+)(?: = (\d+))?", body):
                number = int(given) if given else number + 1
                numbers[name] = number
        self.assertEqual(len(numbers), 12 + 2 + 12)
        numbers["KEY_MAX"] = int(re.search(r"PINROUTE_KEY_MAX +(\d+)", self.header())[1])
        mine = {name: value for name, value in vars(_pinroute).items() if name.isupper()}
        self.assertEqual(mine, numbers)
        self.assertLessEqual(set(numbers), set(pinroute.__all__))

    def test_words_are_the_librarys(self):
        self.assertIn(pinroute.version(), self.header())
        self.assertEqual(pinroute.__version__, pinroute.version())
        self.assertEqual(pinroute.reason_name(pinroute.CAUGHT_UP), "CAUGHT_UP")
        self.assertEqual(pinroute.reason_name(99), "UNKNOWN")
        self.assertIn("pinned", pinroute.strerror(pinroute.E_UNREACHABLE))
        methods = ("GET", "HEAD", "OPTIONS", "TRACE", "POST", "get", "", None)
        self.assertEqual([method for method in methods if not pinroute.http_method_writes(method)], list(methods[:4]))

    def test_the_type_stub_says_what_the_module_says(self):
        with open(os.path.join(SOURCE, "client", "python", "pinroute", "_pinroute.pyi"), encoding="utf-8") as f:
            stub = ast.parse(f.read())
        self.assertEqual(self.said(_pinroute), self.written(stub.body))
        for node in stub.body:
            if isinstance(node, ast.ClassDef):
                owner = getattr(_pinroute, node.name)
                self.assertEqual(self.said(owner), self.written(node.body), node.name)
                for call in node.body:
                    self.check_names(owner, call)

    @staticmethod
    def said(owner):
        """{name: docstring} of what the module or class offers; None for a constant."""
        return {name: None if isinstance(thing, int) else inspect.getdoc(thing) for name, thing in vars(owner).items()
                if not name.startswith("__") or name in ("__enter__", "__exit__")}

    @staticmethod
    def written(body):
        names = {}
        for node in body:
            if isinstance(node, ast.AnnAssign):
                names[node.target.id] = None
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name != "__new__":
                names[node.name] = ast.get_docstring(node)
        return names

    def check_names(self, owner, call):
        """Are the arguments called the same?"""
        if isinstance(call, ast.FunctionDef) and not call.decorator_list and call.name != "__new__":
            given = call.args
            names = [a.arg for a in given.posonlyargs + given.args] + ([given.vararg.arg] if given.vararg else [])
            self.assertEqual(list(inspect.signature(getattr(owner, call.name)).parameters), names)

    def test_everything_public_has_a_docstring(self):
        names = [name for name in pinroute.__all__ if not name.isupper()]
        self.assertEqual([name for name in names if not inspect.getdoc(getattr(pinroute, name))], [])

    def test_it_exports_its_init_function_only_and_keeps_to_the_stable_abi(self):
        symbols = subprocess.run(["nm", "-D", _pinroute.__file__], text=True, capture_output=True, check=True).stdout
        self.assertEqual(re.findall(r"^[0-9a-f]+ [A-Z] (\w+)", symbols, re.M), ["PyInit__pinroute"])
        stable = {"_Py_Dealloc", "_Py_NoneStruct", "_PyObject_New", "_PyArg_ParseTupleAndKeywords_SizeT"}
        self.assertEqual(set(re.findall(r" U (_Py\w+)", symbols)) - stable, set())
        self.assertEqual(os.path.basename(_pinroute.__file__), "_pinroute.abi3.so")

    def test_importing_it_again_is_harmless(self):
        program = """if True:
            import gc, sys, pinroute
            for _ in range(5):
                router = pinroute.Router("/nonexistent")
                scope = router.scope(router.cluster("main"), "k")
                for name in [name for name in sys.modules if name.split(".")[0] == "pinroute"]:
                    del sys.modules[name]
                import pinroute as again
                assert again.Router is not pinroute.Router
                pinroute = again
                gc.collect()
                assert scope.read().reason == again.STORE_UNAVAILABLE
            print("fine")
            """
        self.assertEqual(run_python(program), "fine\n")

    def test_subinterpreters_have_one_each(self):
        program = """if True:
            import _xxsubinterpreters as interpreters, pinroute
            inside = "import pinroute; r = pinroute.Router('/nonexistent'); s = r.scope(r.cluster('main'), 'k'); " \
                     "assert repr(s.read()).startswith('Decision('); assert s.end() == pinroute.OK"
            ids = [interpreters.create() for _ in range(3)]
            for interpreter in ids * 2:
                interpreters.run_string(interpreter, inside)
            for interpreter in ids:
                interpreters.destroy(interpreter)
            exec(inside)
            print("fine")
            """
        self.assertEqual(run_python(program), "fine\n")

    def test_a_program_ends_in_peace_with_everything_open(self):
        program = """if True:
            import pinroute
            class Last:
                def __del__(self):
                    self.scope.wrote()
                    print(self.router.route_read(0).reason_name, self.scope.end(), self.router.scope(0, "k").node())
            last = Last()
            last.router = pinroute.Router("/nonexistent", timeout_ms=1)
            last.router.cluster("main")
            last.scope = last.router.scope(0, "k")
            last.me = last
            pinroute.last = last
            """
        self.assertEqual(run_python(program).strip(), "STORE_UNAVAILABLE 5")


class Installation(unittest.TestCase):
    """pip, with Debian's Python and without a network."""

    PROGRAM = """if True:
        import os, pinroute, sys
        router = pinroute.Router("/nonexistent", timeout_ms=1)
        main = router.cluster("main")
        with router.scope(main, "k") as scope:
            scope.wrote()
        print(pinroute.__file__.startswith(sys.prefix), router.route_read(main, "k").reason_name, pinroute.version())
        here = os.path.dirname(pinroute.__file__)
        assert {"py.typed", "_pinroute.pyi", "_pinroute.abi3.so"} <= set(os.listdir(here)), os.listdir(here)
        """

    def setUp(self):
        self.place = tempfile.mkdtemp(prefix="pinroute-pip-")
        self.addCleanup(shutil.rmtree, self.place)
        self.python = os.path.join(self.place, "venv", "bin", "python3")
        subprocess.run(["/usr/bin/python3", "-m", "venv", os.path.join(self.place, "venv")], check=True)
        alone = ["unshare", "--net"]
        if subprocess.run([*alone, "true"], capture_output=True).returncode:
            alone = []  # then PIP_NO_INDEX must do
        self.pip = [*alone, self.python, "-m", "pip", "install", "--force-reinstall"]

    def run_in(self, where, *command):
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        env |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(command, cwd=where, env=env, text=True, timeout=120, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
        return done.stdout

    @staticmethod
    def tree(top):
        """The files of the source that pip could litter."""
        walk = os.walk(os.path.join(top, "client"))
        return {os.path.join(where, name) for where, _, names in walk for name in names if "__pycache__" not in where}

    @staticmethod
    def packages(top):
        root = os.path.join(top, "client", "python")
        return {os.path.relpath(where, root) for where, _, names in os.walk(root) if "__init__.py" in names}

    def test_pip_installs_it_offline_from_the_tree_and_from_a_copy_and_litters_neither(self):
        copied = os.path.join(self.place, "copied source")
        no_cache = shutil.ignore_patterns("__pycache__")
        for part in ("client", "proto"):
            shutil.copytree(os.path.join(SOURCE, part), os.path.join(copied, part), ignore=no_cache)
        installed = os.path.join(self.place, "venv", "lib", "python3.11", "site-packages")
        for top, where, given in ((SOURCE, SOURCE, "./client/python"), (copied, "/", f"{copied}/client/python")):
            with self.subTest(top):
                before = self.tree(top)
                self.run_in(where, *self.pip, given)
                self.assertEqual(self.tree(top) - before, set())
                said = self.run_in("/", self.python, "-c", self.PROGRAM)
                self.assertEqual(said, f"True STORE_UNAVAILABLE {pinroute.version()}\n")
                for package in self.packages(top):
                    self.assertTrue(os.path.exists(os.path.join(installed, package, "__init__.py")), package)


if __name__ == "__main__":
    unittest.main()
