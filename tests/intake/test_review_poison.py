from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.intake.accept import Intake
from protei_bulk.model.account import Account
from protei_bulk.model.faults import Unstorable
from protei_bulk.model.ids import IdMaker
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Decision
from protei_bulk.store.batcher import Batcher


class Store:
    """Takes no batch with the text "poison", as a database does with a value that is too long for its column."""

    def __init__(self, *, at_once: bool) -> None:
        self.rows: list[str] = []
        self.at_once = at_once
        self.problem: Exception = Unstorable("too long")

    def accept(self, charges: object, rows: list[dict[str, Any]], queued: bool, campaigns: object) -> Deferred[dict[str, str] | None]:
        if any(r["x"] == "poison" for r in rows):
            if self.at_once:
                raise Unstorable("not serialisable")
            return fail(self.problem)
        self.rows += [r["i"] for r in rows]
        return succeed(None)

    def stored(self, ids: list[str]) -> Deferred[set[str]]:
        return succeed(set(self.rows) & set(ids))


class Fleet:
    def __init__(self) -> None:
        self.sent: list[Message] = []

    def place(self, message: Message) -> None:
        message.smsc = "a"

    def dispatch(self, messages: list[Message]) -> None:
        self.sent += messages


class PoisonTest(SynchronousTestCase):
    def test_one_whose_row_cannot_even_be_made(self) -> None:
        self.check(at_once=False, row_fails=True)
        self.assertEqual(6, len(self.flushLoggedErrors(ZeroDivisionError)))

    def check(self, *, at_once: bool, problem: Exception | None = None, row_fails: bool = False) -> None:
        clock, fleet = Clock(), Fleet()
        clock.advance(1_800_000_000)
        store: Any = Store(at_once=at_once)
        store.problem = problem or store.problem
        router: Any = SimpleNamespace(route=lambda *_: Decision(("a",)))
        account = Account(7, "u", 3)
        intake = Intake(
            store, router, fleet, IdMaker(clock.seconds), clock, lambda run: Batcher(run, reactor=clock),
            lambda m, day: {"i": m.id, "x": m.text, "y": 1 // (m.text != "poison" or not row_fails)},
        )  # fmt: skip
        answers: list[Message] = []
        origin: Any = SimpleNamespace(answered=answers.extend)
        for n in range(20):
            m = Message()
            m.source, m.dest, m.campaign_id, m.origin = "Shop", "962790000000", 1, origin
            m.text = "poison" if n == 13 else "good"
            intake.submit(account, m)
        for _ in range(100):
            clock.advance(0.1)
        self.assertEqual(20, len(answers))
        self.assertEqual(["poison"], [m.text for m in answers if m.refusal is not None])
        self.assertEqual(19, len(fleet.sent))
        self.assertEqual(19, len(set(store.rows)))
        self.assertEqual(0, intake.pending)
        self.assertIsNone(intake.oldest())

    def test_the_database_refuses_one(self) -> None:
        self.check(at_once=False)

    def test_it_does_not_say_that_a_row_is_at_fault(self) -> None:
        self.check(at_once=False, problem=ValueError("a trigger of somebody's"))

    def test_one_cannot_even_be_written_down(self) -> None:
        self.check(at_once=True)
