from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.intake.accept import Intake
from protei_bulk.model.account import Account
from protei_bulk.model.ids import IdMaker
from protei_bulk.model.message import NO_ROUTE, Message
from protei_bulk.routing.rules import Decision
from protei_bulk.store.batcher import Batcher

DAY = 1_800_000_000.0  # 2027-01-15 08:00 UTC


class FakeStore:
    def __init__(self) -> None:
        self.fails = 0  # so many calls of accept
        self.commits_anyway = False
        self.look_fails = 0
        self.refuses: dict[int, str] = {}  # index in the batch -> Q or B
        self.batches: list[list[dict[str, Any]]] = []
        self.charges: list[list[dict[str, Any]]] = []
        self.committed: set[str] = set()
        self.days: list[str] = []
        self.day_answer: Deferred[int] | None = None
        self.opened: list[Sequence[Any]] = []

    def accept(self, charges: list[dict[str, Any]], rows: list[dict[str, Any]], queued: bool) -> Deferred[dict[str, str] | None]:
        self.batches.append(rows)
        self.charges.append(charges)
        if self.fails:
            self.fails -= 1
            if self.commits_anyway:
                self.committed = {r["i"] for r in rows}
            return fail(ConnectionError("the database went"))
        self.committed |= {r["i"] for r in rows}
        return succeed({rows[n]["i"]: why for n, why in self.refuses.items()} or None)

    def stored(self, ids: list[str]) -> Deferred[set[str]]:
        if self.look_fails:
            self.look_fails -= 1
            return fail(ConnectionError("still away"))
        return succeed(self.committed & set(ids))

    def day_campaign(self, user_id: int, customer_id: int, day: str, public_id: str, system_id: str) -> Deferred[int]:
        self.days.append(day)
        return self.day_answer if self.day_answer is not None else succeed(100 + len(self.days))

    def open_campaign(self, values: Sequence[Any]) -> Deferred[int]:
        self.opened.append(values)
        return succeed(5)


class FakeRouter:
    decision = Decision(("a", "b"), Decimal("0.02"))

    def route(self, *_: object) -> Decision:
        return self.decision


class FakeFleet:
    def __init__(self) -> None:
        self.went: list[Message] = []
        self.queue = False

    def place(self, m: Message) -> None:
        m.smsc, m.queued = m.candidates[0], self.queue

    def dispatch(self, messages: list[Message]) -> None:
        self.went += messages


class FakeOrigin:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def answered(self, messages: list[Message]) -> None:
        self.calls.append(["ok" if m.refusal is None else m.refusal.code for m in messages])


class IntakeCase(SynchronousTestCase):
    max_pending = 50

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(DAY)
        self.store, self.router, self.fleet, self.origin = FakeStore(), FakeRouter(), FakeFleet(), FakeOrigin()
        self.intake = Intake(
            self.store, self.router, self.fleet, IdMaker(self.clock.seconds), self.clock,  # type: ignore[arg-type]
            lambda run: Batcher(run, reactor=self.clock), lambda m, day: {"i": m.id, "day": day}, max_pending=self.max_pending,
        )  # fmt: skip
        self.account = Account(7, "shop", 3)

    def submit(self, **values: Any) -> Message:
        m = Message()
        m.source, m.dest, m.body, m.text, m.origin = "Shop", "962791234567", b"hi", "hi", self.origin
        for name, value in values.items():
            setattr(m, name, value)
        self.intake.submit(self.account, m)
        return m

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.clock.advance(0)


class Refusing(IntakeCase):
    def refused(self, **values: Any) -> str:
        self.submit(**values)
        self.turn()
        self.assertEqual(self.store.batches, [])
        (codes,) = self.origin.calls
        return codes[0]

    def test_sender(self) -> None:
        self.account = Account(7, "shop", 3, allowed_sender_ids=("Bank*",))
        self.assertEqual(self.refused(), "SENDER_NOT_ALLOWED")

    def test_destination(self) -> None:
        for dest in ("", "12", "+962791234567", "abc", "\u0661\u0662\u0663\u0664", "1" * 21):
            self.origin.calls.clear()
            self.assertEqual(self.refused(dest=dest), "INVALID_DESTINATION", dest)

    def test_expired(self) -> None:
        self.assertEqual(self.refused(valid_until=DAY), "EXPIRED")

    def test_expired_before_its_time(self) -> None:
        self.assertEqual(self.refused(valid_until=DAY + 60, not_before=DAY + 120), "EXPIRED")

    def test_no_route(self) -> None:
        self.router.decision = Decision((), refusal=NO_ROUTE)
        self.assertEqual(self.refused(), "NO_ROUTE")

    def test_never_within_the_call_and_all_at_once(self) -> None:
        for _ in range(3):
            self.submit(dest="x")
        self.assertEqual(self.origin.calls, [])
        self.turn()
        self.assertEqual(self.origin.calls, [["INVALID_DESTINATION"] * 3])
        self.assertEqual(self.intake.refused, 3)

    def test_without_an_origin(self) -> None:
        m = self.submit(dest="x", origin=None)
        self.turn()
        self.assertIsNotNone(m.refusal)


class Full(IntakeCase):
    max_pending = 2

    def test_the_queue(self) -> None:
        for _ in range(3):
            self.submit()
        self.turn()
        self.assertEqual(sorted(sum(self.origin.calls, [])), ["QUEUE_FULL", "ok", "ok"])


