"""The launcher with stand-ins for twistd and the command: what it starts, in which order it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

# Stands in for twistd: the gateway answers /readyz, and everybody writes down when it came and went.
TWISTD = """
import http.server, os, signal, sys, time
name, root = sys.argv[3], {root!r}
def note(what):
    with open(root + "/events", "a") as events:
        print(name, what, file=events)
if name == "protei-bulk" and os.path.exists(root + "/fails"):
    print("no database")
    sys.exit(3)
def stop(number, frame):
    if name == "protei-bulk":
        time.sleep(0.2)  # the simulator would be first if both were told at once
    note("ended")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
note(" ".join(sys.argv[4:]))
if name != "protei-bulk":
    signal.pause()
class Ready(http.server.BaseHTTPRequestHandler):
    tries = 0
    def do_GET(self):
        Ready.tries += 1
        self.send_response(503 if Ready.tries == 1 else 200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", {port}), Ready).serve_forever()
"""
COMMAND = """
import sys
with open({root!r} + "/commands", "a") as commands:
    print(*sys.argv[1:], "<", sys.stdin.read(), file=commands)
if "new" in sys.argv:
    print("the-key")
if "add" in sys.argv and __import__("os").path.exists({root!r} + "/exists"):
    sys.exit(1)
"""
DRIVER = """
import sys
from pathlib import Path
from protei_bulk.cli.quickstart import main
root = Path(sys.argv[1])
sys.exit(main(sys.argv[2:], root=root, programs=root))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Quickstart(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp()).resolve()
        (self.root / "etc").mkdir(parents=True)
        self.port, self.smsc = free_port(), free_port()
        values = {"root": str(self.root), "port": self.port}
        (self.root / "twistd").write_text(TWISTD.format(**values))
        (self.root / "protei-bulk").write_text(COMMAND.format(**values))
        self.config = self.root / "etc/quickstart.toml"
        self.config.write_text(
            '[node]\nstate_dir = "var/"\n[smpp]\nlisten = []\n'
            f'[http]\nlisten = ["tcp:{self.port}:interface=127.0.0.1"]\n'
            f'[[smsc]]\nid = "SMSC1"\nhost = "127.0.0.1"\nport = {self.smsc}\n'
        )

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(self.root), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def banner(self, child: subprocess.Popen[str]) -> str:
        """All output up to the end of the banner."""
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if "  State" in line or '"limit"' in line:
                break
        return "".join(lines)

    def lines(self, name: str) -> list[str]:
        return (self.root / name).read_text().splitlines()

    def end(self, child: subprocess.Popen[str], number: int = signal.SIGINT) -> None:
        child.send_signal(number)
        output, _ = child.communicate(timeout=30)
        self.assertEqual(child.returncode, 0, output)

    def drain(self, child: subprocess.Popen[str]) -> str:
        """The demo's banner in full."""
        text = self.banner(child)
        return text if '"limit"' in text else text + self.banner(child)

    def test_first_and_second_run(self) -> None:
        child = self.launch()
        text = self.drain(child)
        self.assertIn("the-key", text)
        self.end(child)
        self.assertEqual(
            self.lines("events")[2:], ["protei-bulk ended", "protei-smsc ended"], "the gateway ends first"
        )
        self.assertIn(f"protei-bulk --config {self.config}", self.lines("events"))
        commands = [c.removeprefix(f"-c {self.config} ") for c in self.lines("commands")]
        admin = commands[1].split()[-1]
        self.assertGreaterEqual(len(admin), 16)
        self.assertIn(admin, text)
        self.assertEqual(
            commands,
            [
                "customer add Demo --balance 25000.50 --credit-limit 50000 --currency JOD < ",
                f"user add admin --password - --customer Demo --role ADMIN < {admin}",
                "user add ahmad --password - --customer Demo --sender MyCompany < Password@123",
                "api-key new ahmad < ",
            ],
        )
        for path in (self.root / "var").rglob("*"):
            if path.is_file():
                self.assertNotIn("the-key", path.read_text())
                self.assertNotIn(admin, path.read_text())

        child = self.launch()
        text = self.drain(child)
        self.assertIn("<your API key>", text)
        self.assertNotIn("the-key", text)
        self.end(child, signal.SIGTERM)
        self.assertEqual(len(self.lines("commands")), 4)

    def test_first_run_cut_short(self) -> None:
        """What it left behind is taken over, with passwords that somebody has seen."""
        (self.root / "exists").touch()
        child = self.launch()
        self.drain(child)
        self.end(child)
        names = [" ".join(c.split()[2:5]) for c in self.lines("commands")]
        self.assertEqual(
            names,
            ["customer add Demo", "user add admin", "user set admin", "user add ahmad", "user set ahmad"]
            + ["api-key new ahmad"],
        )

    def test_gateway_fails(self) -> None:
        """The launcher ends with it, shows its last words, and leaves no simulator."""
        (self.root / "fails").touch()
        output, _ = self.launch().communicate(timeout=30)
        self.assertIn("The gateway ended (exit code 3)", output)
        self.assertIn("no database", output)

    def test_exit_code(self) -> None:
        (self.root / "fails").touch()
        child = self.launch()
        child.communicate(timeout=30)
        self.assertEqual(child.returncode, 3)

    def test_other_configuration(self) -> None:
        other = self.root / "other.toml"
        other.write_text(self.config.read_text())
        child = self.launch("--config", str(other))
        self.assertIn("protei-bulk is ready", self.banner(child))
        self.end(child)
        self.assertEqual(self.lines("events"), [f"protei-bulk --config {other}", "protei-bulk ended"])
        self.assertFalse((self.root / "commands").exists())

    def test_killed_launcher_leaves_nothing(self) -> None:
        child = self.launch("--config", str(self.config))
        self.banner(child)
        child.kill()
        # Its pipe closes when the gateway, which holds it too, has ended.
        child.communicate(timeout=30)
        self.assertEqual(self.lines("events")[-1], "protei-bulk ended")

    def test_port_in_use(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.smsc))
            taken.listen()
            child = self.launch()
            output, _ = child.communicate(timeout=30)
        self.assertEqual(child.returncode, 1)
        self.assertIn(f"port {self.smsc} (the SMSC simulator): Address already in use", output)
        self.assertFalse((self.root / "events").exists())

    def test_bad_configuration(self) -> None:
        self.config.write_text("[smpp]\nwindow = 0")
        child = self.launch()
        output, _ = child.communicate(timeout=30)
        self.assertEqual(child.returncode, 2)
        self.assertIn("smpp.window: expected a whole number from 1, got 0", output)
