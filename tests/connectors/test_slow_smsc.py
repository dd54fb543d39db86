"""A real SMSC's socket that asks without end and reads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from protei_bulk.connectors import link
from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.journal import SentJournal
from protei_bulk.receipts.matcher import Matcher
from protei_bulk.receipts.outcomes import Outcomes
from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, encode
from tests.connectors.fakes import FakeForwards, FakeStore, Notes, Wakes, message, payload
from tests.support.sockets import turn, until, waiting

R: Any = reactor


class Deaf(Protocol):
    """Accepts the bind, and never reads again."""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.transport.write(encode(Pdu(commands.BIND_TRANSCEIVER | commands.RESP, 0, 1, {"system_id": "smsc"})))  # type: ignore[union-attr]
        self.transport.pauseProducing()  # type: ignore[union-attr]


class SlowSmsc(TestCase):
    timeout = 60

    async def setUp(self) -> None:
        self.patch(link, "_CLOSE_AFTER", 0.2)
        self.deaf: list[Deaf] = []

        def build() -> Deaf:
            self.deaf.append(Deaf())
            return self.deaf[-1]

        self.port = R.listenTCP(0, Factory.forProtocol(build), interface="127.0.0.1")
        store = FakeStore()
        self.outcomes = Outcomes(store, FakeForwards(), Notes(), R, payload, Wakes())
        self.journal = SentJournal(Path(self.mktemp()))
        self.journal.open()
        settings = Smsc(
            id="a", host="127.0.0.1", port=self.port.getHost().port, window=100_000, response_timeout=1.0, reconnect_min=50.0,
            queue_memory=200_000,
        )  # fmt: skip
        endpoint = HostnameEndpoint(R, b"127.0.0.1", settings.port)
        self.connector = Connector(
            settings, R, lambda: endpoint, self.outcomes, Matcher(self.outcomes, store, store, R), self.journal, store,
            Fleet().move, chance=lambda: 0.5,
        )  # fmt: skip
        self.connector.start()
        await until(lambda: self.connector.links)

    async def tearDown(self) -> None:
        await self.connector.stop()
        for deaf in self.deaf:
            if deaf.transport is not None:
                deaf.transport.abortConnection()  # type: ignore[attr-defined]
        await self.port.stopListening()
        self.journal.close()

    async def test_it_uses_bounded_memory_and_is_given_up(self) -> None:
        bind, most = self.connector.links[0], 0
        asking = b"".join(fast.header(commands.ENQUIRE_LINK, 0, n) for n in range(1, 4000))
        while self.connector.links:
            if not self.deaf[0].transport._tempDataLen:  # type: ignore[union-attr]
                self.deaf[0].transport.write(asking)  # type: ignore[union-attr]
            await turn()
            if bind.transport is not None:
                most = max(most, waiting(bind.transport))
        self.assertTrue(64 * 1024 < most < 1_400_000, most)

    async def test_a_lane_is_not_poured_into_its_buffer(self) -> None:
        bind = self.connector.links[0]
        for n in range(100_000):
            self.connector.add(message(n, registered=0))
        while not bind._pressure.flow.choked:
            self.connector.pump()
            await turn()
        left = len(self.connector.lane)
        for _ in range(20):
            self.connector.pump()
            await turn()
        self.assertEqual(left, len(self.connector.lane))
