from __future__ import annotations

from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.intake.accept import Intake
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.faults import Unstorable
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
        self.campaigns: list[list[dict[str, Any]]] = []
        self.problem: Exception = ConnectionError("the database went")
        self.disowned: list[list[str]] = []
        self.number_answers: list[Deferred[list[int]]] = []

    def accept(self, charges: list[dict[str, Any]], rows: list[dict[str, Any]], queued: bool,
               campaigns: list[dict[str, Any]]) -> Deferred[dict[str, str] | None]:  # fmt: skip
        self.batches.append(rows)
        self.charges.append(charges)
        self.campaigns.append(campaigns)
        if self.fails:
            self.fails -= 1
            if self.commits_anyway:
                self.committed = {r["i"] for n, r in enumerate(rows) if n not in self.refuses}
            return fail(self.problem)
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

    def disown(self, ids: list[str]) -> Deferred[int]:
        if self.look_fails:
            return fail(ConnectionError("still away"))
        self.disowned.append(ids)
        return succeed(len(self.committed & set(ids)))

    def campaign_numbers(self, count: int) -> Deferred[list[int]]:
        d: Deferred[list[int]] = Deferred()
        self.number_answers.append(d)
        return d


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

    def test_too_many_parts(self) -> None:
        for most, own, segments, code in ((10, 0, 11, "MESSAGE_TOO_LONG"), (10, 3, 4, "MESSAGE_TOO_LONG"), (0, 2, 3, "MESSAGE_TOO_LONG")):
            self.intake.max_parts, self.account = most, Account(7, "shop", 3, max_parts=own)
            self.origin.calls.clear()
            self.assertEqual(self.refused(segments=segments), code)
        for most, own, segments in ((10, 0, 10), (10, 20, 20), (0, 0, 255), (1, 0, 1)):
            self.intake.max_parts, self.account = most, Account(7, "shop", 3, max_parts=own)
            m = self.submit(segments=segments)
            self.assertIsNone(m.refusal)

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

    def test_a_message_does_not_keep_its_session(self) -> None:
        """It is remembered until its receipt comes, and sessions are short."""
        taken, refused = self.submit(), self.submit(dest="x")
        self.turn()
        self.assertEqual(2, sum(len(call) for call in self.origin.calls))
        self.assertEqual([None, None], [taken.origin, refused.origin])

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
            self.store.charges, [[{"u": 7, "c": 3, "d": "2027-01-15", "n": 3, "a": "0.06", "k": 101, "m": 2, "b": 2, "h": "0.06"}]]
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

    def test_who_was_refused_by_a_commit_without_an_answer_hears_the_true_reason(self) -> None:
        self.store.fails, self.store.commits_anyway, self.store.refuses = 1, True, {1: "B"}
        messages = [self.submit() for _ in range(3)]
        self.turn()
        self.store.refuses = {0: "B"}
        self.turn(0.2)
        self.assertEqual(self.origin.calls, [["ok", "ok"], ["INSUFFICIENT_BALANCE"]])
        self.assertEqual([[r["i"] for r in rows] for rows in self.store.batches[1:]], [[messages[1].id]])
        self.assertEqual((len(self.fleet.went), self.intake.accepted, self.intake.refused), (2, 2, 1))

    def test_not_for_ever(self) -> None:
        self.store.fails = 100
        self.submit()
        for _ in range(30):
            self.turn(0.2)
        self.assertEqual((self.origin.calls, len(self.store.batches)), ([["SYSTEM_ERROR"]], 3))
        self.assertEqual((self.fleet.went, self.intake.oldest(), self.intake.pending), ([], None, 0))


class Unsent(ConnectionError):
    maybe_done = False


