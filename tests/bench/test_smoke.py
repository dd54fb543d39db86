"""The whole benchmark, small: every message that was acknowledged reaches the SMSC once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> dict[str, Any]:
    """What `bin/bench --json` prints; it must succeed."""
    result = subprocess.run(
        [sys.executable, "-m", "protei_bulk.bench", "--json", *arguments],
        capture_output=True, text=True, timeout=110, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if result.returncode:
        raise AssertionError(f"exit code {result.returncode}:\n{result.stdout}\n{result.stderr}")
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


class Smoke(TestCase):
    timeout = 120

    async def test_nothing_is_lost_or_sent_twice(self) -> None:
        r = await deferToThread(
            bench, "--messages", "300", "--sessions", "2", "--window", "20", "--http", "2"
        )
        self.assertEqual((r["lost"], r["duplicates"]), (0, 0))
        self.assertEqual((r["accepted"], r["refused"], r["unanswered"], r["broken"]), (300, {}, 0, ""))
        self.assertEqual(r["receipt_stats"], {"DELIVRD": 300})
        self.assertEqual((r["receipts_missing"], r["receipts_repeated"]), (0, 0))
        self.assertEqual(r["http"]["messages"], 200)
        self.assertGreater(r["end_to_end_rate"], 0)
        self.assertGreater(r["gateway_peak_mib"], 10)
        self.assertGreater(r["gateway_cpu_per_1000"], 0)
        # /proc counts in hundredths of a second, and 300 messages may cost PostgreSQL less than one.
        self.assertGreaterEqual(r["postgresql_cpu_per_1000"], 0)

    async def test_campaign(self) -> None:
        r = await deferToThread(bench, "--campaign", "3000")
        self.assertEqual((r["status"], r["delivered"], r["missing"], r["twice"]), ("COMPLETED", 3000, 0, 0))

    async def test_failover(self) -> None:
        r = await deferToThread(bench, "--failover", "3000", "--sessions", "2")
        self.assertEqual((r["accepted"], r["refused"], r["killed"], r["lost"]), (3000, {}, True, 0))
        self.assertGreater(r["first_moved"], 0)

    async def test_binds(self) -> None:
        r = await deferToThread(bench, "--binds", "8")
        for kind in ("one_account", "accounts"):
            self.assertEqual((r[kind]["refused"], r[kind]["lost"]), ({}, 0))
            self.assertGreater(r[kind]["seconds"], 0)
        self.assertGreater(r["accounts"]["messages"], 0)
        self.assertGreater(r["accounts"]["traffic_beside_ms"]["p50"], 0)

    async def test_parts(self) -> None:
        r = await deferToThread(bench, "--parts")
        self.assertGreater(len(r["gateway"]), 15)
        self.assertTrue(all(cost > 0 for cost in r["gateway"].values()), r["gateway"])
        self.assertGreater(r["postgresql"]["accept_messages: store a batch"], 0)
        self.assertGreater(r["postgresql"]["octets of WAL"], 100)
