from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.intake import long as module
from protei_bulk.intake.long import SECONDS, LongMessages
from protei_bulk.model.account import Account
from protei_bulk.model.long import OWN_RECEIPT, LongMessage, LongPart, part_of, place
from protei_bulk.model.message import NO_ROUTE, Message
from protei_bulk.routing.rules import Decision
from tests.intake.test_accept import IntakeCase

SHOP = Account(7, "shop", 3)
_NOW = 1_800_000_000.0


class FakeRoutes:
    """Round robin over three SMSCs."""

    def __init__(self) -> None:
        self.turn = -1
        self.asked = 0
        self.decision = Decision(("a", "b", "c"), rule="r", strategy="round-robin")

    def route(self, account: Account, m: Message) -> Decision:
        self.asked += 1
        return self.decision

    def candidates(self, decision: Decision, dest: str) -> tuple[str, ...]:
        self.turn += 1
        turn = self.turn % len(decision.smscs)
        return decision.smscs[turn:] + decision.smscs[:turn]


def udh(number: int, total: int = 3, reference: int = 9) -> bytes:
    return bytes((5, 0, 3, reference, total, number))


def sar(number: int, total: int = 3, reference: int = 9) -> dict[int, bytes]:
    return {0x020C: reference.to_bytes(2, "big"), 0x020E: bytes((total,)), 0x020F: bytes((number,))}


class Places(SynchronousTestCase):
    def test_headers(self) -> None:
        self.assertEqual(place(udh(2), None), (9, 3, 2))
        self.assertEqual(place(b"\x06\x08\x04\x01\x09\x03\x02", None), (0x0109, 3, 2))
        for no in (b"", b"\x05\x00\x03\x09\x03\x04", b"\x05\x00\x03\x09\x01\x01", b"\x05\x04\x03\x09\x03\x01", b"\x05\x00"):
            self.assertIsNone(place(no, None), no)

    def test_parameters(self) -> None:
        self.assertEqual(place(b"", sar(2)), (0x10009, 3, 2))
        self.assertEqual(place(b"\x05\x24\x01\x01\x25\x00", sar(2)), (0x10009, 3, 2))
        for no in (sar(4), sar(0), sar(1, 1), {}, {**sar(1), 0x020C: b"\1"}, {0x020E: b"\3", 0x020F: b"\1"}):
            self.assertIsNone(place(b"", no), no)

    def test_a_header_comes_first(self) -> None:
        self.assertEqual(place(udh(2, 2), sar(3)), (9, 2, 2))
        self.assertIsNone(place(udh(1, 1), sar(3)))


