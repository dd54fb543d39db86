"""What the pages of people, money and number lists read, in a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from protei_bulk.access.ports import NOBODY
from protei_bulk.store.administration import Administration
from protei_bulk.store.decks import RateRows
from protei_bulk.store.guards import GuardRows
from protei_bulk.store.money import KINDS, Ledger
from protei_bulk.store.pages_guards import GuardPages
from protei_bulk.store.pages_money import MoneyPages
from protei_bulk.store.pages_people import CUSTOMER_SORTS, USER_SORTS, PeoplePages
from tests.store.database import DatabaseCase


class PagesCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user = await self.ahmad()
        [(self.customer,)] = await self.db.query("SELECT id FROM customers")
        self.administration = Administration(self.db, source="portal")
        self.other = await self.administration.create_customer("Other", {"currency": "EUR"}, actor=NOBODY)


class Lists(PagesCase):
    async def test_every_sort_gives_each_row_once(self) -> None:
        reads = PeoplePages(self.db)
        for n in range(7):
            values = {"password_hash": "x", "email": f"u{n % 3}@example.com"}
            await self.administration.create_user(f"User{n % 2}{n}", (self.customer, self.other)[n % 2], values, actor=NOBODY)
            await self.administration.create_customer(f"Customer {n}", {"balance": Decimal(n % 3) - 1}, actor=NOBODY)
        await self.db.query("UPDATE users SET last_login_at = now() WHERE username = 'User15' RETURNING 1")
        for sorts, read in ((USER_SORTS, lambda **k: reads.users(None, **k)), (CUSTOMER_SORTS, reads.customers)):
            for sort in sorts:
                for falling in (False, True):
                    found: list[dict[str, Any]] = []
                    after = None
                    while True:
                        rows = await read(sort=sort, falling=falling, after=after, most=2)
                        found += rows[:2]
                        if len(rows) < 3:
                            break
                        after = (rows[1]["place"], rows[1]["id"])
                    whole = await read(sort=sort, falling=falling, most=100)
                    self.assertEqual([r["id"] for r in found], [r["id"] for r in whole], (sort, falling))
                    self.assertEqual(len({r["id"] for r in found}), len(found))

    async def test_walls_and_filters(self) -> None:
        reads = PeoplePages(self.db)
        await self.administration.create_user("stranger", self.other, {"password_hash": "x", "role": "VIEWER"}, actor=NOBODY)
        self.assertEqual([r["username"] for r in await reads.users(self.customer)], ["ahmad"])
        self.assertEqual([r["username"] for r in await reads.users(None, search="TRANG", role="VIEWER", status="ACTIVE")], ["stranger"])
        self.assertEqual(await reads.users(None, search="%"), [])
        self.assertEqual(await reads.users(None, sort="made", after=("x", 1)), [])
        self.assertEqual([n[1] for n in await reads.names(self.other)], ["Other"])
        self.assertIsNone(await reads.customer(10**9))
        self.assertIsNone(await reads.user(10**9))
        self.assertEqual((await reads.month(self.customer))["sent"], 0)


class Money(PagesCase):
    async def test_balances_are_those_of_the_ledger(self) -> None:
        random, now = Random(7), datetime.now(UTC)
        for n in range(60):
            at = now - timedelta(minutes=random.randrange(20))  # some at the same moment
            await self.db.query(
                "INSERT INTO tbl_ledger (customer_id, kind, amount, held, created_at) VALUES (%s, %s, %s, 0, %s) RETURNING 1",
                ((self.customer, self.other)[n % 5 == 0], random.choice(KINDS), Decimal(random.randrange(-500, 500)) / 100, at),
            )
        for customer in (self.customer, self.other):
            await self.db.query(
                "UPDATE customers c SET balance = (SELECT sum(amount) FROM tbl_ledger WHERE customer_id = c.id) WHERE id = %s RETURNING 1",
                (customer,),
            )
            expected = [(e.entry_id, e.balance) for e in await Ledger(self.db).entries(customer, limit=1000)]
            found: list[tuple[int, Decimal | None]] = []
            before = None
            while True:
                lines = await MoneyPages(self.db).entries(customer, before=before, most=7)
                found += [(e.entry_id, e.balance) for e in lines[:7]]
                if len(lines) < 8:
                    break
                before = (lines[6].created_at, lines[6].entry_id)
            self.assertEqual(found, expected)
            until = now - timedelta(minutes=9)
            lines = await MoneyPages(self.db).entries(customer, until=until, since=until - timedelta(minutes=6), most=100)
            self.assertEqual([(e.entry_id, e.balance) for e in lines],
                             [(e.entry_id, e.balance) for e in await Ledger(self.db).entries(
                                 customer, until=until, since=until - timedelta(minutes=6), limit=100)])  # fmt: skip
            self.assertTrue(all(e.balance is None for e in await MoneyPages(self.db).entries(customer, kind="TOPUP")))
        self.assertEqual(await MoneyPages(self.db).entries(10**9), [])

    async def test_a_top_up_with_its_reference(self) -> None:
        self.assertEqual(await self.administration.top_up(self.other, Decimal("5.5"), "Invoice 7", actor=NOBODY), Decimal("5.5"))
        [entry] = await Ledger(self.db).entries(self.other)
        self.assertEqual((entry.kind, entry.reference), ("TOPUP", "Invoice 7"))
        reads = MoneyPages(self.db)
        self.assertTrue(await reads.lately(self.other, Decimal("5.50"), "Invoice 7"))
        self.assertFalse(await reads.lately(self.customer, Decimal("5.50"), "Invoice 7"))
        [(details,)] = await self.db.query("SELECT details FROM tbl_permission_audit WHERE action = 'CUSTOMER_TOP_UP'")
        self.assertEqual((details["source"], details["reference"]), ("portal", "Invoice 7"))

    async def test_a_deck(self) -> None:
        rates, reads, now = RateRows(self.db), MoneyPages(self.db), datetime.now(UTC)
        past, later = now - timedelta(days=1), now + timedelta(days=1)
        await rates.put(self.customer, "", [
            ("", "", Decimal("0.2"), None), ("", "49", Decimal("0.1"), None), ("", "49", Decimal("0.09"), past),
            ("", "49", Decimal("0.08"), later), ("", "4915", None, past), ("41601", "", Decimal("0.01"), None),
        ], actor=NOBODY)  # fmt: skip
        await rates.put(None, "JOD", [("", "49", Decimal("9"), None)], actor=NOBODY)
        found = await reads.deck(self.customer, "JOD")
        self.assertEqual([(e.mccmnc, e.prefix, e.state) for e in found], [
            ("", "", "NOW"), ("", "49", "BEFORE"), ("", "49", "NOW"), ("", "49", "LATER"), ("", "4915", "ENDED"), ("41601", "", "NOW"),
        ])  # fmt: skip
        pages, after = [], None
        while True:
            rows = await reads.deck(self.customer, "JOD", after=after, most=1)
            pages += rows[:1]
            if len(rows) < 2:
                break
            e = rows[0]
            after = (e.mccmnc, e.prefix, "-infinity" if e.valid_from is None else e.valid_from.isoformat())
        self.assertEqual(pages, found)
        self.assertEqual({e.prefix for e in await reads.deck(self.customer, "JOD", number="491512")}, {"49", "4915"})
        self.assertEqual([e.price for e in await reads.deck(None, "JOD")], [Decimal(9)])
        self.assertEqual((await reads.prices(self.customer, "JOD"))["", "49"], Decimal("0.09"))
        self.assertIn("JOD", await reads.currencies())


class NumberLists(PagesCase):
    async def test_a_blacklist(self) -> None:
        rows, reads = GuardRows(self.db), GuardPages(self.db)
        await rows.bar(0, [882], True, "all", actor=NOBODY)
        await rows.bar(self.customer, [962791, 962792], False, "", actor=NOBODY)
        [theirs] = await rows.bar(self.other, [96], True, "", actor=NOBODY)
        self.assertEqual([e.number for e, _ in await reads.barred(None)], ["882", "962791", "962792", "96"])
        self.assertEqual([(e.number, name) for e, name in await reads.barred(self.other)], [("96", "Other")])
        self.assertEqual([e.number for e, _ in await reads.barred(None, number="962791")], ["962791", "96"])
        self.assertEqual([e.number for e, _ in await reads.barred(self.customer, number="962791")], ["962791"])
        pages, after = [], None
        while True:
            found = await reads.barred(None, after=after, most=1)
            pages += [e.number for e, _ in found[:1]]
            if len(found) < 2:
                break
            after = (found[0][0].customer_id, int(found[0][0].is_prefix), int(found[0][0].number))
        self.assertEqual(pages, ["882", "962791", "962792", "96"])
        self.assertIsNone(await reads.removed(theirs, None))  # it is there
        await rows.unbar_entry(theirs, None, actor=NOBODY)
        self.assertIsNone(await reads.removed(theirs, self.customer))
        self.assertEqual((await reads.removed(theirs, self.other)).number, "96")

    async def test_opt_outs(self) -> None:
        rows, reads = GuardRows(self.db), GuardPages(self.db)
        await rows.record([
            {"c": c, "n": n, "s": s, "o": True, "r": "PORTAL", "a": self.user, "t": "note"}
            for c, n, s in ((self.customer, 111, ""), (self.customer, 111, "Promo"), (self.other, 111, ""), (self.other, 222, ""))
        ])  # fmt: skip
        self.assertEqual([(o.number, o.sender, o.customer) for o in await reads.opted_out(None)],
                         [("111", "", "Demo"), ("111", "promo", "Demo"), ("111", "", "Other"), ("222", "", "Other")])  # fmt: skip
        self.assertEqual([o.customer_id for o in await reads.opted_out(None, number="111")], [self.customer, self.customer, self.other])
        self.assertEqual(await reads.opted_out(self.customer, number="222"), [])
        self.assertEqual([o.actor for o in await reads.opted_out(self.other)], ["", ""])  # another customer's user is nobody's to know
        self.assertTrue(await reads.lately(self.customer, "promo", 111))
        await rows.record([{"c": self.customer, "n": 111, "s": "", "o": False, "r": "API"}])
        self.assertIsNone(await reads.lately(self.customer, "", 111))
        self.assertEqual([r["opted_out"] for r in await reads.history(self.customer, 111)], [False, False, True, True])
        self.assertEqual(await reads.opted_out(self.customer), [])  # in again, whatever the sender

    async def test_guards_of_their_own(self) -> None:
        reads = GuardPages(self.db)
        self.assertEqual((await reads.countries(None), await reads.accounts(None)), ([], []))
        await self.administration.change_customer(self.other, {"blocked_countries": ["LV"]}, actor=NOBODY)
        await self.administration.change_user(self.user, {"duplicate_seconds": 9}, actor=NOBODY, customer_id=None)
        self.assertEqual([c["name"] for c in await reads.countries(None)], ["Other"])
        self.assertEqual(await reads.countries(self.customer), [])
        self.assertEqual([a["duplicate_seconds"] for a in await reads.accounts(self.customer)], [9])
        self.assertEqual(await reads.accounts(self.other), [])
