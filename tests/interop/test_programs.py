"""How the other programs come here: once, with the others waiting, and with a reason where they do not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.support import programs
from tests.support.gateway import environment


class Installing(SynchronousTestCase):
    """With installers of ours, first in PATH; each call of one is a line of `calls`."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.bin = self.folder / "bin"
        self.bin.mkdir(parents=True)
        self.calls = self.folder / "calls"
        self.calls.touch()
        self.patch(programs, "place", lambda: self.folder / "interop")
        self.patch(programs, "_failures", {})
        self.patch(programs, "say", lambda line: None)
        self.path(str(self.bin), os.environ["PATH"])

    def path(self, *folders: str) -> None:
        self.patch(os, "environ", {**os.environ, "PATH": ":".join(folders)})

    def installer(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f'#!/bin/sh\necho {name} "$@" >>"{self.calls}"\n{script}\n')
        file.chmod(0o755)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def apt(self, before: str = "") -> None:
        """An apt-get that downloads a package whose file /usr/share/thing says `hello`."""
        if shutil.which("dpkg-deb") is None:
            raise SkipTest("there is no dpkg-deb here")
        made = self.folder / "package"
        (made / "DEBIAN").mkdir(parents=True)
        (made / "DEBIAN" / "control").write_text("Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n")
        (made / "usr" / "share").mkdir(parents=True)
        (made / "usr" / "share" / "thing").write_text("hello")
        (made / "usr" / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
        deb = self.folder / "thing.deb"
        subprocess.run(["dpkg-deb", "-b", str(made), str(deb)], check=True, capture_output=True)
        cache = 'for a in "$@"; do case $a in Dir::Cache=*) cache=${a#*=} ;; install) what=install ;; esac; done'
        self.installer("apt-get", f'{before}\n{cache}\n[ "$what" != install ] || cp "{deb}" "$cache/archives/"')

    def skipped(self, what: str) -> str:
        return str(self.assertRaises(SkipTest, programs.debian, what))

    def test_debian(self) -> None:
        self.apt()
        tree = programs.debian("thing")
        self.assertEqual((tree.root / "usr" / "share" / "thing").read_text(), "hello")
        libraries = f"LD_LIBRARY_PATH={tree.root}/usr/lib/x86_64-linux-gnu"
        self.assertEqual(tree.command("bin/x", "-v"), ["env", libraries, f"{tree.root}/bin/x", "-v"])
        self.assertEqual(programs.debian("thing"), tree)
        (call,) = self.called()
        for wanted in ("--download-only", "--no-install-recommends", " thing"):
            self.assertIn(wanted, call)
        self.assertEqual([p.name for p in (self.folder / "interop").iterdir() if "." not in p.name], [tree.root.name])

    def test_debian_with_lists_of_packages_that_are_too_old(self) -> None:
        self.apt('case "$*" in *Dir::State::lists*) ;; *) echo "E: Unable to locate package" >&2; exit 100 ;; esac')
        programs.debian("thing")
        first, update, again = self.called()
        self.assertNotIn("Dir::State::lists", first)
        self.assertIn(" update", update)
        self.assertIn("--download-only", again)

    def test_debian_that_has_it_not(self) -> None:
        self.apt("echo E: Unable to locate package thing >&2; exit 100")
        self.assertEqual(self.skipped("thing"), "thing: apt-get failed: E: Unable to locate package thing")
        calls = len(self.called())
        self.assertIn("Unable to locate", self.skipped("thing"))
        self.assertEqual(len(self.called()), calls)  # told again, not tried again
        self.assertEqual([p.name for p in (self.folder / "interop").iterdir() if not p.name.endswith(".lock")], [])

    def test_no_apt(self) -> None:
        self.path(str(self.bin))
        self.assertEqual(self.skipped("thing"), "thing: there is no apt-get here")

    def test_an_installer_that_does_not_end(self) -> None:
        self.apt("exec sleep 600")
        self.patch(programs, "_LONGEST", 0.2)
        self.assertIn("apt-get did not end within", self.skipped("thing"))

    def test_a_folder_that_cannot_be_written_to(self) -> None:
        (self.folder / "interop").touch()
        self.apt()
        self.assertIn("thing: ", self.skipped("thing"))

    def test_node_of_the_machine(self) -> None:
        self.installer("node", "")
        self.installer("npm", 'while [ "$1" != --prefix ]; do shift; done; mkdir -p "$2/node_modules/thing"')
        found = programs.node("thing@1")
        self.assertEqual(found.executable, self.bin / "node")
        self.assertTrue((found.modules / "thing").is_dir())
        self.assertEqual(found.command(Path("x.js"), "y"), ["env", f"NODE_PATH={found.modules}", str(self.bin / "node"), "x.js", "y"])
        self.assertEqual(programs.node("thing@1"), found)
        (call,) = self.called()
        self.assertIn("--ignore-scripts", call)
        self.assertTrue(call.endswith(" thing@1"))

    def test_npm_that_fails(self) -> None:
        self.installer("node", "")
        self.installer("npm", "echo no such thing; exit 1")
        self.assertEqual(str(self.assertRaises(SkipTest, programs.node, "thing@1")), f"thing@1: {self.bin}/npm failed: no such thing")

    def test_no_node(self) -> None:
        """The one that PyPI has, by pip."""
        self.path(str(self.bin))
        self.installer("python", 'echo nothing to be had; exit 1')
        self.patch(sys, "executable", str(self.bin / "python"))
        self.assertIn("nothing to be had", str(self.assertRaises(SkipTest, programs.node, "thing@1")))
        (call,) = self.called()
        self.assertIn("pip install -q --target", call)

    def test_several_processes_at_once(self) -> None:
        self.apt("sleep 0.3")
        script = (
            "import pathlib, sys; from tests.support import programs; "
            "programs.place = lambda: pathlib.Path(sys.argv[1]); print(programs.debian('thing').root)"
        )
        command = [sys.executable, "-c", script, str(self.folder / "interop")]
        several = [
            subprocess.Popen(command, env={**environment(), "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for _ in range(3)
        ]
        found = {p.communicate(timeout=60)[0] for p in several}
        self.assertEqual(([p.returncode for p in several], len(found), len(self.called())), ([0, 0, 0], 1, 1))
