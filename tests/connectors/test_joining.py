from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.connectors.joining import Joiner, joined
from protei_bulk.model.long import OWN_RECEIPT, LongMessage, LongPart
from protei_bulk.model.message import Message
from protei_bulk.pacing.lanes import Lane
from protei_bulk.smpp import statuses
from protei_bulk.smpp.codec import Pdu
from protei_bulk.text import gsm
from tests.connectors.base import NodeCase
from tests.connectors.fakes import Wire, message, receipt, refuses, took

_NOW = 1000.0


def part(n: int, of: LongMessage, number: int, total: int = 3, **values: Any) -> Message:
    """Message n, a part as the intake makes it."""
    m = message(n, udh=bytes((5, 0, 3, 9, total, number)), body=b"<part %d>" % number, text=f"<part {number}>")
    m.dest = "962790000000"
    m.long = LongPart(of, number, total)
    for name, value in values.items():
        setattr(m, name, value)
    return m


def parts(first: int = 1, total: int = 3, **values: Any) -> list[Message]:
    of = LongMessage(f"MSG-{first:012d}", "a")
    return [part(first + n, of, n + 1, total, **values) for n in range(total)]


class Wholes(SynchronousTestCase):
    def test_the_first_one_counts(self) -> None:
        made = parts(esm_class=3, service_type="CMT", tlvs={0x0204: b"\0\1"})
        made[1].service_type = "X"
        whole = joined(made)
        assert whole is not None
        self.assertEqual((whole.body, whole.text), (b"<part 1><part 2><part 3>", "<part 1><part 2><part 3>"))
        self.assertEqual((whole.udh, whole.segments), (b"", 3))
        self.assertEqual((whole.service_type, whole.esm_class, whole.tlvs, whole.smsc), ("CMT", 3, {0x0204: b"\0\1"}, "a"))
        self.assertEqual((whole.id, whole.joined, whole.long), (made[0].id, tuple(made), None))

    def test_its_place_is_not_passed_on(self) -> None:
        made = parts(total=2, udh=b"", tlvs={0x020C: b"\0\1", 0x020E: b"\2", 0x020F: b"\1"})
        whole = joined(made)
        self.assertIsNone(whole and whole.tlvs)

    def test_what_any_of_them_wants(self) -> None:
        made = parts(registered=0)
        made[1].registered, made[2].registered = OWN_RECEIPT | 2, 0x10
        made[0].valid_until, made[1].valid_until, made[2].priority = 50.0, 20.0, 3
        whole = joined(made)
        assert whole is not None
        self.assertEqual((whole.registered, whole.valid_until, whole.priority), (OWN_RECEIPT | 0x12, 20.0, 3))
        self.assertEqual(joined(parts()) and joined(parts()).valid_until, 0.0)  # type: ignore[union-attr]

    def test_the_oldest_id(self) -> None:
        made = parts()
        made[0].id, made[2].id = made[2].id, made[0].id  # they came the other way round
        whole = joined(made)
        self.assertEqual(whole and whole.id, "MSG-000000000001")

    def test_texts_that_cannot_be_laid_together(self) -> None:
        made = parts()
        made[1].data_coding = 4
        self.assertIsNone(joined(made))
        made = parts()
        made[1].udh = b"\x0b\x05\x04\x0b\x84\x23\xf0\x00\x03\x09\x03\x02"  # a port beside it
        self.assertIsNone(joined(made))


class JoinerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.lane = Lane()
        self.fits = True
        self.joiner = Joiner(self.lane, 30.0, 10, lambda m: self.fits)

    def go(self, *messages: Message, most: int = 10, now: float = _NOW) -> list[Message]:
        for m in messages:
            self.lane.add(m)
        return self.joiner.fill(self.lane.take(most), most, now)

    def ids(self, messages: list[Message]) -> list[list[str]]:
        return [[m.id for m in g.joined or (g,)] for g in messages]


