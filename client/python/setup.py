"""setup.py -- what `pip install ./client/python` builds: the extension, pinroute.django, and multidb.

Needs the whole source, since libpinroute is compiled into the extension from beside this directory, a C compiler,
python3-dev and libsodium-dev; no network.  What is built on the way lies in a temporary directory, not in here.
"""
import atexit
import os
import re
import shutil
import sys
import tempfile
from glob import glob

from setuptools import Extension, find_packages, setup

os.chdir(os.path.dirname(os.path.abspath(__file__)))
SOURCE = os.path.realpath(os.path.join("..", ".."))
CLIENT = os.path.join(SOURCE, "client")
SCRATCH = tempfile.mkdtemp(prefix="pinroute-setup-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)


def library():
    """The C files of libpinroute, by absolute paths: with relative ones objects would land beside SCRATCH."""
    if not os.path.exists(os.path.join(CLIENT, "pinroute.h")):
        sys.exit(f"setup.py: no libpinroute in {CLIENT}: install from a whole source tree")
    paths = [path for path in glob(os.path.join(CLIENT, "*.c"))
             if not re.match(r"ctl_|pinroutectl", os.path.basename(path))]
    return sorted(paths) + sorted(glob(os.path.join(SOURCE, "proto", "*.c")))


def version():
    with open(os.path.join(CLIENT, "pinroute.h"), encoding="utf-8") as f:
        return re.search(r'^#define PINROUTE_VERSION "(.*)"', f.read(), re.M)[1]


extension = Extension(
    "pinroute._pinroute",
    sources=sorted(glob("src/*.c")) + library(),
    depends=glob("src/*.h") + glob(os.path.join(CLIENT, "*.h")) + glob(os.path.join(SOURCE, "proto", "*.h")),
    include_dirs=[SOURCE, CLIENT],
    define_macros=[("_GNU_SOURCE", None)],
    libraries=["sodium"],
    extra_compile_args=["-std=gnu17", "-fvisibility=hidden"],
    extra_link_args=["-Wl,--version-script=src/exports.map", "-Wl,--as-needed"],
    py_limited_api=True,
)

setup(
    name="pinroute",
    version=version(),
    description="Which PostgreSQL server should this process's next read go to?",
    license="BSD-2-Clause",
    python_requires=">=3.11",
    packages=find_packages(include=["pinroute", "pinroute.*", "multidb", "multidb.*"]),
    package_data={"pinroute": ["py.typed", "*.pyi"]},
    ext_modules=[extension],
    zip_safe=False,
    options={
        "build": {"build_base": os.path.join(SCRATCH, "build")},
        "egg_info": {"egg_base": SCRATCH},
        "bdist_wheel": {"py_limited_api": "cp311"},
    },
)
