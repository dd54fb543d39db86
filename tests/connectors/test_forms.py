"""Messages that go out in another number of PDUs than they have segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protei_bulk.connectors.journal import SentJournal
from protei_bulk.text import gsm
from tests.connectors.base import NodeCase
from tests.connectors.fakes import message, receipt, refuses, took

_TEXT = gsm.encode("€" * 75)
#: one segment in GSM 03.38, two in UCS-2, which is how an SMSC of Latin 1 gets it
ONE: dict[str, Any] = {"body": _TEXT, "segments": 1}
LONG: dict[str, Any] = {"body": b"x" * 200, "segments": 2}


class MoreParts(NodeCase):
    def test_all_of_them_make_one_outcome(self) -> None:
        _, wire = self.node.up(alphabet="latin1")
        m = message(1, **ONE)
        self.node.fleet.dispatch([m])
        a, b = wire.submits()
        self.assertEqual({p.fields["data_coding"] for p in (a, b)}, {8})
        wire.say(took(a.sequence, "1"))
        self.node.turn()
        self.assertIsNone(self.node.store.status(m.id))
        wire.say(took(b.sequence, "2"))
        self.node.turn()
        self.assertEqual(self.node.store.status(m.id), "SENT")
        self.assertEqual({(r["n"], r["t"]) for r in self.node.store.parts}, {(1, 2), (2, 2)})
        wire.say(receipt(8, "1"))
        self.node.turn()
        self.assertEqual(self.node.forwards.receipts, [])
        wire.say(receipt(9, "2"))
        self.node.turn()
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["DELIVRD"])
        self.assertEqual(m.segments, 1)

    def test_a_part_that_has_to_wait_goes_out_as_it_was(self) -> None:
        _, wire = self.node.up(alphabet="latin1")
        self.node.fleet.dispatch([message(1, **ONE)])
        a, b = wire.submits()
        wire.say(took(a.sequence, "1"), refuses(b.sequence, 0x58))
        self.node.turn(0.2)
        (again,) = wire.submits()
        self.assertEqual((again.fields, again.tlvs), (b.fields, b.tlvs))

    def test_places_in_the_window(self) -> None:
        _, wire = self.node.up(alphabet="latin1", window=3)
        self.node.fleet.dispatch([message(n, **ONE) for n in (1, 2, 3)])
        self.assertTrue(3 <= len(wire.submits()) <= 4)

    def test_more_than_can_be_counted(self) -> None:
        c, wire = self.node.up(alphabet="ascii")
        m = message(1, body=b"\5" * 153 * 255, segments=255)
        self.node.fleet.dispatch([m])
        self.node.turn()
        self.assertEqual((wire.submits(), self.node.store.status(m.id), c.rejected), ([], "REJECTED", 1))

    def test_what_is_noted_on_disk(self) -> None:
        _, wire = self.node.up(alphabet="latin1")
        self.node.fleet.dispatch([message(1, **ONE), message(2)])
        a, b, c = wire.submits()
        wire.say(took(a.sequence, "1"), took(b.sequence, "2"), took(c.sequence, "3"))
        left = SentJournal(Path(self.node.journal._folder))
        found = left.open()
        self.addCleanup(left.close)
        one, other = message(1).id, message(2).id
        self.assertEqual(found, [(one, "a", "1", 1), (one, "a", "2", 2), (other, "a", "3", 0)])
        self.assertEqual(left.totals, {one: 2})


class FewerParts(NodeCase):
    def test_message_payload_is_one(self) -> None:
        _, wire = self.node.up(long_messages="payload")
        m = message(1, **LONG)
        self.node.fleet.dispatch([m])
        (pdu,) = wire.submits()
        self.assertEqual((pdu.fields["short_message"], pdu.tlvs), (b"", {0x0424: m.body}))
        wire.say(took(pdu.sequence, "1"))
        self.node.turn()
        self.assertEqual((self.node.store.status(m.id), self.node.store.parts), ("SENT", [{"i": m.id, "n": 0, "t": 1}]))
        wire.say(receipt(8, "1", "UNDELIV", "005"))
        self.node.turn()
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["UNDELIV"])

    def test_noted_as_a_whole_one(self) -> None:
        _, wire = self.node.up(long_messages="payload")
        self.node.fleet.dispatch([message(1, **LONG)])
        (pdu,) = wire.submits()
        wire.say(took(pdu.sequence, "1"))
        left = SentJournal(Path(self.node.journal._folder))
        self.assertEqual((left.open(), left.totals), ([(message(1).id, "a", "1", 0)], {message(1).id: 1}))
        self.addCleanup(left.close)


class FromOneToAnother(NodeCase):
    """The next SMSC may want it otherwise again."""

    def refused_by(self, first: dict[str, Any], second: dict[str, Any], m: Any) -> list[Any]:
        _, a = self.node.up("a", **first)
        _, b = self.node.up("b", **second)
        self.node.fleet.dispatch([m])
        for pdu in a.submits():
            a.say(refuses(pdu.sequence, 0x08))
        found = b.submits()
        b.say(*(took(pdu.sequence, f"x{n}") for n, pdu in enumerate(found)))
        self.node.turn()
        self.assertEqual(self.node.store.status(m.id), "SENT")
        return found

    def test_from_two_to_one(self) -> None:
        m = message(1, candidates=("a", "b"), **ONE)
        self.assertEqual(len(self.refused_by({"alphabet": "latin1"}, {}, m)), 1)
        self.assertEqual((m.parts, self.node.store.parts), (1, [{"i": m.id, "n": 0, "t": 1}]))

    def test_from_one_to_two(self) -> None:
        m = message(1, candidates=("a", "b"), **LONG)
        self.assertEqual(len(self.refused_by({"long_messages": "payload"}, {}, m)), 2)
        self.assertEqual({(r["n"], r["t"]) for r in self.node.store.parts}, {(1, 2), (2, 2)})

    def test_nothing_is_noted_where_nothing_is_unusual(self) -> None:
        m = message(1, candidates=("a", "b"), **LONG)
        self.assertEqual(len(self.refused_by({}, {"long_messages": "sar"}, m)), 2)
        self.assertEqual((m.parts, [r for r in self.node.store.parts if "t" in r]), (0, []))
