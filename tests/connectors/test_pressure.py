"""SMSCs that do not read, or send more than the database records."""

from __future__ import annotations

from protei_bulk.connectors import pressure
from protei_bulk.smpp import commands, fast, statuses
from protei_bulk.smpp.codec import Pdu, encode
from tests.connectors.base import NodeCase
from tests.connectors.fakes import Wire, message, receipt, took


def reads(wire: Wire) -> bool:
    return wire.producerState != "paused"


class SlowSmsc(NodeCase):
    def test_nothing_is_submitted_until_it_reads_again(self) -> None:
        c, wire = self.node.up()
        wire.producer.pauseProducing()  # type: ignore[union-attr]
        c.add(message(1))
        c.pump()
        self.assertEqual(wire.submits(), [])
        self.assertTrue(reads(wire))  # what it answers is worth reading
        wire.producer.resumeProducing()  # type: ignore[union-attr]
        self.assertEqual(len(wire.submits()), 1)

    def test_another_bind_takes_over_meanwhile(self) -> None:
        c, wire = self.node.up(binds=2)
        other = self.node.wire(n=0)
        wire.producer.pauseProducing()  # type: ignore[union-attr]
        c.add(message(1))
        c.pump()
        self.assertEqual((wire.submits(), len(other.submits())), ([], 1))

    def test_one_that_asks_and_never_reads_is_not_read_any_more(self) -> None:
        self.patch(pressure, "_MOST_LATE", 100)
        _, wire = self.node.up()
        wire.producer.pauseProducing()  # type: ignore[union-attr]
        for n in range(10):
            wire.say(fast.header(commands.ENQUIRE_LINK, 0, n + 1))
        self.assertFalse(reads(wire))
        wire.producer.resumeProducing()  # type: ignore[union-attr]
        self.assertTrue(reads(wire))

    def test_it_is_given_up(self) -> None:
        c, wire = self.node.up(response_timeout=10.0)
        c.add(message(1))
        c.pump()
        wire.producer.pauseProducing()  # type: ignore[union-attr]
        for _ in range(12):
            self.node.turn(1.0)
        self.assertTrue(wire.aborted)
        self.assertFalse(c.live)

    def test_an_unbind_from_one_that_does_not_read(self) -> None:
        _, wire = self.node.up()
        wire.producer.pauseProducing()  # type: ignore[union-attr]
        wire.say(fast.header(commands.UNBIND, 0, 5))
        self.assertIsNone(wire.producer)
        self.assertTrue(wire.closed or wire.disconnecting)


class TooManyReceipts(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(pressure, "_MOST_OWED", 4)

    def test_no_more_are_read_than_the_database_records(self) -> None:
        c, wire = self.node.up()
        for n in range(1, 7):
            c.add(message(n))
        c.pump()
        wire.say(*(took(p.sequence, f"x{p.sequence}") for p in wire.submits()))
        self.node.turn()
        self.node.store.hold = True
        wire.say(*(receipt(n, f"x{n}") for n in range(1, 7)))
        self.assertFalse(reads(wire))
        c.add(message(9))
        c.pump()
        self.assertEqual(wire.submits(), [])  # its answer would not be read
        for _ in range(40):
            self.node.turn(1.0)
        self.assertFalse(wire.aborted)  # we do not read: its silence is ours
        self.node.store.hold = False
        self.node.store.release()
        self.node.turn()
        self.assertTrue(reads(wire))

    def test_those_that_nobody_will_answer_are_forgotten_in_the_end(self) -> None:
        _, wire = self.node.up()
        self.node.store.hold = True
        wire.say(*(receipt(n, f"y{n}") for n in range(1, 7)))
        self.assertFalse(reads(wire))
        for _ in range(62):
            self.node.turn(1.0)
        self.assertTrue(reads(wire))


class Hostile(NodeCase):
    def test_two_answers_to_one_bind(self) -> None:
        self.node.connector()
        wire = self.node.wire()
        answer = commands.BIND_TRANSCEIVER | commands.RESP
        wire.say(fast.header(answer, statuses.ESME_RINVPASWD, 1), encode(Pdu(answer, 0, 1, {"system_id": "smsc"})))
        self.assertTrue(wire.aborted)
        self.assertFalse(self.node.fleet.connectors["a"].live)

    def test_an_octet_now_and_then_is_no_sign_of_life(self) -> None:
        _, wire = self.node.up(enquire_link_interval=5.0, response_timeout=5.0)
        for octet in receipt(1, "x" * 40)[:12]:
            wire.say(bytes((octet,)))
            self.node.turn(1.0)
        self.assertTrue(wire.aborted)