class Collecting(JoinerCase):
    def test_together_once_all_are_there(self) -> None:
        made, other = parts(), message(9)
        self.assertEqual(self.go(made[2], other), [other])
        self.assertEqual(self.go(made[0]), [])
        self.assertEqual((len(self.lane), list(self.lane)), (2, [made[2], made[0]]))
        [whole] = self.go(made[1])
        self.assertEqual((whole.joined, len(self.lane), self.lane.aside), (tuple(made), 0, {}))

    def test_the_places_of_parts_that_wait_are_filled(self) -> None:
        made = parts()
        others = [message(n) for n in (10, 11, 12)]
        self.assertEqual(self.ids(self.go(made[0], others[0], made[1], *others[1:], made[2], most=2)), [[others[0].id], [others[1].id]])
        self.assertEqual(self.ids(self.go(most=2)), [[others[2].id], [m.id for m in made]])

    def test_too_late(self) -> None:
        made = parts()
        self.assertEqual(self.go(*made[:2]), [])
        self.joiner.late(_NOW + 29)
        self.assertEqual(self.lane.take(10), [])
        self.joiner.late(_NOW + 30)
        going = self.go(now=_NOW + 30)
        self.assertEqual(going, made[:2])
        for m in going:
            self.lane.give_back(m)  # throttled, say
        self.assertEqual(self.go(now=_NOW + 31), made[:2])  # and no second wait

    def test_too_many(self) -> None:
        sets = [parts(10 * n) for n in range(1, 8)]
        self.assertEqual([m for made in sets[:5] for m in self.go(*made[:2])], [])
        self.assertEqual(self.go(sets[5][0]), sets[0][:2])
        self.assertEqual(len(self.lane), 9)

    def test_what_does_not_fit_into_one(self) -> None:
        made = parts()
        self.fits = False
        self.assertEqual(self.go(*made), made)
        other = parts(20)
        other[1].data_coding = 4
        self.assertEqual(self.go(*other), other)
        self.assertEqual(self.lane.aside, {})

    def test_a_part_that_was_stored_twice(self) -> None:
        made = parts()
        assert made[1].long is not None
        again = part(7, made[1].long.of, 2)
        [whole] = self.go(made[0], made[1], again, made[2])
        self.assertEqual((whole.joined, whole.body), ((*made, again), b"<part 1><part 2><part 3>"))
        made = parts(20)
        assert made[1].long is not None
        again = part(27, made[1].long.of, 2)
        self.go(made[1], again)
        self.joiner.late(_NOW + 30)
        self.assertEqual(self.go(now=_NOW + 30), [made[1], again])

    def test_one_is_taken_back(self) -> None:
        made = parts()
        self.go(*made[:2])
        self.assertEqual(self.lane.withdraw({made[0].id}), [made[0]])
        self.assertEqual(self.go(made[2]), made[1:])
        self.assertEqual(self.lane.aside, {})

    def test_one_is_taken_back_and_comes_again(self) -> None:
        made = parts()
        self.go(*made[:2])
        self.lane.withdraw({made[0].id})
        self.lane.give_back(made[0])
        [whole] = self.go(made[2])
        self.assertEqual(set(whole.joined), set(made))
        self.assertEqual(whole.body, b"<part 1><part 2><part 3>")

    def test_the_lane_is_cleared(self) -> None:
        made = parts()
        self.go(*made[:2])
        self.assertEqual((self.lane.clear(), len(self.lane)), (made[:2], 0))
        self.joiner.late(_NOW + 30)
        self.assertEqual(self.go(), [])

    def test_one_whose_validity_ends_goes_to_its_end(self) -> None:
        made = parts()
        made[0].valid_until = _NOW
        self.assertEqual(self.go(*made[:2]), [made[0]])

    def test_more_than_there_is_room_for(self) -> None:
        sets = [parts(10 * n) for n in range(1, 6)]
        for made in sets:
            self.go(*made[:2])
        first = parts(90)
        self.assertEqual(self.go(first[0], most=1), [sets[0][0]])
        self.assertEqual(self.go(most=1), [sets[0][1]])

    @given(st.data())
    def test_nothing_is_lost_and_nothing_goes_twice(self, data: st.DataObject) -> None:
        """Parts come in any order, time passes, some are taken back and given back, the lane is cleared: each is in one place."""
        self.setUp()
        sets = [parts(10 * n, data.draw(st.integers(2, 4))) for n in range(1, data.draw(st.integers(2, 6)))]
        coming = data.draw(st.permutations([m for made in sets for m in made]))
        everything = {m.id for m in coming}
        away: list[Message] = []
        gone: list[str] = []
        now = _NOW
        for m in coming:
            for one in self.go(m, most=data.draw(st.integers(1, 5)), now=now):
                found = [p.id for p in one.joined or (one,)]
                if data.draw(st.integers(0, 4)) == 0:  # throttled
                    for p in one.joined or (one,):
                        self.lane.give_back(p)
                else:
                    gone += found
            what = data.draw(st.integers(0, 9))
            if what == 0:
                now += 31
                self.joiner.late(now)
            elif what == 1 and len(self.lane):
                ids = {data.draw(st.sampled_from(sorted(p.id for p in self.lane)))}
                away += self.lane.withdraw(ids)
            elif what == 2:
                for p in away:
                    self.lane.give_back(p)
                away = []
            elif what == 3:
                for p in self.lane.clear():
                    self.lane.add(p)
        for p in away:
            self.lane.give_back(p)
        while len(self.lane):
            now += 31
            self.joiner.late(now)
            gone += [p.id for one in self.go(now=now) for p in one.joined or (one,)]
        self.assertEqual(sorted(gone), sorted(everything))


