from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.connectors.leases import DEAD, MARGIN, TERM, Leases
from protei_bulk.connectors.nudges import Nudges
from protei_bulk.connectors.unrecorded import Unrecorded
from protei_bulk.store.leases import Lease, Peer

BEGIN = datetime(2026, 1, 1)


class Table:
    """tbl_leases and tbl_nodes, as node 1 sees them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.holders: dict[str, tuple[int, float]] = {}
        self.others: list[Peer] = []
        self.away = False
        self.late: list[Deferred[Any]] = []
        self.hold_answers = False
        self.took: list[int] = []
        self.takes: list[bool] = []

    def renew(self, resources: Collection[str], seconds: float, take: bool) -> Deferred[list[Lease]]:
        self.takes.append(take)
        if self.away:
            return fail(RuntimeError("away"))
        now = self.clock.seconds()
        for r in resources:
            node, until = self.holders.get(r, (1, 0.0))
            if node == 1 or (take and until <= now):
                self.holders[r] = 1, now + seconds
        rows = [Lease(r, self.holders[r][0], 1, self.holders[r][1] - now, "BOUND") for r in resources]
        if self.hold_answers:
            self.late.append(d := Deferred())
            return d.addCallback(lambda _: rows)
        return succeed(rows)

    def release(self, resources: Collection[str]) -> Deferred[Any]:
        for r in resources:
            del self.holders[r]
        return succeed(None)

    def leave(self) -> Deferred[bool]:
        return succeed(True)

    def peers(self) -> Deferred[list[Peer]]:
        return fail(RuntimeError("away")) if self.away else succeed(self.others)

    def take_over(self, peer: Peer, hold: Sequence[str]) -> Deferred[tuple[int, int] | None]:
        self.took.append(peer.node)
        self.others = [p for p in self.others if p != peer]
        return succeed((3, 0))


class Connectors:
    def __init__(self) -> None:
        self.elsewhere: frozenset[str] = frozenset()
        self.said: list[str] = []

    def run(self, smsc: str) -> None:
        self.said.append(f"run {smsc}")

    def hand_over(self, smsc: str) -> None:
        self.said.append(f"hand over {smsc}")

    def resume(self, smsc: str) -> None:
        self.said.append(f"resume {smsc}")


class LeasesTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.table, self.connectors = Table(self.clock), Connectors()
        self.alone: list[bool] = []
        self.leases = Leases(
            self.table, self.connectors, self.clock, 1, lambda: ["b"], self.alone.append, seconds=self.clock.seconds
        )  # fmt: skip
        self.grant = self.leases.grant("a")

    def start(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.leases.start()))

    def run_for(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))

    def test_what_is_free_runs_at_once_and_is_renewed(self) -> None:
        self.assertFalse(self.grant.valid)
        self.start()
        self.assertEqual(["run a"], self.connectors.said)
        self.run_for(60)
        self.assertTrue(self.grant.valid)
        self.assertEqual(["run a"], self.connectors.said)
        self.assertEqual({True}, set(self.alone))

    def test_without_the_database_it_sends_nothing_before_the_lease_ends(self) -> None:
        self.start()
        self.table.away = True
        self.run_for(TERM - MARGIN - 0.2)
        self.assertTrue(self.grant.valid)
        self.run_for(0.3)
        self.assertFalse(self.grant.valid)
        self.assertLess(self.clock.seconds(), self.table.holders["smsc:a"][1])
        self.assertEqual(["run a"], self.connectors.said)  # its binds stay for a while
        self.table.away = False
        self.run_for(1)
        self.assertEqual(["run a", "resume a"], self.connectors.said)
        self.assertTrue(self.grant.valid)

    def test_the_binds_go_when_it_stays_away(self) -> None:
        self.start()
        self.table.away = True
        self.run_for(30)
        self.assertEqual(["run a", "hand over a"], self.connectors.said)
        self.table.away = False
        self.run_for(4)
        self.assertEqual(["run a", "hand over a", "run a"], self.connectors.said)

    def test_an_answer_that_comes_late_grants_no_more_than_was_asked_for(self) -> None:
        self.start()
        self.table.hold_answers = True
        self.run_for(10)
        self.assertFalse(self.grant.valid)
        self.table.late.pop().callback(None)
        self.assertFalse(self.grant.valid)

    def test_a_lease_that_another_holds(self) -> None:
        self.table.holders["smsc:a"] = 2, self.clock.seconds() + 3.0
        self.start()
        self.assertEqual(([], {"a"}), (self.connectors.said, self.connectors.elsewhere))
        self.run_for(3.3)
        self.assertEqual((["run a"], frozenset()), (self.connectors.said, self.connectors.elsewhere))
        self.table.holders["smsc:a"] = 2, self.clock.seconds() + 60.0
        self.run_for(2.1)
        self.assertEqual(["run a", "hand over a"], self.connectors.said)
        self.assertFalse(self.grant.valid)

    def test_after_an_outage_others_may_renew_first(self) -> None:
        self.table.holders["smsc:a"] = 2, self.clock.seconds() + 3.0
        self.start()
        self.table.away = True
        self.run_for(20)
        self.table.away = False
        self.run_for(0.6)
        self.assertEqual((False, []), (self.table.takes[-1], self.connectors.said))
        self.run_for(3.5)
        self.assertEqual(["run a"], self.connectors.said)

    def test_given_back_at_the_end(self) -> None:
        self.start()
        self.leases.grant("late")
        self.leases.wind_up()
        self.run_for(5)
        self.assertEqual(["run a"], self.connectors.said)
        self.successResultOf(self.leases.stop())
        self.assertEqual({}, self.table.holders)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_out_of_the_configuration(self) -> None:
        self.start()
        self.leases.change(["b"])
        self.assertEqual({}, self.table.holders)
        self.leases.grant("b")
        self.leases.wake()
        self.run_for(0.1)
        self.assertEqual(["run a", "run b"], self.connectors.said)

    def test_void(self) -> None:
        self.start()
        self.leases.void()
        self.assertFalse(self.grant.valid)

    # --- other nodes

    def test_one_that_is_silent_is_taken_over(self) -> None:
        self.table.others = [Peer(2, "two", 1, BEGIN)]
        self.start()
        self.run_for(DEAD - 0.5)
        self.assertEqual([], self.table.took)
        self.run_for(3)
        self.assertEqual([2], self.table.took)
        self.assertEqual((False, True), (self.alone[0], self.alone[-1]))

    def test_one_that_beats_is_not(self) -> None:
        self.start()
        for n in range(40):
            self.table.others = [Peer(2, "two", 1, BEGIN + timedelta(seconds=n))]
            self.run_for(1)
        self.assertEqual([], self.table.took)

    def test_nobody_is_dead_after_an_outage(self) -> None:
        self.table.others = [Peer(2, "two", 1, BEGIN)]
        self.start()
        self.run_for(6)
        self.table.away = True
        self.run_for(60)
        self.table.away = False
        self.run_for(DEAD - 1)
        self.assertEqual([], self.table.took)


class Told:
    def __init__(self) -> None:
        self.said: list[tuple[str, list[int | str]]] = []

    def tell(self, channel: str, values: Sequence[int | str]) -> Deferred[Any]:
        self.said.append((channel, sorted(values, key=str)))
        return succeed(None)


class NudgesTest(SynchronousTestCase):
    def test_a_few_times_a_second(self) -> None:
        clock, told = Clock(), Told()
        nudges = Nudges("c", told, clock, 1, lambda values: None)
        nudges.add(7)
        clock.advance(5)
        self.assertEqual([], told.said)  # nobody would hear
        nudges.alone = False
        for n in range(100):
            nudges.update([n % 3])
            clock.advance(0.01)
        self.assertLessEqual(len(told.said), 6)
        self.assertEqual(("c", [0, 1, 2]), told.said[-1])

    def test_twice_what_may_not_be_committed_yet(self) -> None:
        clock, told = Clock(), Told()
        nudges = Nudges("c", told, clock, 1, lambda values: None, twice=True)
        nudges.alone = False
        nudges.add("a")
        clock.pump([0.1] * 20)
        self.assertEqual([("c", ["a"])] * 2, told.said)

    def test_others_are_heard(self) -> None:
        heard: list[list[Any]] = []
        nudges = Nudges("c", Told(), Clock(), 1, heard.append)
        for payload in ("", "[1,5]", "[2,5,6]", "nonsense", "7"):
            nudges.notified(payload)
        self.assertEqual([[5, 6]], heard)


class Counts:
    def __init__(self) -> None:
        self.written = self.recorded = 0
        self.outstanding = 0


class UnrecordedTest(SynchronousTestCase):
    def test_answered_messages_keep_their_places_until_the_commit(self) -> None:
        counts = Counts()
        unrecorded = Unrecorded(counts)
        counts.written = 50
        unrecorded.add(50)  # alone: not counted
        unrecorded.counts = True
        counts.written, counts.outstanding = 80, 20
        unrecorded.add(30)
        self.assertEqual(130, unrecorded.room([counts, counts], 100))
        self.assertEqual(50, unrecorded.room([counts], 100))
        counts.recorded = 79
        self.assertEqual(50, unrecorded.room([counts], 100))
        counts.recorded = 80
        self.assertEqual(80, unrecorded.room([counts], 100))
        self.assertEqual(0, unrecorded.room([counts], 10))
