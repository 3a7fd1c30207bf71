"""test_packaging.py -- service, users, directory, config and packages agree with each other and with the programs.
Needs pinrouted and systemd's tools; no server and no service manager."""
import os
import re
import subprocess
import tempfile
import unittest

SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PINROUTE_BUILD") or os.path.join(SOURCE, "build", "dev")
UNIT = "packaging/systemd/pinrouted.service"
EXPOSURE = 1.5  # of 10, by systemd-analyze's own count
AS_ROOT = unittest.skipUnless(os.geteuid() == 0, "only root can give a directory away")


def read(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as f:
        return f.read()


def run(*command):
    done = subprocess.run(command, cwd=SOURCE, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def option(name, text):
    return re.search(rf"(?m)^{name} *= *([^ ;\n]+)", text)[1]


class Service(unittest.TestCase):
    def test_the_unit_leaves_a_daemon_that_was_taken_over_little(self):
        said = run("systemd-analyze", "--no-pager", "security", "--offline=true", UNIT)
        level = float(re.search(r"exposure level for pinrouted.service: ([0-9.]+)", said)[1])
        self.assertLessEqual(level, EXPOSURE, said)

    def test_the_unit_has_no_word_that_systemd_does_not_know(self):
        with tempfile.TemporaryDirectory() as place:  # where the programs are, so that they are no matter
            copy = os.path.join(place, "pinrouted.service")
            with open(copy, "w", encoding="utf-8") as f:
                f.write(re.sub(r"(?m)^(Exec\w+=)\S+", r"\1/bin/true", re.sub(r"(?m)^Documentation=.*\n", "", read(UNIT))))
            self.assertEqual(run("systemd-analyze", "verify", copy), "")


class Users(unittest.TestCase):
    """Whom packaging/sysusers makes, in a file system that has nobody yet."""

    def setUp(self):
        self.root = self.enterContext(tempfile.TemporaryDirectory())
        os.mkdir(os.path.join(self.root, "etc"))
        run("systemd-sysusers", f"--root={self.root}", os.path.join(SOURCE, "packaging/sysusers/pinrouted.conf"))
        self.groups = {row[0]: row for row in self.rows("group")}

    def rows(self, name):
        with open(os.path.join(self.root, "etc", name), encoding="ascii") as f:
            return [line.rstrip("\n").split(":") for line in f]

    def test_config_and_unit_name_them_and_the_daemon_belongs_to_both_groups(self):
        config, unit = read("packaging/pinrouted.ini"), read(UNIT)
        user = option("User", unit)
        self.assertEqual([row[0] for row in self.rows("passwd")], [user])
        for group in (option("group", config), option("operator_group", config)):
            self.assertEqual(self.groups[group][3], user)

    def test_nobody_else_is_in_the_group_that_may_read_the_config(self):
        user = self.rows("passwd")[0]
        self.assertEqual(self.groups[user[0]][2:], [user[3], ""])
        self.assertIn(f"chown root:{user[0]} ", read("packaging/debian/pinrouted.postinst"))

    @AS_ROOT
    def test_the_directory_is_the_daemon_s_and_its_workers_and_one_that_is_there_stays_as_it_is(self):
        conf = os.path.join(SOURCE, "packaging/tmpfiles/pinrouted.conf")
        store = os.path.join(self.root, option("ReadWritePaths", read(UNIT)).lstrip("/"))
        made = ["systemd-tmpfiles", f"--root={self.root}", "--create", conf]
        run(*made)
        stat = os.stat(store)
        workers = self.groups[option("group", read("packaging/pinrouted.ini"))]
        self.assertEqual((str(stat.st_uid), str(stat.st_gid), stat.st_mode & 0o7777), (self.rows("passwd")[0][2], workers[2], 0o750))
        os.chown(store, stat.st_uid, 0)
        run(*made)
        self.assertEqual(os.stat(store).st_gid, 0)


class Packages(unittest.TestCase):
    def test_the_config_that_is_shipped_is_one_that_the_daemon_takes(self):
        text = re.sub(r"(?m)^(operator_)?group .*\n", "", read("packaging/pinrouted.ini"))  # this host has none of them
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as f:
            f.write(text)
            f.flush()
            self.assertEqual(run(os.path.join(BUILD, "pinrouted"), "-t", "-c", f.name), f"{f.name}: ok, 1 cluster\n")

    def test_the_config_s_examples_are_ones_too(self):
        text = re.sub(r"(?m)^; (\w[\w-]* *= )", r"\1", read("packaging/pinrouted.ini"))
        text = re.sub(r"(?m)^(operator_)?group .*\n|^key_file.*\n|^default = host=/nowhere.*\n", "", text)
        self.assertIn("\nshadow-2 = ", text)
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as f:
            f.write(text)
            f.flush()
            run(os.path.join(BUILD, "pinrouted"), "-t", "-c", f.name)

    def test_the_symbols_of_the_library_s_package_are_those_that_it_exports(self):
        exported = re.findall(r"(?m)^\s+(pinroute_\w+);", read("client/pinroute.map"))
        listed = re.findall(r"(?m)^ (pinroute_\w+)@PINROUTE_0 ", read("packaging/debian/libpinroute0.symbols"))
        self.assertEqual(sorted(listed), sorted(exported))

    def test_a_changelog_has_the_version_and_time_that_it_is_given(self):
        said = run("packaging/changelog.sh", "1.2.3-4", "1000000000")
        self.assertTrue(said.startswith("pinroute (1.2.3-4) "), said)
        self.assertTrue(said.endswith(">  Sun, 09 Sep 2001 01:46:40 +0000\n"), said)


if __name__ == "__main__":
    unittest.main()
