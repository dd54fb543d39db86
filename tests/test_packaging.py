"""The built wheel alone, in a fresh environment, brings the twistd plugins, the schema and the command."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output and error of a program that must succeed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    result = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if result.returncode:
        raise AssertionError(f"{command} ended with {result.returncode}:\n{result.stdout}")
    return result.stdout


class Sources(SynchronousTestCase):
    def test_every_package_is_listed(self) -> None:
        config = configparser.ConfigParser()
        config.read(ROOT / "setup.cfg")
        listed = config["options"]["packages"].split()
        found = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("protei_bulk/**/__init__.py")}
        self.assertEqual(set(listed), found | {"twisted.plugins"})

    def test_twisted_stays_a_folder_of_its_own_package(self) -> None:
        """An __init__.py there would hide Twisted itself, or all the other plugins."""
        self.assertEqual(list((ROOT / "twisted").glob("**/__init__.py")), [])

    def test_launchers_may_be_run(self) -> None:
        for name in ("bin/quickstart", "bin/test", "bin/check", "bin/protei-bulk", "bin/bench", "bin/pictures", "bin/translate", ".ci/run"):
            self.assertTrue(os.access(ROOT / name, os.X_OK), name)
            run("bash", "-n", ROOT / name, cwd=ROOT)


class Wheel(SynchronousTestCase):
    """One wheel, built from a copy so that nothing is left in the sources."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        source = self.folder / "source"
        shutil.copytree(ROOT / "protei_bulk", source / "protei_bulk")
        shutil.copytree(ROOT / "twisted", source / "twisted")
        for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / name, source)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q")
        run(*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", self.folder, source, cwd=self.folder)
        (self.wheel,) = self.folder.glob("protei_bulk-*.whl")

    def test_contents(self) -> None:
        with zipfile.ZipFile(self.wheel) as archive:
            names = set(archive.namelist())
        modules = {str(p.relative_to(ROOT)) for p in ROOT.glob("protei_bulk/**/*.py")}
        schema = {str(p.relative_to(ROOT)) for p in ROOT.glob("protei_bulk/store/schema/*.sql")}
        self.assertTrue(schema)
        self.assertEqual((modules | schema) - names, set())
        self.assertIn("twisted/plugins/protei_bulk_plugin.py", names)
        self.assertIn("protei_bulk/py.typed", names)
        self.assertEqual([n for n in names if re.match(r"twisted/(plugins/)?__init__|tests/", n)], [])

    def test_fresh_environment(self) -> None:
        """Twisted is copied in, since its plugin list lies in its folder; the rest is seen where it is."""
        home = self.folder / "fresh"
        venv.create(home, with_pip=False, symlinks=True)
        python = home / "bin/python"
        ours = Path(sysconfig.get_path("purelib"))
        theirs = next(home.glob("lib/python*/site-packages"))
        run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)),
            *("install", "-q", "--no-deps", "--no-index", self.wheel),
            cwd=self.folder,
        )
        import twisted

        shutil.copytree(
            Path(twisted.__file__).parent,
            theirs / "twisted",
            ignore=shutil.ignore_patterns("test", "__pycache__", "dropin.cache", "protei_bulk_plugin.py"),
            dirs_exist_ok=True,
        )
        # What else it needs comes by a list of links, so that no installed protei_bulk is seen.
        for entry in {*ours.iterdir(), *Path(sysconfig.get_path("platlib")).iterdir()}:
            skipped = entry.name == "__pycache__" or entry.suffix in (".pth", ".egg-link")
            if not skipped and "protei_bulk" not in entry.name and not (theirs / entry.name).exists():
                (theirs / entry.name).symlink_to(entry)
        program = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"
        for attempt in ("first", "second"):
            listed = run(python, "-c", program, "--help", cwd=self.folder)
            self.assertRegex(listed, r"(?m)^ +protei-bulk  +A gateway for bulk SMS", attempt)
            self.assertRegex(listed, r"(?m)^ +protei-smsc  +An SMSC", attempt)
            self.assertNotIn("plugin cache", listed, attempt)
            self.assertNotIn("Traceback", listed, attempt)
        where = run(python, "-c", "import protei_bulk; print(protei_bulk.__file__)", cwd=self.folder).strip()
        self.assertEqual(Path(where), theirs / "protei_bulk/__init__.py")
        self.assertTrue((home / "bin/protei-bulk").exists())
