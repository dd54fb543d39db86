from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.session import EsmeSession
from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.model.message import Message
from protei_bulk.pacing.flow import WINDOW
from protei_bulk.smpp import session as states
from protei_bulk.smpp import tags
from protei_bulk.smpp.errors import RejectPdu


class SegmentsTest(SynchronousTestCase):
    def test_more_than_a_concatenation_can_count_is_refused_at_the_entrance(self) -> None:
        fields = (
            "", 0, 0, "Shop", 1, 1, "962790000000", 0, 0, 0, "", "", 0, 0, 4, 0, b"", {tags.MESSAGE_PAYLOAD: b"x" * 40_000},
        )  # fmt: skip
        self.assertRaises(RejectPdu, message_of, fields, 0.0)


class CloseTest(SynchronousTestCase):
    """A session that is told to go while messages wait for their commit."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.removed: list[Any] = []
        settings = SimpleNamespace(
            deliver_window=10, enquire_link_interval=30.0, response_timeout=10.0, inactivity_timeout=0.0, bind_timeout=10.0, window=100,
            write_timeout=30.0,
        )
        delivery = SimpleNamespace(remove=lambda *a: self.removed.append(a))
        factory: Any = SimpleNamespace(
            settings=settings, reactor=self.clock, delivery=delivery, admit=lambda _: True, gone=lambda _: None
        )
        self.session = EsmeSession(factory)
        self.transport = StringTransport()
        self.transport.setTcpNoDelay = lambda _: None  # type: ignore[attr-defined]
        self.session.makeConnection(self.transport)
        self.session.state, self.session.kind, self.session.token = states.BOUND_TRX, "TRANSCEIVER", "t"
        self.session.account = SimpleNamespace(user_id=7)  # type: ignore[assignment]

    def test_it_waits_for_the_answers(self) -> None:
        self.session._unanswered = 1
        self.session.close()
        self.assertFalse(self.transport.disconnecting)
        m = Message()
        m.id = "MSG-000000000001"
        self.session.answered([m])
        self.assertIn(b"MSG-000000000001", self.transport.value())
        self.assertTrue(self.transport.disconnecting)

    def test_its_account_is_out_of_reach_at_once(self) -> None:
        self.session.close()
        self.assertEqual(1, len(self.removed))
        self.assertTrue(self.transport.disconnecting)

    def test_it_is_not_called_dead_while_nobody_reads_it(self) -> None:
        self.session.timers.bound(0.0)
        self.session.flow.hold(WINDOW)
        self.transport.abortConnection = lambda: self.fail("aborted")  # type: ignore[method-assign]
        for _ in range(60):
            self.clock.advance(1)
            self.session.tick(self.clock.seconds())
