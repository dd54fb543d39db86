"""The load client against a simulated SMSC: what is lost, refused or repeated is counted, and every run ends."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from protei_bulk.bench.esme import Load, LoadError, number, percentiles, template
from protei_bulk.simulator.behaviour import Behaviour, Faults
from protei_bulk.simulator.smsc import Smsc
from protei_bulk.smpp import commands, fast


class Counting(TestCase):
    timeout = 30

    def smsc(self, **faults: Any) -> tuple[Smsc, int]:
        behaviour = Behaviour(Faults(**{"delay": 0.0, **faults}), random.Random(1).random)
        smsc = Smsc(behaviour, reactor)
        port = reactor.listenTCP(0, smsc, interface="127.0.0.1")

        self.addCleanup(port.stopListening)
        return smsc, port.getHost().port

    async def load(self, port: int, **options: Any) -> tuple[dict[str, Any], list[str]]:
        ledger = Path(self.mktemp())
        chosen = {"messages": 200, "sessions": 2, "window": 20, "receipts": True, "patience": 0.5, **options}
        load = Load(("127.0.0.1", port), ("u", "p"), ledger=ledger, **chosen)
        result = await deferToThread(load.run)
        return result, ledger.read_text().splitlines()

    async def test_all_is_well(self) -> None:
        smsc, port = self.smsc()
        result, ledger = await self.load(port)
        self.assertEqual((result["accepted"], result["receipts"], result["receipt_stats"]), (200, 200, {"DELIVRD": 200}))
        for fault in ("refused", "unanswered", "receipts_missing", "receipts_repeated", "broken"):
            self.assertFalse(result[fault], fault)
        self.assertEqual((smsc.behaviour.submits, smsc.acknowledged), (200, 200))
        accepted = {line.split()[2] for line in ledger if line.startswith("A ")}
        self.assertEqual(accepted, {number(i) for i in range(200)})
        self.assertEqual(sum(line.startswith("R ") for line in ledger), 200)
        self.assertGreater(result["latency"]["p99"], 0)

    async def test_without_receipts(self) -> None:
        smsc, port = self.smsc()
        result, _ = await self.load(port, receipts=False)
        self.assertEqual((result["accepted"], result["receipts"], result["receipts_missing"]), (200, 0, 0))
        self.assertEqual(smsc.receipts, 0)

    async def test_answers_that_never_come(self) -> None:
        _, port = self.smsc(lose=10)
        result, _ = await self.load(port, window=200)
        self.assertGreater(result["unanswered"], 0)
        self.assertEqual(result["accepted"] + result["unanswered"], 200)

    async def test_refusals(self) -> None:
        _, port = self.smsc(error_status=0x58, error=20)
        result, _ = await self.load(port)
        self.assertEqual(result["accepted"] + result["refused"]["0x00000058"], 200)
        self.assertEqual((result["receipts"], result["receipts_missing"]), (result["accepted"], 0))

    async def test_receipts_that_come_twice(self) -> None:
        _, port = self.smsc(duplicate=100)
        result, _ = await self.load(port)
        self.assertGreater(result["receipts_repeated"], 0)
        self.assertEqual(result["receipts_missing"], 0)

    async def test_receipts_of_nothing_that_was_sent(self) -> None:
        _, port = self.smsc(hex_ids=True)
        result, _ = await self.load(port)
        self.assertEqual(result["receipts_missing"], 200)

    async def test_enquire_link_is_no_progress(self) -> None:
        smsc, port = self.smsc(delay=3600.0)
        asking = LoopingCall(
            lambda: [p.write(fast.header(commands.ENQUIRE_LINK, 0, p.next_sequence())) for p in smsc.peers if p.receives]
        )
        asking.start(0.05)
        self.addCleanup(asking.stop)
        result, _ = await self.load(port)
        self.assertEqual((result["accepted"], result["receipts_missing"]), (200, 200))

    async def test_a_connection_that_breaks(self) -> None:
        _, port = self.smsc(drop_after=50)
        result, _ = await self.load(port)
        self.assertTrue(result["broken"])
        self.assertGreater(result["unanswered"], 0)

    async def test_nobody_answers_the_bind(self) -> None:
        smsc, port = self.smsc()
        self.patch(smsc, "buildProtocol", lambda addr: _Mute())
        with self.assertRaises(LoadError):
            await self.load(port)


class _Mute(Protocol):
    """Accepts connections, says nothing."""


class Parts(TestCase):
    def test_the_template_is_a_submit_sm(self) -> None:
        for sender in ("BENCH", number(0)):
            for index in (0, 9_999_999):
                head, between, tail = template(True, sender)
                pdu = head + (7).to_bytes(4, "big") + between + number(index).encode() + tail
                self.assertEqual(int.from_bytes(pdu[:4], "big"), len(pdu))
                fields = fast.decode_sm(pdu, 16, len(pdu))
                self.assertEqual((fields[3], fields[6], fields[12]), (sender, number(index), 1))

    def test_percentiles(self) -> None:
        self.assertEqual(percentiles([]), {"p50": 0.0, "p99": 0.0, "max": 0.0})
        self.assertEqual(percentiles([n / 1000 for n in range(101)]), {"p50": 50.0, "p99": 99.0, "max": 100.0})