class Storing(IntakeCase):
    def test_answers_of_an_origin_in_one_call(self) -> None:
        other = FakeOrigin()
        for origin in (self.origin, other, self.origin):
            self.submit(origin=origin)
        self.assertEqual(self.intake.pending, 3)
        done = self.intake.drained()
        self.turn()
        self.successResultOf(done)
        self.assertEqual((self.origin.calls, other.calls), ([["ok", "ok"]], [["ok"]]))
        self.assertEqual((len(self.fleet.went), self.intake.accepted, self.intake.oldest()), (3, 3, None))

    def test_an_origin_that_fails_stops_no_other(self) -> None:
        class Bad:
            def answered(self, messages: list[Message]) -> None:
                raise ValueError("a fault")

        self.submit(origin=Bad())
        self.submit()
        self.turn()
        self.assertEqual(self.origin.calls, [["ok"]])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_charges_are_summed(self) -> None:
        self.submit(segments=2)
        self.submit()
        self.turn()
        self.assertEqual(
            self.store.charges, [[{"u": 7, "c": 3, "d": "2027-01-15", "n": 3, "a": "0.06", "k": 101, "m": 2}]]
        )

    def test_quota_and_balance(self) -> None:
        self.store.refuses = {0: "Q", 2: "B"}
        for _ in range(3):
            self.submit()
        self.turn()
        self.assertEqual(self.origin.calls, [["QUOTA_EXCEEDED", "ok", "INSUFFICIENT_BALANCE"]])
        self.assertEqual((len(self.fleet.went), self.intake.accepted, self.intake.refused), (1, 1, 2))

    def test_what_waits_in_the_queue_is_not_dispatched(self) -> None:
        self.fleet.queue = True
        self.submit()
        self.fleet.queue = False
        later = self.submit(not_before=DAY + 60)
        self.turn()
        self.assertEqual((self.fleet.went, later.queued, later.smsc), ([], True, "a"))

    def test_a_failure_then_again(self) -> None:
        self.store.fails = 1
        m = self.submit()
        self.turn()
        self.assertEqual((self.origin.calls, self.intake.oldest()), ([], m.id))
        self.turn(0.2)
        self.assertEqual((self.origin.calls, len(self.store.batches)), ([["ok"]], 2))
        self.assertEqual(self.store.batches[0], self.store.batches[1])

    def test_a_commit_whose_answer_was_lost_is_not_made_twice(self) -> None:
        self.store.fails, self.store.commits_anyway = 1, True
        self.submit()
        self.turn()
        self.turn(0.2)
        self.assertEqual((self.origin.calls, len(self.store.batches), len(self.fleet.went)), ([["ok"]], 1, 1))

    def test_the_look_fails_too(self) -> None:
        self.store.fails, self.store.look_fails, self.store.commits_anyway = 1, 1, True
        self.submit()
        for _ in range(10):
            self.turn(0.2)
        self.assertEqual((self.origin.calls, len(self.store.batches)), ([["ok"]], 1))

    def test_not_for_ever(self) -> None:
        self.store.fails = 100
        self.submit()
        for _ in range(30):
            self.turn(0.2)
        self.assertEqual((self.origin.calls, len(self.store.batches)), ([["SYSTEM_ERROR"]], 5))
        self.assertEqual((self.fleet.went, self.intake.oldest(), self.intake.pending), ([], None, 0))


class Days(IntakeCase):
    def test_opened_once(self) -> None:
        self.store.day_answer = Deferred()
        first = self.submit()
        second = self.submit()
        self.assertEqual((self.store.days, self.intake.oldest()), (["2027-01-15"], first.id))
        self.turn()
        self.assertEqual(self.store.batches, [])
        self.store.day_answer.callback(44)
        self.turn()
        third = self.submit()
        self.turn()
        self.assertEqual([m.campaign_id for m in (first, second, third)], [44, 44, 44])
        self.assertEqual(self.store.days, ["2027-01-15"])

    def test_the_day_changes_at_the_accounts_midnight(self) -> None:
        self.account = Account(7, "shop", 3, timezone="Asia/Amman")  # UTC+3
        self.submit()
        self.turn(12.9 * 3600)
        self.submit()
        self.turn(0.2 * 3600)
        last = self.submit()
        self.turn()
        self.assertEqual((self.store.days, last.campaign_id), (["2027-01-15", "2027-01-16"], 102))

    def test_a_campaign_that_is_named(self) -> None:
        m = self.submit(campaign_id=9)
        self.turn()
        self.assertEqual((m.campaign_id, self.store.days), (9, []))

    def test_no_campaign_no_message(self) -> None:
        self.store.day_answer = fail(ConnectionError("away"))
        self.submit()
        self.turn()
        self.assertEqual(self.origin.calls, [["SYSTEM_ERROR"]])
        self.store.day_answer = None
        self.submit()
        self.turn()
        self.assertEqual(self.origin.calls[1:], [["ok"]])

    def test_open_campaign(self) -> None:
        d = self.intake.open_campaign(
            self.account, channel="HTTP_API", name="n", sender="Shop", content="hi", encoding="AUTO", priority="NORMAL", dlr_url=None,
            schedule_time=None,
        )  # fmt: skip
        key, public = self.successResultOf(d)
        self.assertEqual((key, public[:5], self.store.opened[0][-1]), (5, "CAMP-", "RUNNING"))
