"""A session of the server under fire, with a well-behaved one beside it. Everything around it is a fake: see tests.fuzz.__main__."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands
from protei_bulk.smpp.framer import Framer
from tests.channels.smpp.fakes import RESP, Peer, World
from tests.fuzz.corpus import Fuzz, known_cases

COUNT = int(os.environ.get("FUZZ_PDUS", "20000"))
_A_CONNECTION = 40
_KINDS = (None, commands.BIND_TRANSMITTER, commands.BIND_RECEIVER, commands.BIND_TRANSCEIVER)


class ServerTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(window=50, max_binds_per_user=0)
        self.world.start()
        self.neighbour = self.world.bound()
        self.answered = 0

    def check(self, peer: Peer, sent: bytes) -> None:
        """After each connection: whole PDUs came back, the neighbour is served, nothing was logged, nothing is left behind."""
        framer = Framer()
        framer.feed(peer.transport.value())
        self.assertEqual((None, b""), (framer.corrupt, framer._rest), sent.hex())
        self.neighbour.submit()
        answers = self.neighbour.answers()
        self.assertEqual([(commands.SUBMIT_SM | RESP, 0)], answers, sent.hex())
        errors = self.flushLoggedErrors()
        self.assertEqual([], errors, f"{errors} by {sent.hex()}")
        peer.lose()
        self.world.clock.advance(1)
        self.neighbour.read()
        self.assertEqual(1, self.world.factory.count)

    def connect(self, kind: int | None) -> Peer:
        return self.world.connect() if kind is None else self.world.bound(kind)

    def test_the_corpus(self) -> None:
        for kind in _KINDS:
            for _name, octets in known_cases():
                peer = self.connect(kind)
                peer.send(octets)
                self.check(peer, octets)

    def test_the_stream(self) -> None:
        fuzz = Fuzz(20260102)
        for n in range(COUNT // _A_CONNECTION):
            peer = self.connect(_KINDS[n % 4])
            sent = b""
            for _ in range(_A_CONNECTION):
                octets = fuzz.case().octets
                sent += octets
                peer.send(octets)
            self.check(peer, sent)
