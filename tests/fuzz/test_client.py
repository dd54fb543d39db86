"""A bind to an SMSC that has lost its mind, with a good one beside it."""

from __future__ import annotations

import os

from protei_bulk.smpp import commands
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer
from tests.connectors.base import NodeCase
from tests.connectors.fakes import message, took
from tests.fuzz.corpus import Fuzz, known_cases

COUNT = int(os.environ.get("FUZZ_PDUS", "20000"))
_A_CONNECTION = 40


class ClientTest(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.bad = self.node.connector("bad", reconnect_min=0.1, reconnect_max=0.1)
        self.good, self.wire = self.node.up("good")
        self.count = 0

    def check(self, sent: bytes) -> None:
        """The good one still takes messages, nothing was logged, and the bad one comes back after its connection has ended."""
        bad = self.node.wire("bad")
        framer = Framer()
        framer.feed(bad.value())
        self.assertEqual((None, b""), (framer.corrupt, framer._rest), sent.hex())
        self.count += 1
        m = message(self.count, smsc="good", candidates=("good",))
        self.good.add(m)
        self.good.pump()
        (pdu,) = self.wire.submits()
        self.wire.say(took(pdu.sequence, f"x{self.count}"))
        errors = self.flushLoggedErrors()
        self.assertEqual([], errors, f"{errors} by {sent.hex()}")
        if not bad.closed:
            bad.loseConnection()
        self.node.turn(0.2)
        self.wire.clear()
        self.assertIsNot(bad, self.node.wire("bad"))

    def bind(self, n: int) -> None:
        """Three of four accept the bind first."""
        wire = self.node.wire("bad")
        if n % 4:
            wire.say(encode(Pdu(commands.BIND_TRANSCEIVER | commands.RESP, 0, 1, {"system_id": "smsc"})))
            for k in range(3):
                self.bad.add(message(1_000_000 + 10 * self.count + k, smsc="bad", candidates=("bad",)))
            self.bad.pump()

    def test_the_corpus(self) -> None:
        for n in (0, 1):
            for _name, octets in known_cases():
                self.bind(n)
                self.node.wire("bad").say(octets)
                self.check(octets)

    def test_the_stream(self) -> None:
        fuzz = Fuzz(20260103)
        for n in range(COUNT // _A_CONNECTION):
            self.bind(n)
            sent = b""
            for _ in range(_A_CONNECTION):
                octets = fuzz.case().octets
                sent += octets
                if not self.node.wire("bad").closed:
                    self.node.wire("bad").say(octets)
            self.check(sent)
            if n % 50 == 0:
                self.bad.lane.clear()
