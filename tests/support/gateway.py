"""A gateway as users run it: a `twistd` process with a database, SMSC simulators and accounts of its own.

    gateway = Gateway()
    gateway.simulate("SMSC1")
    gateway.accounts(customers=..., users=...)
    gateway.start()

Everything here blocks: the gateway is another process.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg2

from protei_bulk.cli.quickstart import _die_with
from tests.support.postgres import fresh_database

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "Password@123"
_LONGEST = 60.0  # seconds: longer than any wait takes on a busy machine


def free_port() -> int:
    """A loopback port that nobody listens on now, and that no connection gets as its own: from below those that the kernel gives out."""
    while True:
        port = random.randrange(10_240, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def eventually(condition: Callable[[], Any], what: str, seconds: float = _LONGEST) -> Any:
    """What `condition` returns once it is true. Raises AssertionError."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: not {what}")
        time.sleep(0.03)


class Process:
    """One twistd, in a process group of its own, that ends with this process."""

    def __init__(self, folder: Path, name: str, arguments: Sequence[str]) -> None:
        self.log = folder / f"{name}.log"
        self.arguments = [sys.executable, str(Path(sys.executable).parent / "twistd"), "-n", "--pidfile=", *arguments]
        self.folder = folder
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder,
                env=environment(), process_group=0, preexec_fn=_die_with(os.getpid()),
            )  # fmt: skip

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code, of a process that was sent this signal."""
        child = self.child
        if child is None:
            return 0
        if child.poll() is None:
            child.send_signal(number)
            try:
                child.wait(_LONGEST)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                raise AssertionError(f"{self.log.stem} does not end:\n{self.last_lines()}") from None
        return child.returncode

    def last_lines(self, n: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-n:])


class Simulator(Process):
    """`twistd protei-smsc`; further options as its command line takes them."""

    def __init__(self, folder: Path, name: str, options: Sequence[str]) -> None:
        self.port = free_port()
        self.ledger = folder / f"{name}.ledger"
        super().__init__(
            folder, name, ["protei-smsc", "--port", str(self.port), "--ledger", str(self.ledger), *options]
        )

    def taken(self) -> Counter[str]:
        """How often each destination was submitted here."""
        if self.running:
            time.sleep(0.25)  # the ledger is written out ten times a second
        if not self.ledger.exists():
            return Counter()
        lines = [line.split() for line in self.ledger.read_text().splitlines()]
        return Counter(fields[2] for fields in lines if len(fields) >= 3 and fields[0] == "S")


class Outside:
    """An SMSC that is not ours: the port that `program`, which somebody else ends, listens on or will."""

    def __init__(self, port: int, program: Process | None = None) -> None:
        self.port, self._program = port, program

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.running

    def end(self, number: int = signal.SIGTERM) -> int:
        return 0 if self._program is None else self._program.end(number)


_live: list[tuple[str, Gateway]] = []  # with the file of the tests that made it


def _end_those_of_other_tests() -> str:
    """The tests of a file share gateways that end with the process: they have no use once another file's tests run.

    Gateways that helpers make for tests of several files stay.
    """
    frame: Any = sys._getframe(2)
    while frame.f_back is not None and not Path(frame.f_code.co_filename).name.startswith("test_"):
        frame = frame.f_back
    owner = frame.f_code.co_filename if Path(frame.f_code.co_filename).name.startswith("test_") else ""
    direct = Path(sys._getframe(2).f_code.co_filename).name.startswith("test_")
    for file, gateway in list(_live):
        if file != owner:
            gateway.stop()
    return owner if direct else ""


class Gateway:
    """One node. `stop()` ends all its processes and takes its files away.

    `smpp`: more lines of [smpp], which wins over ours. `beside`: another node, whose database and SMSCs this one shares.
    """

    def __init__(self, settings: str = "", *, smpp: str = "", node: str = "e2e", beside: Gateway | None = None) -> None:
        owner = _end_those_of_other_tests()
        if owner:
            _live.append((owner, self))
        self.folder = Path(tempfile.mkdtemp(prefix="protei-e2e-"))
        self.dsn = fresh_database() if beside is None else beside.dsn
        self.node, self.smpp = node, smpp
        self.smpp_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.config = self.folder / "protei-bulk.toml"
        self.simulators: dict[str, Simulator] = {} if beside is None else beside.simulators
        self.outside: dict[str, Outside] = {} if beside is None else beside.outside
        self.keys: dict[str, str] = {}
        self.settings = settings  # more tables of the configuration; an account's making and the start write it
        self._smsc_settings: dict[str, str] = {} if beside is None else beside._smsc_settings
        self._owner = beside is None
        self.process = Process(self.folder, "gateway", ["protei-bulk", "--config", str(self.config)])

    # --- before the start

    def simulate(self, smsc: str, *options: str, settings: str = "") -> Simulator:
        """Starts an SMSC under this name, with more lines for its [[smsc]]; the one route has all of them, in order."""
        self._smsc_settings[smsc] = settings
        simulator = self.simulators[smsc] = Simulator(self.folder, smsc, ["--delay", "0.05", *options])
        simulator.start()
        return simulator

    def attach(self, smsc: str, far_end: Outside, *, settings: str = "") -> None:
        """Like `simulate`, for an SMSC that is there already or will be; a route to it is for `settings` to say."""
        self._smsc_settings[smsc] = settings
        self.outside[smsc] = far_end

    def write_config(self) -> None:
        ours = ["bind_attempts_per_minute = 0", "enquire_link_interval = 1.0"]
        smpp = "\n".join([self.smpp, *(line for line in ours if line.split()[0] not in self.smpp)])
        text = f"""
