"""A little of `bin/fuzz`, which says what it finds wrong."""

from __future__ import annotations

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.fuzz.__main__ import run, wrong


class RunningTest(TestCase):
    timeout = 120

    async def test_a_running_gateway(self) -> None:
        result = await deferToThread(run, 10_000, 4)
        # A gateway that has just begun still fills its caches: what it keeps is for the long run to say.
        self.assertEqual([], [line for line in wrong(result) if not line.startswith("memory")])
        self.assertGreaterEqual(result["pdus_to_server"], 10_000)
        self.assertGreaterEqual(result["pdus_from_smscs"], 2_000)
        self.assertGreater(result["neighbour"]["accepted"], 0)