class Groups(SynchronousTestCase):
    def setUp(self) -> None:
        self.routes = FakeRoutes()
        self.long = LongMessages(self.routes)
        self.count = 0
        self.now = _NOW

    def part(
        self, number: int, total: int = 3, reference: int = 9, body: bytes = b"", *, account: Account = SHOP, smsc: str = "", **values: Any
    ) -> Message:
        """One part as the intake takes it; `smsc`: where it was placed, if not with its first candidate."""
        m = Message()
        m.source, m.dest, m.udh, m.body = "Shop", "962791234567", udh(number, total, reference), body or b"%d of %d" % (number, total)
        m.created = self.now
        for name, value in values.items():
            setattr(m, name, value)
        m.long = part_of(m.udh, m.tlvs)
        decision = self.long.decide(account, m)
        m.candidates = decision.smscs
        if decision.refusal is None:
            self.count += 1
            m.id = f"MSG-{self.count:012d}"
            m.user_id = account.user_id
            m.smsc = smsc or m.candidates[0]
            self.long.placed(m)
        return m

    def of(self, m: Message) -> tuple[str, str, int, int]:
        assert m.long is not None
        return m.long.of.id, m.smsc, m.long.number, m.long.total

    def test_one_way_for_all_parts(self) -> None:
        parts = [self.part(n) for n in (1, 2, 3)]
        first = parts[0].id
        self.assertEqual([self.of(m) for m in parts], [(first, "a", 1, 3), (first, "a", 2, 3), (first, "a", 3, 3)])
        self.assertEqual((self.routes.asked, len(self.long)), (1, 0))
        self.assertEqual(self.of(self.part(1, dest="962790000000"))[1], "b")  # another message has another turn

    def test_in_any_order_and_mixed_with_others(self) -> None:
        ways: dict[int, set[tuple[str, str]]] = {}
        for number, reference in ((3, 1), (1, 2), (2, 1), (3, 2), (2, 2), (1, 1)):
            ways.setdefault(reference, set()).add(self.of(self.part(number, reference=reference))[:2])
        self.assertEqual([len(found) for found in ways.values()], [1, 1])
        self.assertEqual(len(set.union(*ways.values())), 2)

    def test_another_sender_recipient_user_or_total_is_another_message(self) -> None:
        self.part(1)
        ids = [
            self.of(m)[0] for m in (
                self.part(2, source="Other"), self.part(2, dest="962790000000"), self.part(2, account=evolve(SHOP, user_id=8)),
                self.part(2, 4), self.part(2, tlvs=sar(2), udh=b""), self.part(2),
            )
        ]  # fmt: skip
        self.assertEqual(len(set(ids)), 6)

    def test_the_reference_in_use_again(self) -> None:
        first = [self.part(n) for n in (1, 2)]
        second = [self.part(n, body=b"other %d" % n) for n in (1, 2, 3)]
        self.assertEqual({self.of(m)[0] for m in first}, {first[0].id})
        self.assertEqual({self.of(m)[0] for m in second}, {second[0].id})
        self.assertEqual(len(self.long), 0)

    def test_the_same_part_again(self) -> None:
        first = self.part(1)
        self.assertEqual(self.of(self.part(1))[0], first.id)
        for n in (2, 3):
            self.assertEqual(self.of(self.part(n))[0], first.id)
        self.assertEqual(self.of(self.part(1))[0], "MSG-000000000005")  # what is complete takes no more

    def test_where_the_last_one_went(self) -> None:
        self.part(1)
        self.part(2, smsc="b")  # the first has no bind any more
        m = self.part(3)
        self.assertEqual((m.smsc, m.candidates), ("b", ("b", "a", "c")))

    def test_too_late(self) -> None:
        first = self.part(1)
        self.now += SECONDS - 1
        self.assertEqual(self.of(self.part(2))[0], first.id)
        self.now += 1
        late = self.part(3)
        self.assertEqual(self.of(late)[0], late.id)

    def test_bounded(self) -> None:
        self.patch(module, "MOST", 10)
        for n in range(30):
            self.part(1, reference=n)
        self.assertEqual(len(self.long), 10)
        self.assertEqual(self.of(self.part(2, reference=29))[0], "MSG-000000000030")
        self.assertEqual(self.of(self.part(2, reference=3))[0], "MSG-000000000032")

    def test_no_route(self) -> None:
        self.routes.decision = Decision((), refusal=NO_ROUTE)
        m = self.part(1)
        self.assertEqual((m.candidates, len(self.long)), ((), 0))

    def test_a_part_that_is_not_stored_comes_again(self) -> None:
        first, second = self.part(1), self.part(2)
        self.long.refused(second)
        self.assertEqual(self.of(self.part(2))[0], first.id)
        last = self.part(3)
        self.long.refused(last)  # the message had been complete
        self.assertEqual((self.of(self.part(3))[0], len(self.long)), (first.id, 0))

    def test_nothing_stored_nothing_kept(self) -> None:
        self.long.refused(self.part(1))
        self.assertEqual(len(self.long), 0)
        self.long.refused(Message())

    def test_one_receipt_together(self) -> None:
        account = evolve(SHOP, receipts="message")
        parts = [self.part(n, account=account, registered=n - 1) for n in (1, 2, 3)]
        self.assertEqual([m.registered for m in parts], [OWN_RECEIPT, OWN_RECEIPT | 1, OWN_RECEIPT | 2])
        self.assertTrue(all(m.long is not None and m.long.merged for m in parts))
        # As it was for its first part: an account that changes in between is told neither twice nor never.
        self.part(1, reference=4, account=account)
        m = self.part(2, reference=4)
        self.assertTrue(m.long is not None and m.long.merged)

    def test_after_a_restart(self) -> None:
        parts = [self.part(n) for n in (1, 2)]
        whole = [self.part(n, 2, 5) for n in (1, 2)]
        stored = []
        for m in (*parts, *whole):
            assert m.long is not None
            back = Message()
            for name in ("id", "user_id", "source", "dest", "udh", "tlvs", "body", "created", "smsc"):
                setattr(back, name, getattr(m, name))
            back.long = LongPart(LongMessage(m.long.of.id, m.smsc), m.long.number, m.long.total, True)
            stored.append(back)
        self.long = LongMessages(self.routes)
        self.long.read_back(stored, self.now + 5)
        self.assertEqual(len(self.long), 1)
        self.routes.turn = 1  # it would be another's turn
        self.assertEqual(self.of(self.part(3)), (parts[0].id, "a", 3, 3))
        self.assertEqual(len(self.long), 0)
        self.long.read_back(stored, self.now + SECONDS)
        self.assertEqual(len(self.long), 0)

    @given(st.data())
    def test_any_order_of_several_messages(self, data: st.DataObject) -> None:
        """Parts of one message share id and SMSC, and none with another's, whatever comes between."""
        self.setUp()
        totals = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=6))
        coming = data.draw(st.permutations([(r, n, total) for r, total in enumerate(totals) for n in range(1, total + 1)]))
        found: dict[int, set[tuple[str, str]]] = {}
        for reference, number, total in coming:
            found.setdefault(reference, set()).add(self.of(self.part(number, total, reference))[:2])
        self.assertEqual([len(ways) for ways in found.values()], [1] * len(totals))
        self.assertEqual(len({id for ways in found.values() for id, _ in ways}), len(totals))
        self.assertEqual(len(self.long), 0)


class InIntake(IntakeCase):
    def part(self, number: int, total: int = 3, **values: Any) -> Message:
        return self.submit(long=part_of(udh(number, total), None), udh=udh(number, total), body=b"part %d" % number, **values)

    def test_refused_by_quota_and_sent_again(self) -> None:
        first = self.part(1)
        self.clock.advance(0)
        self.store.refuses = {0: "Q"}
        refused = self.part(2)
        self.clock.advance(0)
        self.store.refuses = {}
        again = self.part(2)
        last = self.part(3)
        self.clock.advance(0)
        assert refused.refusal is not None and again.long is not None and last.long is not None
        self.assertEqual((again.long.of.id, last.long.of.id, len(self.intake.long)), (first.id, first.id, 0))

    def test_refused_before_it_is_anything(self) -> None:
        self.router.decision = Decision((), refusal=NO_ROUTE)
        self.part(1)
        self.assertEqual(len(self.intake.long), 0)

    def test_scheduled_parts_stay_together(self) -> None:
        parts = [self.part(n, not_before=self.clock.seconds() + 3600) for n in (1, 2, 3)]
        self.assertEqual([(m.smsc, m.queued) for m in parts], [("a", True)] * 3)
