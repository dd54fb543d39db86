"""What waits in the queue table for an SMSC that cannot take it; over a table in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from protei_bulk.connectors import rehoming
from protei_bulk.connectors.rehoming import Rehoming
from protei_bulk.connectors.watch import Watch
from protei_bulk.connectors.ways import WayQueue
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.quality import Quality
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Match, Route
from protei_bulk.store.rehoming import ANEW, SmscState, Window
from tests.connectors.base import NodeCase
from tests.connectors.fakes import Unavailable, message

AHMAD = Account(user_id=7, username="ahmad", customer_id=3)


class Table:
    """One queue a name; what is claimed is out of it until it is moved."""

    def __init__(self) -> None:
        self.queues: dict[str, list[Message]] = {}
        self.claimed: dict[str, Message] = {}
        self.moves: list[dict[str, Any]] = []
        self.seen: list[SmscState] = []
        self.aged: list[tuple[str, int]] = []
        self.reports: list[list[dict[str, Any]]] = []
        self.broken = False

    def put(self, smsc: str, *messages: Message) -> None:
        for m in messages:
            m.queued = True
        self.queues.setdefault(smsc, []).extend(messages)

    def ids(self, smsc: str) -> str:
        return "".join(m.id[-1] for m in self.queues.get(smsc, []))

    def queued(self) -> Deferred[list[str]]:
        return fail(Unavailable()) if self.broken else succeed([q for q, rows in self.queues.items() if rows])

    def ripen(self, smsc: str, most: int) -> Deferred[Any]:
        return succeed(None)

    def claim(self, smsc: str, priority: int, after: str, most: int, rules: Sequence[str] | None) -> Deferred[Window]:
        rows = sorted((m for m in self.queues.get(smsc, []) if m.priority == priority and m.id > after), key=lambda m: m.id)[:most]
        mine = [m for m in rows if rules is None or m.route in rules]
        for m in mine:
            self.queues[smsc].remove(m)
            self.claimed[m.id] = m
        return succeed(Window(len(rows), rows[-1].id if rows else "", tuple(mine)))

    def move(self, rows: Sequence[dict[str, Any]]) -> Deferred[Any]:
        if self.broken:
            return fail(Unavailable())
        for row in rows:
            self.moves.append(row)
            m = self.claimed.pop(row["i"])
            m.route = row.get("r", m.route)
            self.queues.setdefault(row["q"], []).append(m)
        return succeed(None)

    def age(self, before: str, hours: int, most: int) -> Deferred[int]:
        self.aged.append((before, hours))
        return succeed(0)

    def states(self) -> Deferred[list[SmscState]]:
        return succeed(self.seen)

    def report(self, rows: Sequence[dict[str, Any]]) -> Deferred[int]:
        self.reports.append(list(rows))
        return fail(Unavailable()) if self.broken else succeed(1)


class RehomingCase(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.table = Table()
        self.account: Account | None = AHMAD
        self.rules([Route("both", ("a", "b")), Route("only", ("a",), match=Match(prefix=("1",)))])

    def rules(self, routes: list[Route], smscs: Sequence[str] = ("a", "b")) -> None:
        self.router = Router(routes, smscs, self.node.clock.seconds)
        self.node.outcomes.second_tries = self.router.second_tries
        self.job = Rehoming(self.table, self.node.fleet, self.router, self.node.outcomes, self.accounts, self.node.clock, 1)

    def accounts(self, ids: Collection[int]) -> Deferred[dict[int, Account]]:
        return succeed({self.account.user_id: self.account} if self.account is not None else {})

    def run_for(self, seconds: float) -> None:
        self.job.start()
        for _ in range(int(seconds * 10)):
            self.node.turn(0.1)
        self.successResultOf(self.job.stop())


class Away(RehomingCase):
    """An SMSC that is down, with another that is up."""

    def setUp(self) -> None:
        super().setUp()
        self.node.connector("a", reconnect_min=600.0)
        self.b, self.wire = self.node.up("b")
        self.b.backlogged = False

    def test_it_moves_once_the_smsc_has_been_away_for_a_second(self) -> None:
        self.table.put("a", *(message(n, route="both") for n in (1, 2)), message(3, route="both", priority=3))
        self.run_for(1.5)
        self.assertEqual(self.table.ids("a"), "123")
        self.run_for(2.0)
        self.assertEqual((self.table.ids("a"), self.table.ids("b")), ("", "312"))
        self.assertGreater(len(self.node.store.named("claim")), 1)  # it looked at once
        self.assertEqual((self.job.moved, self.job.failed), (3, 0))

    def test_what_has_no_other_way_is_not_touched(self) -> None:
        self.table.put("a", message(1, route="only"), message(2, route="both"), message(3, route="gone"))
        self.run_for(4.0)
        self.assertEqual((self.table.ids("a"), [m["i"][-1] for m in self.table.moves]), ("13", ["2"]))

    def test_an_account_that_may_not_use_the_other(self) -> None:
        self.account = Account(user_id=7, username="ahmad", customer_id=3, allowed_smsc=("a",))
        self.table.put("a", message(1, route="both"))
        self.run_for(3.0)
        row = self.table.moves[0]
        self.assertEqual((row["i"][-1], row["q"]), ("1", "a"))
        self.assertGreater(row["w"], self.node.clock.seconds())

    def test_one_that_had_it_in_vain_does_not_get_it_again(self) -> None:
        self.table.put("a", message(1, route="both", tried="b:UNDELIV:005:x"), message(2, route="both"))
        self.run_for(4.0)
        self.assertEqual((self.table.ids("a"), self.table.ids("b")), ("1", "2"))

    def test_another_node_has_it_bound(self) -> None:
        self.table.seen = [SmscState(2, "a", "BOUND", 0.0, 0.0, 0.0, 1.0, True)]
        self.table.put("a", message(1, route="both"))
        self.run_for(3.0)
        self.assertEqual(self.table.ids("a"), "1")

    def test_not_more_than_the_other_can_use(self) -> None:
        self.b.backlogged = True
        self.b._claiming = True  # it has not got through with its own
        self.table.put("a", message(1, route="both"))
        self.run_for(3.0)
        self.assertEqual(self.table.ids("a"), "1")

    def test_a_long_queue_is_looked_at_in_stretches(self) -> None:
        self.patch(rehoming, "_STRETCH", 10)
        self.table.put("a", *(message(n, route="both" if n % 25 == 0 else "only") for n in range(1, 101)))
        self.run_for(5.0)
        self.assertEqual(sorted(int(m["i"][-3:]) for m in self.table.moves), [25, 50, 75, 100])

    def test_a_database_that_goes_while_messages_are_held(self) -> None:
        self.table.put("a", message(1, route="both"))
        self.job.start()
        original, self.table.move = self.table.move, lambda rows: fail(Unavailable())  # type: ignore[method-assign]
        for _ in range(3):
            self.node.turn(1.0)
        self.assertEqual(list(self.table.claimed), [message(1).id])
        self.table.move = original  # type: ignore[method-assign]
        self.node.turn(1.0)
        self.assertEqual((self.table.ids("b"), self.table.claimed), ("1", {}))
        self.successResultOf(self.job.stop())

    def test_a_database_that_is_away_at_all(self) -> None:
        self.table.broken = True
        self.run_for(3.0)
        self.table.broken = False
        self.table.put("a", message(1, route="both"))
        self.run_for(3.0)
        self.assertEqual(self.table.ids("b"), "1")

    def test_it_looks_for_what_is_too_old(self) -> None:
        self.job.validity_hours = 2
        self.run_for(2.0)
        [(before, hours)] = self.table.aged
        self.assertEqual(hours, 2)
        self.assertTrue(before.startswith("MSG-"))


class Gone(RehomingCase):
    """An SMSC that no configuration names any more."""

    def setUp(self) -> None:
        super().setUp()
        no = Route("no", (), match=Match(prefix=("1",)), reject="ESME_RINVDSTADR")
        self.rules([Route("now", ("b",), match=Match(prefix=("962",))), no], "b")
        self.node.up("b")

    def test_it_is_routed_as_if_it_came_now(self) -> None:
        self.table.put("a", message(1, route="both"))
        self.run_for(2.0)
        self.assertEqual((self.table.ids("b"), self.table.moves[0]["r"]), ("1", "now"))

    def test_no_route_is_left(self) -> None:
        self.table.put("a", message(1, dest="4477"), message(2, dest="1234"))
        self.run_for(2.0)
        rows = {r["i"][-1]: (r["z"], r["e"]) for r in self.node.store.rows}
        self.assertEqual(rows, {"1": ("FAILED", "NO_ROUTE"), "2": ("FAILED", "REJECTED_BY_ROUTE")})
        self.assertEqual(sorted(self.node.store.dequeued), [message(n).id for n in (1, 2)])
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["UNDELIV"] * 2)
        self.assertEqual(self.job.failed, 2)

    def test_none_that_its_account_may_use(self) -> None:
        self.account = Account(user_id=7, username="ahmad", customer_id=3, allowed_smsc=("a",))
        self.table.put("a", message(1))
        self.run_for(2.0)
        self.assertEqual(self.node.store.rows[0]["e"], "NO_ALLOWED_SMSC")

    def test_its_account_is_gone_too(self) -> None:
        self.account = None
        self.table.put("a", message(1))
        self.run_for(2.0)
        self.assertEqual(self.node.store.rows[0]["e"], "NO_ACCOUNT")

    def test_another_node_still_names_it(self) -> None:
        self.table.seen = [SmscState(2, "a", "DOWN", 0.0, 0.0, 0.0, 1.0, False)]
        self.table.put("a", message(1))
        self.run_for(3.0)
        self.assertEqual(self.table.ids("a"), "1")

    def test_accounts_that_cannot_be_read(self) -> None:
        self.table.put("a", message(1))
        answers = [fail(Unavailable())]
        self.job._accounts = lambda ids: answers.pop() if answers else self.accounts(ids)
        self.run_for(3.0)
        self.assertEqual((self.table.ids("b"), [m["q"] for m in self.table.moves]), ("1", ["a", "b"]))


class InVain(RehomingCase):
    """Messages that an SMSC took, and could not deliver."""

    def setUp(self) -> None:
        super().setUp()
        self.rules([Route("try", ("a", "b", "c"), next_after_receipt=True)], "abc")
        self.node.up("a")
        self.node.up("b")

    def try_again(self, tried: str, **values: Any) -> Message:
        m = message(1, route="try", tried=tried, **values)
        self.table.put(ANEW, m)
        self.run_for(2.0)
        self.node.turn()
        return m

    def test_the_next_one(self) -> None:
        self.try_again("a:UNDELIV:005")
        self.assertEqual((self.table.ids("b"), self.node.store.rows), ("1", []))

    def test_one_that_is_up_before_one_that_is_not(self) -> None:
        self.node.connector("c", reconnect_min=600.0)
        self.try_again("b:UNDELIV:005")
        self.assertEqual(self.table.ids("a"), "1")

    def test_one_that_is_down_is_waited_for(self) -> None:
        self.node.connector("c", reconnect_min=600.0)
        self.try_again("a:UNDELIV:005 b:REJECTD:1")
        self.assertEqual(self.table.ids("c"), "1")

    def test_none_is_left(self) -> None:
        m = self.try_again("a:UNDELIV:005 c:UNDELIV:006 b:REJECTD:007")
        self.assertEqual(self.node.store.rows, [{"i": m.id, "z": "REJECTED", "d": "REJECTD", "e": "007"}])
        self.assertEqual(([f.stat for f in self.node.forwards.receipts], self.node.store.dequeued), (["REJECTD"], [m.id]))

    def test_the_rule_says_so_no_more_or_is_gone(self) -> None:
        for routes in ([Route("try", ("a", "b", "c"))], [Route("other", ("a", "b"), next_after_receipt=True)]):
            self.setUp()
            self.rules(routes, "abc")
            self.try_again("a:UNDELIV:005")
            self.assertEqual(self.node.store.rows[0]["z"], "FAILED")

    def test_its_validity_is_over(self) -> None:
        self.try_again("a:UNDELIV:005", valid_until=self.node.clock.seconds() + 0.5)
        self.assertEqual(self.node.store.rows[0]["z"], "FAILED")

    def test_it_comes_at_once_when_woken(self) -> None:
        self.table.put(ANEW, message(1, route="try", tried="a:UNDELIV:005"))
        self.job.start()
        self.job.wake()
        self.node.turn()
        self.assertEqual(self.table.ids("b"), "1")
        self.successResultOf(self.job.stop())


class Ways(RehomingCase):
    def test_what_is_claimed_knows_its_other_candidates(self) -> None:
        self.node.store.claimable = [message(1, route="both", candidates=("a",)), message(2, route="gone", candidates=("a",), user_id=8)]
        found = self.successResultOf(WayQueue(self.node.store, self.router, self.accounts).claim("a", 10))
        self.assertEqual([(m.candidates, m.customer_id) for m in found], [(("a", "b"), 3), (("a",), 3)])

    def test_one_that_is_no_candidate_any_more_keeps_its_place(self) -> None:
        self.node.store.claimable = [message(1, route="both", smsc="z", candidates=("z",))]
        [m] = self.successResultOf(WayQueue(self.node.store, self.router, self.accounts).claim("z", 10))
        self.assertEqual(m.candidates, ("z", "a", "b"))

    def test_accounts_that_cannot_be_read(self) -> None:
        self.node.store.claimable = [message(1, route="both", candidates=("a",))]
        found = self.successResultOf(WayQueue(self.node.store, self.router, lambda _: fail(Unavailable())).claim("a", 10))
        self.assertEqual([m.candidates for m in found], [("a",)])


class Watching(RehomingCase):
    def setUp(self) -> None:
        super().setUp()
        self.quality = Quality(3600.0, 1)
        self.watch = Watch(self.table, self.node.fleet, self.quality, self.node.clock, 1)
        self.node.connector("a", reconnect_min=600.0)
        self.node.up("b")

    def states(self) -> list[dict[str, str]]:
        return [{row["q"]: row["z"] for row in rows} for rows in self.table.reports]

    def test_what_changes_is_written_within_a_second_and_all_of_it_now_and_then(self) -> None:
        self.watch.start()
        for _ in range(5):
            self.node.turn(1.0)
        self.assertEqual(self.states(), [{"a": "DOWN", "b": "BOUND"}])
        self.node.wire("b").loseConnection()
        self.node.turn(1.0)
        self.assertEqual(self.states()[1:], [{"a": "DOWN", "b": "DOWN"}])
        for _ in range(11):
            self.node.turn(1.0)
        self.assertEqual(len(self.table.reports), 3)
        self.successResultOf(self.watch.stop())

    def test_a_report_that_fails_is_made_again(self) -> None:
        self.table.broken = True
        self.watch.start()
        self.node.turn(1.0)
        self.table.broken = False
        self.node.turn(1.0)
        self.assertEqual(len(self.table.reports), 2)
        self.successResultOf(self.watch.stop())
        self.assertEqual(self.states()[-1], {"a": "DOWN", "b": "DOWN"})

    def test_shares_survive_a_restart_and_are_heard_of_others(self) -> None:
        self.table.seen = [SmscState(1, "a", "BOUND", 0.0, 3.0, 4.0, 0.0, True), SmscState(2, "a", "BOUND", 0.0, 3.0, 4.0, 0.0, True)]
        self.successResultOf(Deferred.fromCoroutine(self.watch.restore()))
        self.assertEqual((self.quality.share("a"), self.quality.own("a")), (0.75, (3.0, 4.0)))
