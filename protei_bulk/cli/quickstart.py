"""`bin/quickstart`: the gateway in the foreground, with a simulated SMSC and a demo account.

A small supervisor of its own: it starts `twistd` processes, waits until the gateway answers on
/readyz, prints what to try, and ends everything in order: the gateway before the simulator.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from protei_bulk.cli.banner import banner, base_url, busy_ports, gateway_only
from protei_bulk.settings import Settings, SettingsError, load

ROOT = Path(__file__).resolve().parents[2]
DEMO_PASSWORD = "Password@123"  # the published password of an account that exists on this machine alone
STOP_SECONDS = 60.0


class Refused(Exception):
    """The launcher cannot go on; the message is for the person at the terminal."""


def main(
    argv: Sequence[str] | None = None, *, root: Path = ROOT, programs: Path = Path(sys.executable).parent
) -> int:
    """The exit code: the gateway's own, 0 after an orderly end, 1 refused, 2 a bad configuration.

    root holds etc/quickstart.toml; programs holds twistd and protei-bulk.
    """
    parser = argparse.ArgumentParser(prog="bin/quickstart", description="Run the gateway in the foreground.")
    parser.add_argument(
        "--config", metavar="FILE", help="another configuration: no demo accounts, no SMSC simulator"
    )
    options = parser.parse_args(argv)
    demo = options.config is None
    config = (root / "etc/quickstart.toml") if demo else Path(options.config).resolve()
    try:
        settings = load(config)
        with Launcher(config, settings, programs) as launcher:
            return launcher.run(demo)
    except SettingsError as error:
        tell(error, 2)
        return 2
    except Refused as error:
        tell(f"bin/quickstart: {error}", 2)
        return 1


def tell(text: object, to: int = 1) -> None:
    """To the terminal (1 output, 2 errors), which may be gone: an orderly end matters more."""
    with suppress(OSError):
        os.write(to, f"{text}\n".encode())


class Launcher:
    """Children by name, in the order in which they were started; they end in reverse."""

    def __init__(self, config: Path, settings: Settings, programs: Path) -> None:
        self.programs = programs
        self.config = config
        self.settings = settings
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.logs: dict[str, Path] = {}
        self.stopping = False

    def __enter__(self) -> Launcher:
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)  # ignored in a script's background; we listen all the same
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
            signal.signal(signal.SIGHUP, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(self.children):
            self.end(name)

    def _stop(self, number: int, frame: object) -> None:
        if self.stopping and number == signal.SIGINT:  # asked twice: do not wait any longer
            for child in self.children.values():
                child.kill()
        self.stopping = True

    # --- the run

    def run(self, demo: bool) -> int:
        busy = busy_ports(self.settings, simulator=demo)
        if busy:
            raise Refused(
                "\n  ".join(["cannot listen:", *busy])
                + f"\nIs a gateway running already? End it, or use other ports in {self.config}."
            )
        if demo:
            port = self.settings.smsc[0].port
            self.start("simulator", ["protei-smsc", "--port", str(port)], logged=True)
        self.start("gateway", ["protei-bulk", "--config", str(self.config)], logged=demo)
        if self.wait_ready() and not self.stopping:
            text = self.accounts() if demo else gateway_only(self.settings)
            if not self.stopping:
                tell(text)
        return self.watch()

    def start(self, name: str, arguments: list[str], *, logged: bool) -> None:
        """A twistd of its own process group, so that Ctrl-C reaches it through us, in order."""
        twistd = self.programs / "twistd"
        output: IO[bytes] | None = None
        if logged:
            folder = self.settings.node.state_dir / "log"
            try:
                self.settings.node.state_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)
                self.logs[name] = log = folder / f"{name}.log"
                if log.exists():
                    log.replace(log.with_suffix(".log.1"))
                output = log.open("wb")
            except OSError as error:
                raise Refused(f"{folder} cannot be written to: {error.strerror}") from None
        try:
            self.children[name] = subprocess.Popen(
                [sys.executable, str(twistd), "-n", "--pidfile=", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                process_group=0,
                preexec_fn=_die_with(os.getpid()),
            )
        finally:
            if output:
                output.close()

    def wait_ready(self) -> bool:
        """Whether the gateway answers. After a crash the database may take its time: no limit."""
        url = base_url(self.settings)
        if url is None:
            return True
        told = time.monotonic() + 20
        while not self.stopping and self.children["gateway"].poll() is None:
            answer = _get(f"{url}/readyz")
            if answer == "200":
                return True
            if time.monotonic() > told:
                tell(f"Still waiting for {url}/readyz ({answer}) ...")
                told = time.monotonic() + 20
            time.sleep(0.1)
        return False

    def watch(self) -> int:
        """Until the gateway ends or we are told to; the exit code."""
        gateway = self.children["gateway"]
        simulator = self.children.get("simulator")
        while not self.stopping and gateway.poll() is None:
            if simulator is not None and simulator.poll() is not None:
                tell(f"The SMSC simulator ended (exit code {simulator.returncode}).")
                self.show_log("simulator")
                simulator = None
            time.sleep(0.1)
        if self.stopping:
            tell("\nEnding ...")
            code = self.end("gateway")
            return 0 if code in (0, -signal.SIGTERM, -signal.SIGINT) else _exit_code(code)
        tell(f"The gateway ended (exit code {_exit_code(gateway.returncode)}).")
        self.show_log("gateway")
        return _exit_code(gateway.returncode)

    def end(self, name: str) -> int:
        child = self.children[name]
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                tell(f"The {name} does not end; killing it.", 2)
                child.kill()
        return child.wait()

    def show_log(self, name: str) -> None:
        log = self.logs.get(name)
        if log is not None:
            lines = log.read_text(errors="replace").splitlines()[-20:]
            tell("\n".join(["", f"The end of {log}:", *lines]), 2)

    # --- the demo accounts

    def accounts(self) -> str:
        """Makes the demo accounts on the first run; returns the banner. Secrets are only ever printed.

        A first run that was cut short is done again from its beginning: what it left is taken over.
        """
        mark = self.settings.node.state_dir / "quickstart-accounts"
        if mark.exists():
            return banner(self.settings, DEMO_PASSWORD)
        self.administer(
            *("customer", "add", "Demo", "--balance", "25000.50", "--credit-limit", "50000"),
            *("--currency", "JOD"),
            may_exist=True,
        )
        admin = secrets.token_urlsafe(15)
        self.user("admin", admin, "--role", "ADMIN")
        self.user("ahmad", DEMO_PASSWORD, "--sender", "MyCompany")
        key = self.administer("api-key", "new", "ahmad")
        mark.touch()
        return banner(self.settings, DEMO_PASSWORD, admin_password=admin, api_key=key)

    def user(self, name: str, password: str, *more: str) -> None:
        """The password goes by standard input: a command line is seen by everybody on the machine."""
        arguments = ("user", "add", name, "--password", "-", "--customer", "Demo", *more)
        if self.administer(*arguments, text=password, may_exist=True) is None:
            self.administer("user", "set", name, "password=-", text=password)

    def administer(self, *arguments: str, text: str = "", may_exist: bool = False) -> str | None:
        """Runs `protei-bulk -c FILE ...`: what it printed, or None where it refused and may do so."""
        command = self.programs / "protei-bulk"
        result = subprocess.run(
            [sys.executable, str(command), "-c", str(self.config), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            process_group=0,
        )
        if result.returncode == 1 and may_exist:
            return None
        if result.returncode:
            raise Refused(f"`protei-bulk {' '.join(arguments[:3])}` failed:\n{result.stderr.strip()}")
        return result.stdout.strip()


def _die_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes twistd: ask to be ended when the launcher is killed."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def ask() -> None:
        if prctl is not None:
            prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(1)

    return ask


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def _get(url: str) -> str:
    """The HTTP status of a page, or why there is none; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return str(response.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return str(getattr(error, "reason", error))


if __name__ == "__main__":
    sys.exit(main())