class WithAnSmsc(NodeCase):
    """A connector whose SMSC wants long messages whole."""

    def up(self, **settings: Any) -> Wire:
        self.connector, wire = self.node.up(long_messages="payload", **settings)
        return wire

    def give(self, *messages: Message) -> None:
        for m in messages:
            self.connector.add(m)
        self.connector.pump()
        self.node.turn()

    def text(self, pdu: Pdu) -> bytes:
        return bytes(pdu.fields["short_message"] or pdu.tlvs.get(0x0424, b""))

    def long(self, first: int = 1, **values: Any) -> list[Message]:
        """Parts that together are more than one short message."""
        made = parts(first, **values)
        for m in made:
            m.body = m.body.ljust(150, b".")
            m.text = m.body.decode()
        return made

    def test_one_submit_sm_one_answer_one_receipt(self) -> None:
        wire = self.up()
        made = self.long()
        self.give(*made[:2])
        self.assertEqual(wire.submits(), [])
        self.give(made[2])
        [pdu] = wire.submits()
        self.assertEqual((pdu.fields["short_message"], pdu.tlvs[0x0424]), (b"", b"".join(m.body for m in made)))
        self.assertEqual((pdu.fields["esm_class"], pdu.fields["registered_delivery"]), (0, 1))
        wire.say(took(pdu.sequence, "smsc-1"))
        self.node.turn()
        self.assertEqual([(r["i"], r["z"], r["x"]) for r in self.node.store.rows], [(m.id, "SENT", "smsc-1") for m in made])
        self.assertEqual(self.node.notes.count, 3)
        wire.say(receipt(1, "smsc-1"))
        self.node.turn()
        self.assertEqual([(f.message.id, f.stat) for f in self.node.forwards.receipts], [(m.id, "DELIVRD") for m in made])
        self.assertEqual([p.sequence for p in wire.pdus()], [1])

    def test_short_ones_go_as_one_short_message(self) -> None:
        wire = self.up()
        self.give(*parts())
        [pdu] = wire.submits()
        self.assertEqual((self.text(pdu), pdu.tlvs, pdu.fields["esm_class"]), (b"<part 1><part 2><part 3>", {}, 0))

    def test_in_the_smscs_alphabet(self) -> None:
        wire = self.up(alphabet="latin1")
        made = self.long()
        made[0].body, made[0].text = gsm.encode("é" * 150), "é" * 150
        self.give(*made)
        [pdu] = wire.submits()
        self.assertEqual(self.text(pdu)[:150], ("é" * 150).encode("latin-1"))

    def test_an_smsc_without_tlvs_gets_parts(self) -> None:
        wire = self.up(interface_version="3.3")
        self.give(*self.long())
        self.assertEqual([p.fields["esm_class"] & 0x40 for p in wire.submits()], [0x40] * 3)

    def test_other_messages_do_not_wait(self) -> None:
        wire = self.up(window=2)
        self.give(self.long()[0], message(7), message(8), message(9))
        self.assertEqual([p.fields["short_message"] for p in wire.submits()], [b"hello"] * 2)

    def test_after_a_while_as_they_are(self) -> None:
        wire = self.up(join_seconds=5.0)
        made = self.long()
        self.give(*made[:2])
        for _ in range(9):
            self.node.turn(0.5)
        self.assertEqual(wire.submits(), [])
        for _ in range(4):
            self.node.turn(0.5)
        self.assertEqual([self.text(p) for p in wire.submits()], [m.udh + m.body for m in made[:2]])

    def test_throttled(self) -> None:
        wire = self.up()
        self.give(*self.long())
        [pdu] = wire.submits()
        wire.say(refuses(pdu.sequence, statuses.ESME_RTHROTTLED))
        self.assertEqual(len(self.connector.lane), 3)
        self.node.turn(1.0)
        [again] = wire.submits()
        self.assertEqual(self.text(again), self.text(pdu))

    def test_refused(self) -> None:
        wire = self.up()
        made = self.long()
        self.give(*made)
        wire.say(refuses(wire.submits()[0].sequence, statuses.ESME_RINVDSTADR))
        self.node.turn()
        self.assertEqual([(r["i"], r["z"], r["e"]) for r in self.node.store.rows], [(m.id, "REJECTED", "011") for m in made])
        self.assertEqual(len(self.node.forwards.receipts), 3)

    def test_an_ill_smsc(self) -> None:
        wire = self.up()
        made = self.long()
        self.give(*made)
        wire.say(refuses(wire.submits()[0].sequence, statuses.ESME_RSYSERR))
        self.node.turn()
        self.assertEqual(sorted(r["i"] for r in self.node.store.queue), [m.id for m in made])

    def test_the_bind_goes(self) -> None:
        wire = self.up()
        made = self.long()
        self.give(*made)
        self.assertEqual(self.connector.oldest(), made[0].id)
        wire.abortConnection()
        self.assertEqual(([m.attempts for m in made], [m.in_doubt for m in made]), ([1] * 3, [True] * 3))
        self.assertEqual(sorted(m.id for m in self.connector.lane), [m.id for m in made])

    def test_held_where_the_outcome_is_unknown(self) -> None:
        wire = self.up(outcome_unknown="hold")
        made = self.long()
        self.give(*made)
        wire.abortConnection()
        self.node.turn()
        self.assertEqual([(r["i"], r["h"]) for r in self.node.store.queue], [(m.id, True) for m in made])

    def test_the_validity_ends(self) -> None:
        wire = self.up(max_tps=1)
        made = self.long(valid_until=self.node.clock.seconds() + 10)
        self.give(*[message(n) for n in range(20, 25)], *made[:2])
        self.node.turn(20.0)
        self.give(made[2])
        for _ in range(20):
            self.node.turn(1.0)
        self.assertEqual({r["i"] for r in self.node.store.rows if r["z"] == "EXPIRED"}, {m.id for m in made})
        self.assertNotIn(b"part", b"".join(self.text(p) for p in wire.submits()))

    def test_parts_that_wait_are_what_waits(self) -> None:
        """For the low-water mark, for cancel_sm, and where there is no bind any more."""
        wire = self.up()
        made = self.long()
        self.give(*made[:2])
        self.assertEqual(self.node.fleet.oldest(), made[0].id)
        self.assertEqual(self.node.fleet.withdraw({made[1].id}), [made[1]])
        self.assertEqual(self.node.fleet.matching({(7, "Shop", "962790000000")}), [made[0]])
        wire.abortConnection()
        self.node.turn(6.0)
        self.assertEqual([r["i"] for r in self.node.store.queue], [made[0].id])

    def test_the_receipt_comes_first(self) -> None:
        wire = self.up()
        made = self.long()
        self.give(*made)
        [pdu] = wire.submits()
        wire.say(receipt(1, "smsc-1"))
        for _ in range(3):
            self.node.turn()
        wire.say(took(pdu.sequence, "smsc-1"))
        self.node.turn()
        self.assertEqual([(f.message.id, f.stat) for f in self.node.forwards.receipts], [(m.id, "DELIVRD") for m in made])

    def test_the_receipt_comes_after_a_restart(self) -> None:
        wire = self.up()
        made = self.long()
        for m in made:
            self.node.store.known.append(("a", "smsc-1", m, "SENT", 0))
        wire.say(receipt(1, "smsc-1", "UNDELIV", "005"))
        for _ in range(3):
            self.node.turn()
        told = sorted((f.message.id, f.stat, f.err) for f in self.node.forwards.receipts)
        self.assertEqual(told, [(m.id, "UNDELIV", "005") for m in made])
        self.assertEqual([p.sequence for p in wire.pdus()], [1])

    def test_one_part_was_done_already(self) -> None:
        wire = self.up()
        made = self.long()
        for m in made:
            self.node.store.known.append(("a", "smsc-1", m, "DELETED" if m is made[0] else "SENT", 0))
        wire.say(receipt(1, "smsc-1"))
        for _ in range(3):
            self.node.turn()
        self.assertEqual({f.message.id for f in self.node.forwards.receipts}, {m.id for m in made[1:]})


