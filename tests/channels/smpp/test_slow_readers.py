"""Real sockets that write and do not read: what waits for them in our memory stays small, and they are given up."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from protei_bulk.channels.smpp.delivery import Delivery
from protei_bulk.channels.smpp.factory import SmppFactory
from protei_bulk.channels.tls import Certificates
from protei_bulk.settings import Smpp
from protei_bulk.smpp import commands, fast
from tests.channels.smpp.fakes import Auth, Intake, Outbox, Rows, bind, submit
from tests.channels.smpp.test_flow import receipts
from tests.support.certificates import Authority
from tests.support.sockets import Small, Unread, turn, until, waiting

R: Any = reactor
BOUND = 64 * 1024 + 2 * 64 * 1024  # the transport's, and what one read of 64 KiB may make us answer
ENQUIRES = b"".join(fast.header(commands.ENQUIRE_LINK, 0, n) for n in range(1, 2000))


class Sockets(TestCase):
    timeout = 60
    tls = False

    def setUp(self) -> None:
        self.intake, self.outbox = Intake(), Outbox()
        self.delivery = Delivery(self.outbox, R)
        self.factory = SmppFactory(
            Smpp(write_timeout=0.1, window=100, deliver_window=1000, response_timeout=30.0), R, Auth(),
            self.intake, self.delivery, Rows(),  # type: ignore[arg-type]
        )  # fmt: skip
        self.factory.start()
        self.small = Small(self.factory)
        served: Any = self.small
        self.context: ssl.SSLContext | None = None
        if self.tls:
            folder = Path(self.mktemp())
            folder.mkdir()
            authority = Authority(folder)
            served = Certificates(*authority.issue("localhost", "localhost")).wrap(self.small, R)
            self.context = ssl.create_default_context(cafile=str(authority.pem))
        self.port = R.listenTCP(0, served, interface="127.0.0.1")

    async def tearDown(self) -> None:
        await self.port.stopListening()
        self.factory.close()
        await until(lambda: not self.factory.count)
        ended = self.factory.stop()
        if ended is not None:
            await ended

    async def client(self, command: int = commands.BIND_TRANSCEIVER) -> tuple[Unread, Any]:
        """A bound one, and the session at our side."""
        client = Unread(self.port.getHost().port, self.context)
        self.addCleanup(client.close)
        await client.ready()
        client.push_once(bind(1, command))
        await client.read()
        return client, self.small.served[-1]

    async def flooded(self, client: Unread, session: Any, data: bytes) -> int:
        """Writes until we hang up: the most that waited to be written at any time."""
        most = 0
        while not client.gone:
            client.push(data)
            await turn()
            if session.transport is not None:
                most = max(most, waiting(session.transport))
                if session.flow.choked:
                    session.tick(R.seconds())  # as every second
        return most

    async def test_a_flood_of_requests(self) -> None:
        client, session = await self.client()
        most = await self.flooded(client, session, ENQUIRES)
        self.assertTrue(32 * 1024 < most < BOUND, most)
        self.assertEqual(0, self.factory.count)

    async def test_a_flood_of_messages(self) -> None:
        client, session = await self.client(commands.BIND_TRANSMITTER)
        data = b"".join(submit(n) for n in range(1, 200))
        most = await self.flooded(client, session, data)
        self.assertTrue(32 * 1024 < most < BOUND, most)
        self.assertLess(len(self.intake.messages), client.sent // len(submit(1)) + 1)

    async def test_before_a_bind(self) -> None:
        client = Unread(self.port.getHost().port, self.context)
        self.addCleanup(client.close)
        await client.ready()
        client.push(ENQUIRES)
        await until(lambda: self.small.served)
        most = await self.flooded(client, self.small.served[-1], ENQUIRES)
        self.assertLess(most, BOUND)

    async def test_receipts_for_one_that_does_not_read(self) -> None:
        client, session = await self.client(commands.BIND_RECEIVER)
        self.delivery.forward(receipts(15_000))
        await until(lambda: session.flow.choked)
        written = session.sent
        for _ in range(20):
            await turn()
        self.assertEqual(written, session.sent)
        self.assertLess(waiting(session.transport), 1000 * 300)  # one window
        while self.factory.count:
            session.tick(R.seconds())
            await turn()
        self.assertEqual(15_000, len(self.outbox.kept))  # none is lost

    async def test_one_that_reads_late_gets_everything(self) -> None:
        self.factory.settings = evolve(self.factory.settings, write_timeout=50.0)
        client, session = await self.client()
        while not session.flow.choked:
            client.push(ENQUIRES)
            await turn()
        asked = client.sent // 16
        got = 0
        while got < asked * 16:
            got += len(await client.read())
        await until(lambda: not session.flow.reasons)
        self.assertEqual(1, self.factory.count)


class SocketsTls(Sockets):
    tls = True
