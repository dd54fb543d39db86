"""A gateway of its own for one run: temporary state, simulator, `twistd` processes, one customer and user."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from protei_bulk.bench.esme import SENDER, LoadError
from protei_bulk.store.embedded_place import LOCATION_FILE, RUNNING_FILE

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0  # the first start makes a database cluster
STOP_SECONDS = 60.0
USER, CUSTOMER = "bench", "Bench"

_CONFIG = """\
[node]
name = "bench"
state_dir = "{state}"

[smpp]
listen = ["tcp:{smpp}:interface=127.0.0.1"]
max_binds_per_user = 0
window = {window}
deliver_window = 1000

[http]
listen = ["tcp:{http}:interface=127.0.0.1"]
public_url = "http://127.0.0.1:{http}"

[http.limits]
per_key_per_minute = 10000000
burst = 10000000
per_ip_per_hour = 10000000

[[smsc]]
id = "SMSC1"
host = "127.0.0.1"
port = {smsc}
system_id = "gateway"
password = "secret"
window = 1000
queue_memory = {queue_memory}
{more}

[[route]]
name = "everything"
to = ["SMSC1"]
"""


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for s in sockets:
            s.close()


def environment() -> dict[str, str]:
    """That of the children: they find this package wherever they run."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


class Stack:
    """A context: everything runs inside, and is gone after it. `window`: unanswered submit_sm a session may have.

    `smsc` are more lines of its [[smsc]]; `delay` seconds until it sends a receipt. `second`: the port of a second simulator.
    """

    def __init__(self, window: int, *, smsc: str = "", queue_memory: int = 100_000, delay: float = 0.05, second: int = 0) -> None:
        self._second = second
        self.delay = delay
        self.folder = Path(tempfile.mkdtemp(prefix="protei-bench-"))
        # PostgreSQL runs as somebody else where we are root; that user must get in. Secrets are 0600 themselves.
        self.folder.chmod(0o755)
        self.state = self.folder / "state"
        self.ledger = self.folder / "smsc.ledger"
        self.second_ledger = self.folder / "second.ledger"
        self.config = self.folder / "bench.toml"
        self.smpp, self.http, self.smsc = free_ports(3)
        self.config.write_text(
            _CONFIG.format(
                state=self.state, smpp=self.smpp, http=self.http, smsc=self.smsc, window=max(1000, window),
                queue_memory=queue_memory, more=smsc,
            )
        )
        self.password = secrets.token_hex(8)
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = environment()

    def __enter__(self) -> Stack:
        try:
            self.state.mkdir(mode=0o711)
            self._twistd(
                "simulator", "protei-smsc", "--port", str(self.smsc), "--delay", str(self.delay), "--ledger", str(self.ledger)
            )
            if self._second:
                options = ("--delay", str(self.delay), "--ledger", str(self.second_ledger))
                self._twistd("second", "protei-smsc", "--port", str(self._second), *options)
            self._twistd("gateway", "protei-bulk", "--config", str(self.config))
            self._wait_ready()
            self.administer("customer", "add", CUSTOMER)
            self.administer(
                *("user", "add", USER, "--customer", CUSTOMER, "--password", "-", "--sender", SENDER),
                *("--max-tps", "0", "--max-per-day", "0"),
                text=self.password,
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            with contextlib.suppress(OSError):  # there is none, unless PostgreSQL's user could not get in here
                shutil.rmtree((self.state / LOCATION_FILE).read_text("utf-8").strip(), ignore_errors=True)
            shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """Ends the gateway, then the simulator; may be called again."""
        for name in ("gateway", "simulator", "second"):
            child = self.children.get(name)
            if child is None:
                continue
            child.terminate()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def restart(self, name: str) -> None:
        """Ends the gateway in order and starts it anew. Raises LoadError."""
        child = self.children[name]
        child.terminate()
        child.wait(STOP_SECONDS)
        self._twistd("gateway", "protei-bulk", "--config", str(self.config))
        self._wait_ready()

    def kill(self, name: str) -> None:
        """Ends it at once, with nothing done in order."""
        self.children[name].kill()
        self.children[name].wait()

    def start_gateway(self) -> None:
        """After `kill`. Raises LoadError."""
        self._twistd("gateway", "protei-bulk", "--config", str(self.config))
        self._wait_ready()

    def pid(self, name: str) -> int:
        """Of "gateway", "simulator" or "postgresql"."""
        if name == "postgresql":
            return int(json.loads((self.state / RUNNING_FILE).read_text("utf-8"))["pid"])
        return self.children[name].pid

    def dsn(self) -> str:
        """Of its PostgreSQL."""
        return str(json.loads((self.state / RUNNING_FILE).read_text("utf-8"))["dsn"])

    def log(self, name: str) -> str:
        """The last lines that a process wrote."""
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])

    def administer(self, *arguments: str, text: str = "") -> str:
        """`protei-bulk -c FILE ...`: what it printed. Raises LoadError."""
        result = subprocess.run(
            [sys.executable, "-m", "protei_bulk.cli.main", "-c", str(self.config), *arguments],
            input=text, capture_output=True, text=True, timeout=60, env=self.environment,
        )  # fmt: skip
        if result.returncode:
            raise LoadError(f"`protei-bulk {' '.join(arguments[:2])}` failed: {result.stderr.strip()}")
        return result.stdout.strip()

    def _twistd(self, name: str, *arguments: str) -> None:
        program = Path(sys.executable).parent / "twistd"
        with (self.folder / f"{name}.log").open("wb") as output:
            self.children[name] = subprocess.Popen(
                [sys.executable, str(program), "-n", "--pidfile=", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder,
                env=self.environment, process_group=0, preexec_fn=_die_with(os.getpid()),
            )  # fmt: skip

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        answer = ""
        while time.monotonic() < deadline:
            for name, child in self.children.items():
                if child.poll() is not None:
                    raise LoadError(f"the {name} ended (exit code {child.returncode}):\n{self.log(name)}")
            try:
                with opener.open(f"http://127.0.0.1:{self.http}/readyz", timeout=5) as response:
                    answer = response.read().decode()
                states = json.loads(answer).get("smsc")
                if states and set(states.values()) == {"BOUND"}:
                    return
            except (OSError, ValueError) as error:
                answer = str(error)
            time.sleep(0.1)
        raise LoadError(f"the gateway is not ready after {READY_SECONDS:.0f} s ({answer}):\n{self.log('gateway')}")


def _die_with(parent: int) -> Callable[[], None]:
    """Run in a child: asks the kernel to end it when the benchmark is killed."""
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(1, int(signal.SIGTERM), 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return ask
