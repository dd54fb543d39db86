"""One campaign is expanded: at its rate, in its hours, no further ahead than it may; refusals, stops and crashes make no double."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import time
from typing import Any

from attrs import define, evolve, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase as TestCase

from protei_bulk.campaigns import runner as module
from protei_bulk.campaigns.runner import Runner
from protei_bulk.model import message as refusals
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message, Refusal

ACCOUNT = Account(user_id=1, username="ann", customer_id=1)
NOON = 1_800_014_400.0  # 12:00 UTC


@frozen
class Plan:
    id: int = 7
    public_id: str = "CAMP-7"
    user_id: int = 1
    channel: str = "WEB"
    sender: str = "MyCompany"
    text: str = "Hello"
    encoding: str = "AUTO"
    smart: bool = False
    defaults: dict[str, str] = field(factory=dict)
    tags: tuple[str, ...] = ()
    priority: str = "HIGH"
    dlr_url: str | None = None
    max_tps: int = 0
    window_from: Any = None
    window_to: Any = None
    window_days: tuple[int, ...] = ()
    window_zone: str = ""
    valid_minutes: int = 0


@define
class Block:
    number: int
    country: str
    recipients: list[list[Any]]
    since: str | None = None
    state: str = "W"


class Store:
    """Blocks in memory; `broken` calls fail first."""

    def __init__(self, blocks: list[Block]) -> None:
        self.blocks = {b.number: b for b in blocks}
        self.refused: list[dict[str, str]] = []
        self.known: set[str] = set()
        self.paused: list[str] = []
        self.broken = 0

    def _broken(self) -> bool:
        self.broken -= 1
        return self.broken >= 0

    def countries(self, campaign: int) -> Deferred[list[str]]:
        if self._broken():
            return fail(OSError("away"))
        return succeed(sorted({b.country for b in self.blocks.values() if b.state != "D"}))

    def take(self, campaign: int, country: str, held: Collection[int], since: str, most: int) -> Deferred[list[Block]]:
        if self._broken():
            return fail(OSError("away"))
        found = [b for b in self.blocks.values() if b.state != "D" and b.country == country and b.number not in held][:most]
        out = [evolve(b, recipients=list(b.recipients)) for b in found]
        for b in found:
            b.state, b.since = "T", b.since or since
        return succeed(out)

    def stored(self, campaign: int, since: str) -> Deferred[set[str]]:
        return fail(OSError("away")) if self._broken() else succeed(set(self.known))

    def finish(self, campaign: int, blocks: list[tuple[int, list[dict[str, str]]]]) -> Deferred[Any]:
        if self._broken():
            return fail(OSError("away"))
        for number, refused in blocks:
            if self.blocks[number].state != "D":
                self.blocks[number].state = "D"
                self.refused += refused
        return succeed(None)

    def give_back(self, campaign: int, number: int, rest: list[list[Any]], refused: list[dict[str, str]]) -> Deferred[Any]:
        if self._broken():
            return fail(OSError("away"))
        b = self.blocks[number]
        b.state, b.since, b.recipients = "W", None, rest
        self.refused += refused
        return succeed(None)

    def pause(self, campaign: int, reason: str) -> Deferred[Any]:
        self.paused.append(reason)
        return succeed(None)

    def left(self) -> list[str]:
        return [r[0] for b in self.blocks.values() if b.state != "D" for r in b.recipients]


class Intake:
    """Answers what it got `delay` seconds later; `refuse(message)` says why not."""

    def __init__(self, clock: Clock, store: Store, refuse: Callable[[Message], Refusal | None], delay: float = 0.01) -> None:
        self._clock, self._store, self._refuse, self._delay = clock, store, refuse, delay
        self.smsc: Callable[[Message], str] = lambda m: "SMSC1"
        self.fullness = 0
        self.stored: list[Message] = []
        self._batch: list[Message] = []

    def submit(self, account: Account, m: Message) -> None:
        self._batch.append(m)
        if len(self._batch) == 1:
            self._clock.callLater(self._delay, self._answer)

    def _answer(self) -> None:
        batch, self._batch = self._batch, []
        by_origin: dict[int, list[Message]] = {}
        for m in batch:
            m.refusal = self._refuse(m)
            m.smsc = self.smsc(m)
            if m.refusal is None:
                self.stored.append(m)
                self._store.known.add(m.dest)
            by_origin.setdefault(id(m.origin), []).append(m)
        for messages in by_origin.values():
            assert messages[0].origin is not None
            messages[0].origin.answered(messages)


def blocks(*sizes: int, country: str = "JO") -> list[Block]:
    out, n = [], 0
    for number, size in enumerate(sizes, 1):
        out.append(Block(number, country, [[f"9627{n + i:08d}"] for i in range(size)]))
        n += size
    return out


class RunnerTests(TestCase):
    def make(self, given: list[Block], plan: Plan | None = None, refuse: Callable[[Message], Refusal | None] = lambda m: None) -> Runner:
        self.clock = Clock()
        self.clock.advance(NOON)
        self.store = Store(given)
        self.intake = Intake(self.clock, self.store, refuse)
        self.account: Account | None = ACCOUNT
        self.crowded = False
        self.crowd: Callable[[Collection[str]], bool] = lambda smscs: self.crowded
        runner = Runner(plan or Plan(), self.store, self.intake, self.clock, lambda: self.account, lambda smscs: self.crowd(smscs))
        runner.start()
        return runner

    def go(self, seconds: float, step: float = 0.005) -> None:
        self.clock.pump([step] * round(seconds / step))

    def sent(self) -> list[str]:
        return [m.dest for m in self.intake.stored]

    def test_everybody_once_in_order(self) -> None:
        given = blocks(1000, 1000, 300)
        all = [r[0] for b in given for r in b.recipients]
        runner = self.make(given)
        self.go(1.5)
        self.assertEqual(self.sent(), all)
        self.assertEqual(self.store.left(), [])
        [first, *_] = self.intake.stored
        self.assertEqual((first.source, first.source_ton, first.priority, first.campaign_id, first.channel), ("MyCompany", 5, 2, 7, "WEB"))
        runner.stop()
        self.go(0.2)
        self.assertFalse(runner.running)

    def test_its_rate(self) -> None:
        runner = self.make(blocks(1000), Plan(max_tps=100))
        self.go(3.0)
        self.assertGreater(len(self.sent()), 270)
        self.assertLess(len(self.sent()), 311)
        runner.rate(0)
        self.go(1.0)
        self.assertEqual(len(self.sent()), 1000)

    def test_segments_count(self) -> None:
        self.make(blocks(1000), Plan(max_tps=100, text="x" * 161))
        self.go(2.0)
        self.assertLess(len(self.sent()), 106)

    def test_no_further_ahead_than_the_smscs(self) -> None:
        self.patch(module, "AHEAD", 500)
        runner = self.make(blocks(1000, 1000))
        self.go(2.0)
        self.assertEqual(len(self.sent()), 500)
        runner.progress(500, 400)
        self.go(1.0)
        self.assertLess(len(self.sent()), 1200)
        self.assertGreaterEqual(len(self.sent()), 900)

    def test_waits_while_an_smsc_has_enough_or_the_intake_is_full(self) -> None:
        self.make(blocks(1000))
        self.crowded = True
        self.go(1.0)
        self.assertEqual(self.sent(), [])
        self.crowded, self.intake.fullness = False, 60
        self.go(1.0)
        self.assertEqual(self.sent(), [])
        self.intake.fullness = 0
        self.go(1.0)
        self.assertEqual(len(self.sent()), 1000)

    def test_a_country_whose_smsc_is_down_tries_a_few_now_and_then_and_keeps_none_waiting(self) -> None:
        self.patch(module, "UNANSWERED", 500)  # the clock runs all of a turn at once
        given = [*blocks(1000, 1000, 1000), *(Block(n, "SA", [[f"9665{n}{i:07d}"] for i in range(1000)]) for n in (4, 5, 6))]
        self.make(given)
        self.crowd = lambda smscs: bool(smscs) and "DOWN" in smscs
        self.intake.smsc = lambda m: "DOWN" if m.dest.startswith("962") else "UP"
        self.go(3.0)
        self.assertEqual(sum(1 for n in self.sent() if n.startswith("966")), 3000)
        tried = sum(1 for n in self.sent() if n.startswith("962"))
        self.assertLess(tried, 1500)
        self.go(8.0, 0.05)
        again = sum(1 for n in self.sent() if n.startswith("962"))
        self.assertEqual(again, tried + 250)
        self.intake.smsc = lambda m: "UP"
        self.go(25.0, 0.05)
        self.assertEqual(len(self.sent()), 6000)

    def test_hours_that_end_give_the_rest_back(self) -> None:
        plan = Plan(window_from=time(9), window_to=time(12, 0, 2), window_zone="UTC", max_tps=100)
        runner = self.make(blocks(1000), plan)
        self.go(4.0)
        done = len(self.sent())
        self.assertGreater(done, 150)
        self.assertLess(done, 250)
        self.assertEqual(len(self.store.left()), 1000 - done)
        self.assertEqual(self.store.blocks[1].state, "W")
        self.go(1.0)
        self.assertEqual(len(self.sent()), done)
        self.assertFalse(runner.exhausted)

    def test_a_country_where_it_is_night_waits_alone(self) -> None:
        given = [*blocks(10), Block(2, "JP", [["819012345678"]])]
        self.make(given, Plan(window_from=time(9), window_to=time(18)))  # 14:00 or 15:00 in Amman, 21:00 in Tokyo
        self.go(1.0)
        self.assertEqual(len(self.sent()), 10)
        self.assertEqual(self.store.left(), ["819012345678"])

    def test_a_stop_gives_back_what_was_not_handed_in(self) -> None:
        given = blocks(1000, 1000)
        all = [r[0] for b in given for r in b.recipients]
        runner = self.make(given, Plan(max_tps=1000))
        self.go(0.7)
        runner.stop()
        self.go(0.3)
        self.assertFalse(runner.running)
        self.assertEqual(sorted(self.sent() + self.store.left()), sorted(all))
        self.assertTrue(0 < len(self.sent()) < 2000)

    def test_what_stops_all_of_it_pauses_it(self) -> None:
        taken = iter(range(10_000))
        runner = self.make(blocks(1000), refuse=lambda m: None if next(taken) < 300 else refusals.QUOTA_EXCEEDED)
        self.go(1.0)
        self.assertEqual((len(self.sent()), len(self.store.left())), (300, 700))
        self.assertEqual((self.store.paused, self.store.refused, runner.running), (["QUOTA_EXCEEDED"], [], False))

    def test_an_account_that_may_not_send_any_more(self) -> None:
        self.make(blocks(1000), Plan(max_tps=200))
        self.go(1.0)
        self.account = None
        self.go(1.0)
        self.assertEqual(self.store.paused, ["ACCOUNT_SUSPENDED"])
        self.assertEqual(len(self.sent()) + len(self.store.left()), 1000)

    def test_one_that_is_refused_is_written_down(self) -> None:
        self.make(blocks(10), refuse=lambda m: refusals.OPTED_OUT if m.dest.endswith("3") else None)
        self.go(1.0)
        self.assertEqual(self.store.refused, [{"t": "962700000003", "c": "OPTED_OUT", "d": ""}])
        self.assertEqual((len(self.sent()), self.store.left()), (9, []))

    def test_a_refusal_of_the_moment_is_tried_again(self) -> None:
        tries = iter(range(100))
        self.make(blocks(10), refuse=lambda m: refusals.QUEUE_FULL if next(tries) < 15 else None)
        self.go(6.0)
        self.assertEqual((sorted(self.sent()), self.store.refused), ([f"9627{n:08d}" for n in range(10)], []))

    def test_after_a_crash_nobody_gets_a_second_one(self) -> None:
        [block] = blocks(1000)
        block.state, block.since = "T", "MSG-0"
        runner_store_known = {r[0] for r in block.recipients[:600]}
        self.make([block])
        self.store.known |= runner_store_known
        self.go(1.0)
        self.assertEqual(sorted(self.sent()), sorted(r[0] for r in block.recipients[600:]))
        self.assertEqual(self.store.left(), [])

    def test_a_text_that_lacks_a_variable(self) -> None:
        given = [Block(1, "JO", [["962700000001", {"NAME": "A"}], ["962700000002"], ["962700000003", {"NAME": "漢" * 20_000}]])]
        self.make(given, Plan(text="Hi %NAME%"))
        self.go(1.0)
        self.assertEqual([m.text for m in self.intake.stored], ["Hi A"])
        self.assertEqual([(r["t"], r["c"]) for r in self.store.refused],
                         [("962700000002", "MISSING_VARIABLE"), ("962700000003", "MESSAGE_TOO_LONG")])  # fmt: skip

    def test_one_that_cannot_be_taken_is_no_reason_to_lose_the_others(self) -> None:
        runner = self.make(blocks(600))
        submit = self.intake.submit

        def odd(account: Account, m: Message) -> None:
            if m.dest.endswith("7"):
                raise KeyError(m.dest)
            submit(account, m)

        self.patch(self.intake, "submit", odd)
        self.go(1.0)
        self.assertEqual((len(self.sent()), len(self.store.refused), self.store.left()), (540, 60, []))
        runner.stop()
        self.go(0.3)
        self.assertFalse(runner.running)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 60)

    def test_what_cannot_be_made_into_messages_pauses_it(self) -> None:
        [block] = blocks(1000)
        runner = self.make([block])
        self.patch(runner, "_text", self._text_but_for(runner, 600))
        self.go(2.0)
        self.assertEqual((self.store.paused, runner.running), (["SYSTEM_ERROR"], False))
        self.assertEqual((len(self.sent()), len(self.store.left())), (500, 500))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    @staticmethod
    def _text_but_for(runner: Runner, n: int) -> Any:
        text, calls = runner._text, iter(range(100_000))

        class Odd:
            def render(self, variables: Any) -> Any:
                if next(calls) == n:
                    raise ZeroDivisionError
                return text.render(variables)

        return Odd()

    def test_it_does_not_ask_for_countries_with_each_batch_that_is_stored(self) -> None:
        self.make(blocks(*([500] * 10)), Plan(max_tps=1000))
        asked = []
        countries = self.store.countries
        self.patch(self.store, "countries", lambda campaign: asked.append(campaign) or countries(campaign))
        self.go(3.0)
        self.assertLessEqual(len(asked), 4)

    def test_validity_counts_from_when_it_goes_out(self) -> None:
        self.make(blocks(1), Plan(valid_minutes=10))
        self.go(1.0)
        self.assertEqual(round(self.intake.stored[0].valid_until - NOON), 600)

    @settings(deadline=None, max_examples=30)
    @given(
        st.lists(st.integers(1, 400), min_size=1, max_size=4), st.integers(0, 3000), st.integers(0, 6), st.floats(0.02, 1.5),
        st.sets(st.integers(0, 1600)),
    )  # fmt: skip
    def test_whatever_happens_each_one_is_stored_refused_or_left(
        self, sizes: list[int], max_tps: int, broken: int, until: float, bad: set[int]
    ) -> None:
        given = blocks(*sizes)
        all = [r[0] for b in given for r in b.recipients]
        wrong = {f"9627{n:08d}" for n in bad}
        runner = self.make(given, Plan(max_tps=max_tps), refuse=lambda m: refusals.NO_ROUTE if m.dest in wrong else None)
        self.store.broken = broken
        self.go(until)
        runner.stop()
        self.go(10.0)
        self.assertFalse(runner.running)
        refused = [r["t"] for r in self.store.refused]
        self.assertEqual(sorted(self.sent() + refused + self.store.left()), sorted(all))
