"""test_completion.py -- what a shell offers behind pinroutectl: the tool's own words, and the names that the daemon has.
The daemon is a socket that answers with canned JSON."""
# ctest: parallel
import os
import pty
import re
import select
import shutil
import subprocess
import time
import unittest

import harness
import test_ctl_offline as offline

PLACE = os.path.join(harness.SOURCE, "packaging", "completion")
BASH, ZSH = os.path.join(PLACE, "pinroutectl.bash"), os.path.join(PLACE, "_pinroutectl")
STATUS = {"ok": True, "clusters": [{"name": "main", "nodes": [{"name": "default"}, {"name": "shadow-1"}]},
                                   {"name": "other", "nodes": [{"name": "only"}]}]}


def table():
    """client/ctl_commands.h: {command: its options' words}, and the words of `show`."""
    with open(os.path.join(harness.SOURCE, "client", "ctl_commands.h"), encoding="utf-8") as f:
        text = f.read().replace("\\\n", " ")
    options = {letter: [f"-{letter}", f"--{name}"] for letter, name in re.findall(r"X\('(.)', \"([a-z]+)\"", text)}
    rows = re.findall(r'X\(([a-z_]+), (?:"[^"]*"|CTL_SHOW_WORDS), \d, \d, "([a-z]*)",\s*"([^"]*)"', text)
    commands = {name: [word for letter in letters for word in options[letter]] for name, letters, said in rows if said}
    return commands, re.search(r'define CTL_SHOW_WORDS "([^"]*)"', text)[1].split("|")


class Completion(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.commands, cls.shows = table()
        cls.options = ["-d", "--dir", "--json", "-h", "--help", "-V", "--version"]

    def setUp(self):
        self.dir = harness.scratch()
        self.addCleanup(shutil.rmtree, self.dir)

    def daemon(self):
        daemon = offline.FakeDaemon(self.dir, lambda line: STATUS)
        self.addCleanup(daemon.close)

    def bash(self, *words):
        """What COMPREPLY holds for the last of these words, sorted; nothing may be said on stderr."""
        script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pinroutectl; printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", BASH, offline.CTL, *words], text=True, capture_output=True,
                              env={**os.environ, "PINROUTE_DIR": self.dir}, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return sorted(done.stdout.split())

    def test_the_table_that_is_compared_with_is_the_tool_s(self):
        said = subprocess.run([offline.CTL, "--help"], text=True, capture_output=True, timeout=30).stdout
        self.assertEqual(re.findall(r"^  ([a-z]+) .* {2,}\S", said, re.M), list(self.commands))
        self.assertIn("show", self.commands)
        self.assertEqual(self.commands["top"], ["-i", "--interval", "-n", "--count"])

    def test_bash_offers_every_command_option_and_word_of_the_table_and_no_other(self):
        self.assertEqual(self.bash(""), sorted(self.commands))
        self.assertEqual(self.bash("--json", "re"), ["ready", "release", "reload"])
        self.assertEqual(self.bash("show", ""), sorted(self.shows))
        for command, own in self.commands.items():
            self.assertEqual(self.bash(command, "-"), sorted(self.options + own), command)
        self.assertEqual(self.bash("-"), sorted(self.options))

    def test_bash_asks_the_running_daemon_for_names(self):
        self.daemon()
        for command in ("why", "watch", "pin", "release"):
            self.assertEqual(self.bash(command, ""), ["main", "other"], command)
        for command in ("drain", "maint", "ready"):
            self.assertEqual(self.bash(command, "s"), ["shadow-1"], command)
            self.assertEqual(self.bash(command, "main/"), ["main/default", "main/shadow-1"], command)
        self.assertEqual(self.bash("watch", "-c", "o"), ["other"])
        for words in (["why", "main", ""], ["status", ""], ["top", "-i", ""], ["top", "-n", "1", ""]):
            self.assertEqual(self.bash(*words), [], words)

    def test_bash_asks_the_daemon_whose_directory_stands_there(self):
        self.daemon()
        elsewhere, self.dir = self.dir, "/nonexistent"
        self.assertEqual(self.bash("-d", elsewhere, "drain", "o"), ["only", "other/only"])
        self.assertEqual(self.bash("-d", elsewhere[:-2]), [elsewhere])

    def test_without_a_daemon_nothing_is_offered_and_nothing_is_said(self):
        self.assertEqual(self.bash("drain", ""), [])
        self.assertEqual(self.bash("why", ""), [])

    def test_bash_knows_whom_it_is_for(self):
        said = subprocess.run(["bash", "--norc", "-c", f"source {BASH}; complete -p pinroutectl"], text=True, capture_output=True, timeout=30)
        self.assertEqual(said.stdout, "complete -F _pinroutectl pinroutectl\n")

    # ---- zsh ----

    def test_zsh_s_lists_are_the_table_s(self):
        with open(ZSH, encoding="utf-8") as f:
            text = f.read()
        self.assertEqual(re.findall(r"^    ['\"]([a-z]+):", text, re.M), list(self.commands))
        self.assertEqual(re.search(r"shows=\(([^)]*)\)", text)[1].split(), self.shows)
        offered = re.findall(r"\{(-\w),(--[a-z]+)\}", text) + re.findall(r"'(--json)\[", text)
        offered = {word for words in offered for word in ([words] if isinstance(words, str) else words)}
        self.assertEqual(offered, set(self.options).union(*self.commands.values()))

    @harness.needs_terminal
    @unittest.skipUnless(shutil.which("zsh"), "no zsh here")
    def test_zsh_takes_it_for_pinroutectl_and_completes_from_it(self):
        self.daemon()
        env = {"PATH": f"{harness.BUILD}:/usr/bin:/bin", "PINROUTE_DIR": self.dir, "HOME": self.dir, "ZDOTDIR": self.dir, "TERM": "dumb",
               "LC_ALL": "C"}
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(shutil.which("zsh"), ["zsh", "-f", "-i"], env)
        self.addCleanup(os.close, fd)
        said = b""

        def expect(pattern):
            nonlocal said
            deadline = time.monotonic() + 20
            while not (found := re.search(pattern, said)):
                self.assertLess(time.monotonic(), deadline, said)
                if select.select([fd], [], [], 0.1)[0]:
                    said += os.read(fd, 65536)
            said = said[found.end():]

        os.write(fd, f"PS1='ready> '; unsetopt zle_bracketed_paste; fpath=({PLACE} $fpath); autoload -Uz compinit; compinit -u -D; "
                     "bindkey '^I' complete-word; print is=$_comps[pinroutectl]\n".encode())
        expect(rb"is=_pinroutectl\r?\n")
        expect(rb"ready> ")
        for typed, completed in ((b"stat\t", rb"status"), (b"show conf\t", rb"config"), (b"drain shad\t", rb"shadow-1"),
                                 (b"why oth\t", rb"other"), (b"top --inter\t", rb"interval")):
            os.write(fd, b"pinroutectl " + typed)
            expect(completed)
            os.write(fd, b"\x15")  # takes the line away
        os.write(fd, b"exit\n")
        os.waitpid(pid, 0)


if __name__ == "__main__":
    unittest.main()
