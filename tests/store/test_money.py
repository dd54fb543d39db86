"""Ledger, reservations, rate decks and usage in a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protei_bulk.access.ports import NOBODY
from protei_bulk.model import ids, lifecycle
from protei_bulk.model.charging import POLICIES, RESERVED
from protei_bulk.model.message import Message
from protei_bulk.store.administration import Administration
from protei_bulk.store.decks import RateRows
from protei_bulk.store.messages import Messages, row_of
from protei_bulk.store.money import Ledger
from protei_bulk.store.operations import OperationStore
from tests.store.database import DatabaseCase

DAY = datetime.now(UTC).date().isoformat()


class MoneyCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user = await self.ahmad(max_msg_per_day=0)
        [(self.customer,)] = await self.db.query("SELECT id FROM customers")
        self.messages = Messages(self.db, self.db, self.db, 0)
        self.operations = OperationStore(self.db, 0)
        self.ledger, self.administration = Ledger(self.db), Administration(self.db)
        self.maker = ids.IdMaker(lambda: datetime.now(UTC).timestamp(), 0)

    async def funds(self, balance: str, credit: str = "0", policy: str = "ACCEPT") -> None:
        await self.accounts.set_customer(
            "Demo", {"balance": Decimal(balance), "credit_limit": Decimal(credit), "charge_on": policy}
        )

    def message(self, price: str = "1", policy: str = "ACCEPT", **values: Any) -> Message:
        m = Message()
        m.id, m.user_id, m.customer_id, m.campaign_id = self.maker.message(), self.user, self.customer, 1
        m.source, m.dest, m.text, m.smsc, m.price = "MyCompany", "962790000001", "x", "SMSC1", Decimal(price)
        m.charge = RESERVED[policy] if m.price else None
        for name, value in values.items():
            setattr(m, name, value)
        return m

    async def accept(self, *batch: Message, queued: bool = False) -> dict[str, str]:
        charges: dict[int, dict[str, Any]] = {}
        for m in batch:
            c = charges.setdefault(m.campaign_id, {"u": m.user_id, "c": m.customer_id, "d": DAY, "n": 0, "a": Decimal(0), "h": Decimal(0),
                                                   "b": 0, "k": m.campaign_id, "m": 0})  # fmt: skip
            c["n"] += m.segments
            c["m"] += 1
            c["a"] += m.price
            c["b"] += bool(m.price)
            c["h"] += m.price if m.charge else 0
        given = [{**c, "a": str(c["a"]), "h": str(c["h"])} for c in charges.values()]
        return await self.messages.accept(given, [row_of(m, DAY) for m in batch], queued) or {}

    async def advance(self, *rows: dict[str, Any]) -> Any:
        return await self.messages.advance(list(rows), 0, None, [], [], [], [])

    def took(self, m: Message, **more: Any) -> dict[str, Any]:
        return {"i": m.id, "z": "SENT", "q": "SMSC1", "x": "x" + m.id, **more}

    async def balance(self) -> Decimal:
        return Decimal((await self.db.query("SELECT balance FROM customers"))[0][0])

    async def entries(self) -> list[tuple[str, Decimal, Decimal]]:
        found = await self.ledger.statement(self.customer)
        return [(e.kind, e.amount, e.held) for e in found[1:]]  # without the opening balance

    async def fine(self) -> None:
        self.assertEqual([], await self.ledger.check(messages=True))


class PoliciesTest(MoneyCase):
    async def test_taken_for_good_at_once(self) -> None:
        await self.funds("10", policy="SUBMIT")
        first, second = self.message(policy="SUBMIT"), self.message(policy="SUBMIT")
        self.assertEqual({}, await self.accept(first, second, queued=True))
        await self.advance({"i": first.id, "z": lifecycle.EXPIRED, "d": "EXPIRED"})
        self.assertEqual({second.id: "DELETED"}, await self.operations.end([{"i": second.id, "z": "DELETED", "d": "DELETED"}]))
        self.assertEqual(Decimal(8), await self.balance())
        self.assertEqual([("CAPTURE", -2, 0)], (await self.entries())[1:])
        await self.fine()

    async def test_reserved_until_an_smsc_has_it(self) -> None:
        await self.funds("10")
        sent, quick, refused, late, gone = batch = [self.message() for _ in range(5)]
        await self.accept(*batch)
        self.assertEqual(Decimal(5), await self.balance())
        await self.advance(self.took(sent), {**self.took(quick), "z": "FAILED", "d": "UNDELIV"}, {"i": refused.id, "z": "REJECTED"},
                           {"i": late.id, "z": "EXPIRED"})  # fmt: skip
        await self.advance(self.took(sent), {"i": sent.id, "z": "FAILED", "d": "UNDELIV"})
        await self.operations.end([{"i": gone.id, "z": "DELETED", "d": "DELETED"}])
        self.assertEqual(Decimal(8), await self.balance())
        self.assertEqual([("RESERVE", -5, 5), ("CAPTURE", 0, -2), ("RELEASE", 2, -2), ("RELEASE", 1, -1)], (await self.entries())[1:])
        await self.fine()

    async def test_reserved_until_it_is_delivered(self) -> None:
        await self.funds("10", policy="DELIVERY")
        there, lost, refused = batch = [self.message(policy="DELIVERY") for _ in range(3)]
        await self.accept(*batch)
        await self.advance(self.took(there), self.took(lost), {"i": refused.id, "z": "REJECTED"})
        self.assertEqual(Decimal(8), await self.balance())
        await self.advance({"i": there.id, "z": "DELIVERED", "d": "DELIVRD"}, {"i": lost.id, "z": "UNKNOWN", "d": "UNKNOWN"})
        await self.advance({"i": there.id, "z": "FAILED", "d": "UNDELIV"})
        self.assertEqual(Decimal(9), await self.balance())
        await self.fine()

    async def test_what_is_free_leaves_nothing(self) -> None:
        m = self.message("0")
        await self.accept(m)
        await self.advance(self.took(m))
        await self.advance({"i": m.id, "z": "DELIVERED", "d": "DELIVRD"})
        self.assertEqual([], await self.entries())
        self.assertEqual([(0,)], await self.db.query("SELECT count(*) FROM tbl_margin_delta"))

    async def test_a_batch_that_only_half_is_paid_for(self) -> None:
        await self.funds("2", "1")
        batch = [self.message() for _ in range(3)] + [self.message("1", "SUBMIT") for _ in range(2)]
        refused = await self.accept(*batch)
        self.assertEqual(({m.id: "B" for m in batch[3:]}, Decimal(-1)), (refused, await self.balance()))
        await self.fine()

    async def test_disowned_and_replaced(self) -> None:
        await self.funds("10")
        mine, other, good = self.message(), self.message(), self.message("1", "SUBMIT")
        await self.accept(mine, other, good, queued=True)
        row = {"i": mine.id, "x": "longer", "b": None, "s": 2, "p": "2", "d": DAY, "r": 0, "v": None, "w": None}
        self.assertEqual("K", await self.operations.replace(row))
        self.assertEqual(Decimal(6), await self.balance())
        await self.fine()
        self.assertEqual("K", await self.operations.replace({**row, "s": 1, "p": "1"}))
        self.assertEqual(2, await self.messages.disown([other.id, good.id]))
        self.assertEqual(Decimal(9), await self.balance())
        await self.fine()

    async def test_what_nobody_hears_of_any_more_goes_back(self) -> None:
        await self.funds("10", policy="DELIVERY")
        await self.db.query("SELECT ensure_partitions(0, 40)")
        old = ids.IdMaker(lambda: (datetime.now(UTC) - timedelta(days=40)).timestamp(), 0)
        m = self.message(policy="DELIVERY", id=old.message())
        await self.accept(m)
        await self.advance(self.took(m))
        await self.messages.partitions(30, 30)
        self.assertEqual(([], Decimal(10)), (await self.db.query("SELECT 1 FROM messages"), await self.balance()))
        await self.fine()

    async def test_every_change_of_a_balance(self) -> None:
        await self.accounts.top_up("Demo", Decimal("5"))
        await self.accounts.top_up("Demo", Decimal("-1"))
        await self.administration.top_up(self.customer, Decimal("0.5"), actor=NOBODY)
        await self.administration.create_customer("Other", {"balance": Decimal(7)}, actor=NOBODY)
        await self.accounts.set_customer("Demo", {"balance": Decimal(1)})
        await self.accounts.set_customer("Demo", {"credit_limit": Decimal(1)})
        self.assertEqual([("TOPUP", 5), ("ADJUST", -1), ("TOPUP", Decimal("0.5"))], [e[:2] for e in await self.entries()][:3])
        self.assertEqual(("ADJUST", 4), ((await self.entries())[-1][0], len(await self.entries())))
        await self.fine()
        await self.db.execute("UPDATE customers SET balance = 3 WHERE name = 'Other'")
        [wrong] = await self.ledger.check()
        self.assertEqual(("Other", Decimal(3), Decimal(7)), (wrong.name, wrong.balance, wrong.ledger))


class LedgerTest(MoneyCase):
    async def test_whole_hours_become_one_row(self) -> None:
        await self.funds("100")
        for _ in range(3):
            m = self.message()
            await self.accept(m)
            await self.advance(self.took(m))
        before = await self.ledger.statement(self.customer)
        self.assertEqual(0, await self.ledger.fold())  # the hour is not over, unless it just was
        self.assertEqual([(6,)], await self.db.query("SELECT fold_ledger(now() + interval '1 hour')"))
        after = await self.ledger.statement(self.customer)
        self.assertEqual([("RESERVE", -3, 3, 3), ("CAPTURE", 0, -3, 3)], [(e.kind, e.amount, e.held, e.messages) for e in after[-2:]])
        self.assertEqual((before[-1].balance, before[-1].reserved), (after[-1].balance, after[-1].reserved))
        self.assertEqual([(0,)], await self.db.query("SELECT fold_ledger(now() + interval '1 hour')"))
        await self.fine()

    async def test_pages(self) -> None:
        await self.funds("100")
        for _ in range(5):
            await self.accounts.top_up("Demo", Decimal(1))
        every = await self.ledger.entries(self.customer, kind="TOPUP")
        first = await self.ledger.entries(self.customer, kind="TOPUP", limit=2)
        rest = await self.ledger.entries(self.customer, kind="TOPUP", before=(first[-1].created_at, first[-1].entry_id))
        self.assertEqual((6, every), (len(every), [*first, *rest]))

    async def test_margin(self) -> None:
        await self.funds("100")
        a, b, refused, taken = self.message(), self.message(route="gold"), self.message(), self.message(policy="SUBMIT")
        await self.accept(a, b, refused, taken)
        await self.advance(self.took(a, c="0.25"), self.took(b, c="0.5"), {"i": refused.id, "z": "REJECTED"}, self.took(taken, c="0.25"))
        await self.messages.roll_up()
        today = datetime.now(UTC).date()
        found = await self.ledger.margin(today, today)
        self.assertEqual(
            [("", "SMSC1", 2, Decimal(2), Decimal("0.5")), ("gold", "SMSC1", 1, Decimal(1), Decimal("0.5"))],
            [(m.route, m.smsc_id, m.segments, m.revenue, m.cost) for m in found],
        )


class UsageTest(MoneyCase):
    async def test_hours_days_and_months(self) -> None:
        await self.db.execute("UPDATE users SET timezone = 'Asia/Amman'")
        batch = [self.message("0", segments=2) for _ in range(3)]
        await self.accept(*batch)
        await self.db.execute("UPDATE tbl_counter_delta SET created_at = '2031-01-31 21:59:59.3+00'")  # 00:59:59 of 1 February
        await self.messages.roll_up()
        await self.accept(self.message("0"))
        await self.db.execute("UPDATE tbl_counter_delta SET created_at = '2031-01-31 21:59:59.9+00'")
        await self.messages.roll_up()
        await self.accept(self.message("0"))
        await self.advance(self.took(batch[0]), {**self.took(batch[1]), "z": "DELIVERED"})
        await self.db.execute("UPDATE tbl_counter_delta SET created_at = '2031-01-31 22:00:00+00'")
        await self.messages.roll_up()
        rows = await self.db.query(
            "SELECT period_type, period_date::text, period_hour, messages_sent, messages_delivered, peak_tps::int FROM tbl_quota_usage"
            " WHERE period_date > '2031-01-01' ORDER BY 1, 2, 3"
        )
        # What DAILY has sent is the quota, taken when it was accepted: on the day of the test.
        self.assertEqual(
            [("DAILY", "2031-02-01", 0, 0, 1, 4), ("HOURLY", "2031-02-01", 0, 7, 0, 4), ("HOURLY", "2031-02-01", 1, 1, 1, 1),
             ("MONTHLY", "2031-02-01", 0, 8, 1, 4)], rows,
        )  # fmt: skip
        await self.db.query("SELECT forget_hours(-3000)")
        self.assertEqual([(0,)], await self.db.query("SELECT count(*) FROM tbl_quota_usage WHERE period_type = 'HOURLY'"))


class DecksTest(MoneyCase):
    async def test_set_replaced_ended_and_removed(self) -> None:
        decks = RateRows(self.db)
        march, price = datetime(2025, 3, 1, tzinfo=UTC), Decimal

        async def put(customer: int | None, *rows: Any, **more: Any) -> int:
            return await decks.put(customer, "" if customer else "JOD", rows, actor=NOBODY, **more)

        self.assertEqual(2, await put(None, ("", "962", price("0.01"), None), ("41601", "", price("0.02"), march)))
        self.assertEqual(1, await put(None, ("", "962", price("0.03"), None)))
        self.assertEqual(2, await put(self.customer, ("", "96279", price("0.5"), None), ("", "1", price(1), None)))
        self.assertEqual(2, await put(self.customer, ("", "1", price(2), march), whole=True, since=march))
        own = await decks.list(self.customer)
        expected = {("96279", price("0.5")), ("1", price(1)), ("1", price(2)), ("96279", None)}
        self.assertEqual(expected, {(r.prefix, r.price) for r in own})
        rows = await decks.rates(None)
        self.assertEqual(6, len(rows))
        found = [(c, k, r.prefix, r.price, r.valid_from) for c, k, r in rows[:2]]
        self.assertEqual([(0, "JOD", "962", price("0.03"), float("-inf")), (0, "JOD", "", price("0.02"), march.timestamp())], found)
        self.assertEqual(rows[2:], await decks.rates(self.customer))
        self.assertTrue(await decks.remove(own[0].rate_id, actor=NOBODY))
        self.assertFalse(await decks.remove(own[0].rate_id, actor=NOBODY))
        self.assertEqual(5, len([a for a in await self.audit() if a[0].startswith("RATE")]))


_OPS = st.lists(
    st.tuples(st.sampled_from(("accept", "advance", "advance", "end", "top-up", "take", "disown", "replace", "fold", "policy")),
              st.integers(0, 10**6)), min_size=5, max_size=25,
)  # fmt: skip


class AlwaysBalancesTest(MoneyCase):
    timeout = 240

    def test_any_interleaving(self) -> Any:
        """The statements of a run go over two connections at once, in whatever order the database takes them."""
        import random

        from twisted.internet.defer import Deferred, gatherResults

        runs: list[tuple[list[tuple[str, int]], int]] = []

        @settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(_OPS, st.integers(0, 2**32))
        def collect(ops: list[tuple[str, int]], seed: int) -> None:
            runs.append((ops, seed))

        collect()

        async def one(ops: list[tuple[str, int]], seed: int) -> None:
            rng = random.Random(seed)
            credit = Decimal(rng.randrange(5))
            policy = rng.choice(POLICIES)
            await self.funds(str(rng.randrange(20)), str(credit), policy)
            [(start,)] = await self.db.query("SELECT sum(amount) FROM tbl_ledger")
            known: list[Message] = []
            waiting: list[Deferred[Any]] = []
            for op, n in ops:
                rng = random.Random(n)
                some = rng.sample(known, min(len(known), 1 + n % 4))
                if op == "accept":
                    batch = [self.message(str(Decimal(rng.randrange(400)) / 100), policy) for _ in range(1 + n % 5)]
                    known += batch
                    waiting.append(Deferred.fromCoroutine(self.accept(*batch, queued=True)))
                elif op == "advance" and some:
                    rows = []
                    for m in some:
                        z = rng.choice(("SENT", "DELIVERED", "FAILED", "REJECTED", "EXPIRED", "UNKNOWN"))
                        rows.append({**(self.took(m) if rng.random() < 0.6 else {"i": m.id}), "z": z})
                    waiting.append(Deferred.fromCoroutine(self.advance(*rows)))
                elif op == "end" and some:
                    waiting.append(self.operations.end([{"i": m.id, "z": "DELETED", "d": "DELETED"} for m in some]))
                elif op == "top-up":
                    waiting.append(self.accounts.top_up("Demo", Decimal(n % 700) / 100))
                elif op == "disown" and some:
                    waiting.append(self.messages.disown([m.id for m in some]))
                elif op == "replace" and some:
                    row = {"i": some[0].id, "x": "y", "b": None, "s": 1, "p": str(Decimal(n % 300) / 100 if some[0].price else 0), "d": DAY,
                           "r": 0, "v": None, "w": None}  # fmt: skip
                    waiting.append(self.operations.replace(row))
                elif op == "fold":
                    waiting.append(self.db.query("SELECT fold_ledger(now() + interval '1 hour')"))
                elif op == "policy":
                    policy = POLICIES[n % 3]
                elif op == "take":
                    waiting.append(self.db.query("SELECT count(*) FROM customers WHERE balance + credit_limit < 0"))
                    waiting[-1].addCallback(lambda rows: self.assertEqual([(0,)], rows))
                waiting.append(self.ledger.check().addCallback(lambda found: self.assertEqual([], found)))
                if rng.random() < 0.3:
                    await gatherResults(waiting, consumeErrors=True)
                    waiting = []
            await gatherResults(waiting, consumeErrors=True)
            await self.fine()
            self.assertGreaterEqual(await self.balance(), -credit)
            self.assertIsNotNone(start)

        async def all_of_them() -> None:
            for ops, seed in runs:
                await one(ops, seed)

        return Deferred.fromCoroutine(all_of_them())