[node]
name = "{self.node}"
state_dir = {json.dumps(str(self.folder / "state"))}
[database]
dsn = {json.dumps(self.dsn)}
[smpp]
listen = ["tcp:{self.smpp_port}:interface=127.0.0.1"]
{smpp}
[http]
listen = ["tcp:{self.http_port}:interface=127.0.0.1"]
public_url = "{self.url}"
[http.limits]
per_key_per_minute = 0
per_ip_per_hour = 0
[access]
bcrypt_cost = 4
[callbacks]
allow_private_addresses = true
{self.settings}
[[route]]
name = "everything"
to = {json.dumps(list(self.simulators))}
"""
        for name, simulator in (self.simulators | self.outside).items():
            text += f"""
[[smsc]]
id = "{name}"
host = "127.0.0.1"
port = {simulator.port}
system_id = "gateway"
password = "secret"
reconnect_min = 0.1
reconnect_max = 0.5
{self._smsc_settings[name]}
"""
        self.config.write_text(text)

    def administer(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "protei_bulk.cli.main", "-c", str(self.config), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder,
            env=environment(), preexec_fn=_die_with(os.getpid()),
        )  # fmt: skip

    def accounts(self, users: dict[str, Sequence[str]], keys: Sequence[str] = ()) -> None:
        """Makes the customer of SPEC section 11, these users with PASSWORD, and API keys, through the CLI."""
        self.write_config()
        add = ("customer", "add", "Demo", "--balance", "25000.50", "--credit-limit", "50000", "--currency", "JOD")
        _output(self.administer(*add))
        adding = [
            self.administer("user", "add", name, "--password", PASSWORD, "--customer", "Demo", *options)
            for name, options in users.items()
        ]
        for command in adding:
            _output(command)
        making = {name: self.administer("api-key", "new", name) for name in keys}
        self.keys = {name: _output(command) for name, command in making.items()}

    # --- life

    def start(self) -> None:
        """Returns when the node is ready and every SMSC whose process runs is bound, or another node's."""
        self.process.start()
        self.wait_bound()

    restart = start

    def wait_bound(self) -> None:
        wanted = [name for name, simulator in (self.simulators | self.outside).items() if simulator.running]

        def bound() -> bool:
            if not self.process.running:
                raise AssertionError(f"the gateway ended:\n{self.process.last_lines()}")
            state = self.readyz()
            return bool(state.get("ready")) and all(state["smsc"][name] in ("BOUND", "ELSEWHERE") for name in wanted)

        try:
            eventually(bound, "ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.last_lines()}") from None

    def readyz(self) -> dict[str, Any]:
        """What /readyz says; {} while nobody answers."""
        try:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{self.url}/readyz", timeout=5) as response:
                return dict(json.load(response))
        except urllib.error.HTTPError as error:
            error.close()
            return {}
        except OSError:
            return {}

    def kill9(self) -> None:
        self.process.end(signal.SIGKILL)

    def terminate(self) -> int:
        """An orderly stop of the gateway alone."""
        return self.process.end(signal.SIGTERM)

    def stop(self) -> None:
        _live[:] = [(file, gateway) for file, gateway in _live if gateway is not self]
        try:
            self.process.end()
        finally:
            for simulator in self.simulators.values() if self._owner else ():
                simulator.end(signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- what a test looks at

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def curl(self, path: str, *arguments: str) -> tuple[int, Any]:
        """HTTP status and decoded body, by the `curl` program."""
        command = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "-w", "\n%{http_code}", *arguments, self.url + path]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        body, _, status = result.stdout.rpartition("\n")
        return int(status), json.loads(body)

    def curl_text(self, path: str) -> tuple[int, str]:
        """HTTP status and body of what is no JSON."""
        command = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "-w", "\n%{http_code}", self.url + path]
        body, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
        return int(status), body

    def post(self, path: str, user: str, body: object) -> tuple[int, Any]:
        headers = ("-H", f"Authorization: Bearer {self.keys[user]}", "-H", "Content-Type: application/json")
        return self.curl(path, "-X", "POST", *headers, "-d", body if isinstance(body, str) else json.dumps(body))

    def wait_empty(self) -> None:
        """Until every stored message has left for an SMSC."""
        sql = (
            "SELECT (SELECT count(*) FROM messages WHERE status IN ('PENDING', 'QUEUED', 'SCHEDULED')),"
            " (SELECT count(*) FROM tbl_message_queue)"
        )
        try:
            eventually(lambda: self.query(sql) == [(0, 0)], "everything sent")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.query(sql)}\n{self.process.last_lines()}") from None


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _output(command: subprocess.Popen[str]) -> str:
    out, err = command.communicate(timeout=_LONGEST)
    if command.returncode:
        raise AssertionError(f"{command.args}: {err}")
    return out.strip()
