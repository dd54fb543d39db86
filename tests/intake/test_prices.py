from __future__ import annotations

from decimal import Decimal

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.intake.prices import RateDecks
from protei_bulk.model.account import Account
from protei_bulk.routing.decks import Rate


class FakeStore:
    def __init__(self) -> None:
        self.rows: list[tuple[int, str, Rate]] = []
        self.asked: list[int | None] = []
        self.broken = False
        self.held: Deferred[None] | None = None

    def rates(self, customer_id: int | None) -> Deferred[list[tuple[int, str, Rate]]]:
        self.asked.append(customer_id)
        if self.broken:
            return fail(RuntimeError("away"))
        found = [r for r in self.rows if customer_id is None or r[0] == customer_id]
        return succeed(found) if self.held is None else self.held.addCallback(lambda _: found)


class RateDecksTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store, self.known = Clock(), FakeStore(), [False]
        self.decks = RateDecks(self.store, lambda dest: "", self.clock, self.known.append)
        self.addCleanup(self.decks.close)
        self.ahmad = Account(1, "ahmad", 7, currency="JOD")

    def add(self, customer: int, price: object, currency: str = "", prefix: str = "962", begin: float = float("-inf")) -> None:
        self.store.rows.append((customer, currency, Rate("", prefix, None if price is None else Decimal(str(price)), begin)))

    def price(self, dest: str = "962790000001") -> Decimal | None:
        return self.decks.price(self.ahmad, dest)

    def test_own_deck_then_the_default_one_of_the_currency(self) -> None:
        self.add(0, 3, "JOD")
        self.add(0, 4, "USD", "")
        self.add(0, 5, "JOD", "44")
        self.add(7, 2)
        self.add(8, 1)
        self.successResultOf(Deferred.fromCoroutine(self.decks.start()))
        self.assertEqual((Decimal(2), Decimal(5), None), (self.price(), self.price("44"), self.price("1")))
        self.assertEqual((True, 5), (self.known[-1], self.decks.entries))

    def test_only_what_has_changed_is_read(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.decks.start()))
        self.assertFalse(self.known[-1])
        self.add(7, 2)
        self.decks.changed("7")
        self.assertEqual(([None, 7], Decimal(2)), (self.store.asked, self.price()))
        self.store.rows.clear()
        self.decks.changed("8")
        self.assertEqual(Decimal(2), self.price())
        self.decks.changed("")
        self.assertEqual(([None, 7, 8, None], None, False), (self.store.asked, self.price(), self.known[-1]))

    def test_what_comes_while_it_reads_is_read_afterwards(self) -> None:
        self.store.held = Deferred()
        self.decks.changed("7")
        self.decks.changed("8")
        self.decks.changed("9")
        held, self.store.held = self.store.held, None
        held.callback(None)
        self.assertEqual([7, 8, 9], self.store.asked)

    def test_a_database_that_is_away(self) -> None:
        self.add(7, 2)
        self.successResultOf(Deferred.fromCoroutine(self.decks.start()))
        self.store.broken = True
        self.add(7, 9, begin=-1.0)
        self.decks.changed("7")
        self.assertEqual(Decimal(2), self.price())  # what there was
        self.store.broken = False
        self.clock.advance(2)
        self.assertEqual(Decimal(9), self.price())

    def test_prices_begin_and_end_in_time(self) -> None:
        self.add(7, 1)
        self.add(7, 2, begin=100.0)
        self.add(7, None, begin=200_000.0)
        self.add(0, 5, "JOD")
        self.successResultOf(Deferred.fromCoroutine(self.decks.start()))
        self.clock.advance(99)
        self.assertEqual(Decimal(1), self.price())
        self.clock.advance(1)
        self.assertEqual(Decimal(2), self.price())
        self.clock.pump([86_400.0] * 3)
        self.assertEqual(Decimal(5), self.price())
        self.assertEqual([], self.clock.getDelayedCalls())