class OneWay(NodeCase):
    """Parts follow each other to another SMSC."""

    def test_a_part_that_moved_takes_the_others_along(self) -> None:
        a, wire = self.node.up("a", window=1)
        _, other = self.node.up("b")
        made = parts(candidates=("a", "b"))
        for m in made:
            a.add(m)
        a.pump()
        [first] = wire.submits()
        wire.say(refuses(first.sequence, statuses.ESME_RSYSERR))
        self.node.turn()
        self.assertEqual([p.fields["short_message"][6:] for p in other.submits()], [m.body for m in made])
        self.assertEqual((wire.submits(), {m.smsc for m in made}), ([], {"b"}))

    def test_others_stay(self) -> None:
        a, wire = self.node.up("a", window=1)
        self.node.up("b")
        moving, staying = parts(candidates=("a", "b")), parts(20, candidates=("a", "b"))
        for m in (*moving, *staying):
            a.add(m)
        a.pump()
        wire.say(refuses(wire.submits()[0].sequence, statuses.ESME_RSYSERR))
        self.node.turn()
        self.assertEqual([m.smsc for m in (*moving, *staying)], ["b"] * 3 + ["a"] * 3)

    def test_a_full_lane_keeps_them_together(self) -> None:
        a, _ = self.node.up("a", window=1, queue_memory=1)
        self.node.up("b")
        made = parts(candidates=("a", "b"))
        a.add(message(50))
        a.add(message(51))
        for m in made:
            self.node.fleet.place(m)
        self.assertEqual([(m.smsc, m.queued) for m in made], [("a", True)] * 3)
        plain = message(60, candidates=("a", "b"))
        self.node.fleet.place(plain)
        self.assertEqual((plain.smsc, plain.queued), ("b", False))
