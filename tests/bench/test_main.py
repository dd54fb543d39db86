"""The command line of the benchmark, and a run against a gateway that somebody else has started."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from protei_bulk.bench import micro, processes, routing
from protei_bulk.bench.__main__ import PASSWORD_VARIABLE, main
from protei_bulk.bench.report import show_codec, show_routing, show_run
from protei_bulk.simulator.behaviour import Behaviour, Faults
from protei_bulk.simulator.smsc import Smsc

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
    return code, out.getvalue(), err.getvalue()


class CommandLine(SynchronousTestCase):
    def test_what_makes_no_sense_is_refused(self) -> None:
        for arguments in (
            ("--messages", "0"), ("--messages", "x"), ("--messages", "10000001"), ("--gateway", "nowhere"),
            ("--gateway", "127.0.0.1:0"), ("--gateway", "127.0.0.1:2775"),
            ("--gateway", "127.0.0.1:2775", "--user", "u", "--http", "1"),
        ):  # fmt: skip
            code, _, err = run(*arguments)
            self.assertEqual(code, 2, arguments)
            self.assertIn("error", err)

    def test_the_codecs(self) -> None:
        self.patch(micro, "_SECONDS", 0.003)
        rates = micro.measure()
        self.assertEqual(len(rates), 5)
        self.assertTrue(all(rate > 100 for rate in rates.values()), rates)
        self.assertIn("PDU/s", show_codec(rates))


    def test_the_router(self) -> None:
        costs = routing.measure(messages=200, prefixes=300, rules=30, ported=100)
        names = ("first", "again", "networks", "round-robin", "weighted", "least-cost", "best-delivery")
        self.assertTrue(all(costs[name] > 0 for name in names), costs)
        self.assertIn("300 prefixes in 30 rules", show_routing(costs))


class AnotherGateway(TestCase):
    """Here an SMSC simulator plays the gateway: both are SMPP servers."""

    timeout = 60

    async def run_against(self, *arguments: str, **faults: Any) -> tuple[int, str, str]:
        smsc = Smsc(Behaviour(Faults(**{"delay": 0.0, **faults}), lambda: 0.5), reactor)
        port = reactor.listenTCP(0, smsc, interface="127.0.0.1")
        self.patch(os, "environ", {**os.environ, PASSWORD_VARIABLE: "secret"})
        # main() takes SIGTERM, which only the main thread may do: a process of its own.
        command = [
            sys.executable, "-m", "protei_bulk.bench", "--gateway", f"127.0.0.1:{port.getHost().port}", "--user", "u",
            "--messages", "100", "--sessions", "2", "--window", "10", *arguments,
        ]  # fmt: skip
        result = await deferToThread(
            subprocess.run, command, capture_output=True, text=True, timeout=50, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        await port.stopListening()
        return result.returncode, result.stdout, result.stderr

    async def test_a_run(self) -> None:
        code, out, err = await self.run_against("--json")
        self.assertEqual((code, err), (0, ""))
        result = json.loads(out)
        self.assertEqual((result["accepted"], result["receipts"], result["lost"]), (100, 100, None))
        self.assertGreater(result["end_to_end_rate"], 0)
        table = show_run(result)
        self.assertIn("end-to-end rate", table)
        self.assertNotIn("PostgreSQL", table)

    async def test_a_run_without_receipts(self) -> None:
        code, out, _ = await self.run_against("--no-receipts")
        self.assertEqual(code, 0)
        self.assertIn("accept rate", out)
        self.assertNotIn("end-to-end", out)

    async def test_receipts_that_come_twice_fail_it(self) -> None:
        code, out, _ = await self.run_against("--json", duplicate=100)
        self.assertEqual(code, 1)
        self.assertGreater(json.loads(out)["receipts_repeated"], 0)

    async def test_nothing_accepted_fails_it(self) -> None:
        code, out, _ = await self.run_against("--json", error_status=0x0A, error=100)
        self.assertEqual(code, 1)
        self.assertEqual(json.loads(out)["refused"], {"0x0000000a": 100})


class Processes(SynchronousTestCase):
    def test_cpu_of_this_one(self) -> None:
        before = processes.cpu(os.getpid())
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        self.assertGreaterEqual(processes.cpu(os.getpid()) - before, 0.02)
        self.assertGreater(processes.peak_memory(os.getpid()), 1)

    def test_cpu_of_children_that_have_ended(self) -> None:
        before = processes.cpu(os.getpid(), children=True)
        busy = "import time\nwhile time.process_time() < 0.1: pass"
        subprocess.run([sys.executable, "-c", busy], check=True)
        self.assertGreaterEqual(processes.cpu(os.getpid(), children=True) - before, 0.08)

    def test_one_that_is_gone(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        with self.assertRaises(OSError):
            processes.cpu(child.pid)