class Away(IntakeCase):
    """The database does not answer."""

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 5)):
            self.turn(0.2)

    def test_what_was_not_sent_to_it_is_refused_after_a_while(self) -> None:
        self.store.fails, self.store.problem = 1000, Unsent("no connection")
        self.submit()
        self.wait(9.0)
        self.submit()
        self.assertEqual(self.origin.calls, [])
        self.wait(3.0)
        self.assertEqual(self.origin.calls, [["SYSTEM_ERROR", "SYSTEM_ERROR"]])
        self.submit()
        self.wait(1.0)  # still away: no new patience for each batch
        self.assertEqual(len(self.origin.calls), 2)
        self.store.fails = 0
        self.submit()
        self.turn()
        self.assertEqual((self.origin.calls[2:], self.store.disowned), ([["ok"]], []))

    def test_it_is_back_in_time(self) -> None:
        self.store.fails, self.store.problem = 3, Unsent("no connection")
        self.submit()
        self.wait(5.0)
        self.assertEqual((self.origin.calls, len({str(b) for b in self.store.batches})), ([["ok"]], 1))

    def test_what_may_be_stored_is_answered_once_it_is_back(self) -> None:
        self.store.fails, self.store.commits_anyway, self.store.look_fails = 1, True, 40
        first = self.submit()
        self.turn()
        behind = self.submit()
        self.wait(15.0)
        self.assertEqual(self.origin.calls, [["SYSTEM_ERROR"]])
        self.assertIsNotNone(behind.refusal)
        self.assertEqual(self.intake.oldest(), first.id)
        self.wait(40.0)
        self.assertEqual(self.origin.calls[1:], [["ok"]])
        self.assertEqual(self.fleet.went, [first])

    def test_what_is_refused_in_doubt_is_taken_back(self) -> None:
        self.store.fails, self.store.commits_anyway, self.store.look_fails = 1, True, 1000
        m = self.submit()
        self.wait(59.0)
        self.assertEqual(self.origin.calls, [])
        self.wait(4.0)
        self.assertEqual((self.origin.calls, self.intake.pending), ([["SYSTEM_ERROR"]], 0))
        self.assertEqual(self.store.disowned, [])
        self.store.look_fails = 0
        self.submit()
        self.wait(1.2)
        self.assertEqual((self.store.disowned, self.origin.calls[1:], self.fleet.went), ([[m.id]], [["ok"]], self.fleet.went[-1:]))
        self.wait(10.0)
        self.assertEqual(len(self.store.disowned), 1)

    def test_an_old_statement_that_commits_late_is_no_fault_of_a_row(self) -> None:
        """The second attempt meets the keys of the first."""
        self.store.fails = 1
        m = self.submit()
        self.turn()
        self.store.fails, self.store.problem = 1, Unstorable("UniqueViolation 23505")
        original = self.store.stored
        looks = iter([set[str](), {m.id}])
        self.store.stored = lambda ids: succeed(next(looks))  # type: ignore[method-assign]
        self.wait(1.0)
        self.store.stored = original  # type: ignore[method-assign]
        self.assertEqual((self.origin.calls, self.fleet.went), ([["ok"]], [m]))


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

    def open(self, **values: Any) -> Deferred[Campaign]:
        fields: dict[str, Any] = {
            "channel": "HTTP_API", "name": "n", "sender": "Shop", "content": "hi", "encoding": "AUTO", "priority": "NORMAL",
            "dlr_url": None, "schedule_time": None,
        }  # fmt: skip
        return self.intake.open_campaign(self.account, **fields | values)

    def test_a_campaign_is_stored_with_its_first_messages(self) -> None:
        opening = self.open()
        self.assertNoResult(opening)
        self.store.number_answers[0].callback([7, 8, 9])
        campaign = self.successResultOf(opening)
        for _ in range(2):
            self.submit(campaign_id=campaign.id, opens=campaign)
        other = self.successResultOf(self.open(schedule_time=DAY + 60))
        m = self.submit(campaign_id=other.id, opens=other)
        self.turn()
        self.assertEqual([[(c["k"], c["z"]) for c in batch] for batch in self.store.campaigns], [[(9, "RUNNING"), (8, "APPROVED")]])
        self.assertEqual(campaign.public_id[:5], "CAMP-")
        self.assertLess(other.public_id[5:], m.id[4:])
        self.submit(campaign_id=campaign.id, opens=campaign)
        self.turn()
        self.assertEqual(self.store.campaigns[1:], [[]])

    def test_each_attempt_and_each_half_brings_the_campaign_until_it_is_stored(self) -> None:
        opening = self.open()
        self.store.number_answers[0].callback([7])
        campaign = self.successResultOf(opening)
        self.store.fails, self.store.problem = 2, Unstorable("22001")
        for _ in range(2):
            self.submit(campaign_id=7, opens=campaign)
        self.turn()
        self.assertEqual(([len(c) for c in self.store.campaigns], campaign.stored), ([1, 1, 1], True))
        self.assertEqual(self.origin.calls, [["ok"], ["SYSTEM_ERROR"]])

    def test_numbers_are_fetched_before_they_run_out_and_asked_for_again(self) -> None:
        waiting = [self.open(), self.open()]
        self.assertEqual(len(self.store.number_answers), 1)
        self.store.number_answers[0].errback(ConnectionError("away"))
        for d in waiting:
            self.failureResultOf(d, ConnectionError)
        d = self.open()
        self.store.number_answers[1].callback(list(range(251)))
        self.successResultOf(d)
        self.assertEqual(len(self.store.number_answers), 2)
        self.successResultOf(self.open())
        self.assertEqual(len(self.store.number_answers), 3)
