from __future__ import annotations

import random
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from protei_bulk.store import numbers
from protei_bulk.store.numbers import ImportRefused, NumberTables, entries, import_file
from tests.support.postgres import fresh_database


def bad_lines(text: str) -> tuple[list[list[str]], list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    found = entries(text.splitlines(keepends=True), lambda line, why: bad.append((line, why)))
    next(found)
    return [values for _, values in found if values is not None], bad


class Reading(SynchronousTestCase):
    def test_columns_in_any_order_and_with_any_separator(self) -> None:
        for text in (
            "prefix,mccmnc,name,country\n96279,416-01,Zain,Jordan\n",
            '\ufeffcountry;name;"mccmnc";prefix\r\nJordan;Zain;41601;+96279\r\n',
            "Prefix\tMCCMNC\tcountry\tname\n96279\t41601\tJordan\tZain\n\n",
        ):
            self.assertEqual(([["96279", "41601", "Zain", "Jordan"]], []), bad_lines(text))

    def test_which_table(self) -> None:
        self.assertEqual("networks", numbers.kind_of(["prefix", "mccmnc"]))
        self.assertEqual("ported", numbers.kind_of(["mccmnc", "number"]))
        self.assertEqual("costs", numbers.kind_of(["smsc_id", "prefix", "cost", "currency"]))
        for header in (["number"], ["number", "mccmnc", "name"], ["prefix", "mccmnc", "cost"], [""], []):
            self.assertRaises(ImportRefused, numbers.kind_of, header)

    def test_bad_lines_by_their_numbers(self) -> None:
        lines = ("962791111111,41603", "abc,41603", "962791111112,4", "962791111113", "", "962791111114,41603,x", "٩٦٢٧٩١١١,41603")
        text = "\n".join(("number,mccmnc", *lines, "+962791111115,41603", ""))
        good, bad = bad_lines(text)
        self.assertEqual([["962791111111", "41603"], ["962791111115", "41603"]], good)
        self.assertEqual([3, 4, 5, 7, 8], [line for line, _ in bad])
        self.assertIn("number: expected an international number, got 'abc'", bad[0][1])
        self.assertIn("has 3 fields, not 2", bad[3][1])

    def test_costs(self) -> None:
        good, bad = bad_lines(
            "smsc_id,mccmnc,prefix,cost,currency,valid_from\nA,41601,,0.01,USD,\nA,,962,0.02,USD,2025-01-01\nA,,,1,USD,2025-01-01T00:00Z\n"
            "A,41601,962,1,USD,\nA,,,x,USD,\nA,,,1,usd,\nA,,,1,USD,soon\n"
        )
        self.assertEqual(["-infinity", "2025-01-01", "2025-01-01T00:00Z"], [row[5] for row in good])
        self.assertEqual([5, 6, 7, 8], [line for line, _ in bad])

    def test_garbage(self) -> None:
        rnd = random.Random(5)
        for _ in range(200):
            text = "number,mccmnc\n" + "".join(rnd.choice('0123456789,"\n\r\0;ab') for _ in range(200))
            bad_lines(text)


class Importing(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.dsn = fresh_database()
        self.pool = ThreadPool(0, 1)
        self.pool.start()
        self.addCleanup(self.pool.stop)
        self.tables = NumberTables(self.dsn, reactor, self.pool)

    def import_(self, text: str, **options: bool) -> tuple[Any, list[int]]:
        bad: list[int] = []
        return import_file(self.dsn, text.splitlines(keepends=True), lambda line, _: bad.append(line), **options), bad

    def rows(self, sql: str) -> list[Any]:
        with closing(psycopg2.connect(self.dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    async def test_networks(self) -> None:
        text = "prefix,mccmnc,name,country\n96279,41601,Zain,Jordan\n96278,41603,Umniah,Jordan\nx,1,,\n96279,41677,Last,\n"
        done, bad = self.import_(text)
        self.assertEqual(("networks", 3, 2, 1, [4]), (done.kind, done.read, done.stored, done.bad, bad))
        rows = self.rows("SELECT prefix, mccmnc, name FROM tbl_networks ORDER BY 1")
        self.assertEqual([("96278", "41603", "Umniah"), ("96279", "41677", "Last")], rows)
        plan = await self.tables.load()
        self.assertEqual(["41677", "41603", ""], [plan.network(n) for n in ("962791234567", "962781234567", "44")])
        again, _ = self.import_("prefix,mccmnc\n96278,41603\n", replace=True)
        self.assertEqual((1, 1), (again.stored, again.removed))  # its name is gone
        self.assertEqual([("96278", "")], self.rows("SELECT prefix, name FROM tbl_networks"))
        noted = self.rows("SELECT details FROM tbl_permission_audit WHERE action = 'NUMBERS_IMPORT' ORDER BY audit_id")
        self.assertEqual({"bad": 1, "kind": "networks", "read": 3, "stored": 2, "removed": 0}, noted[0][0])

    async def test_ported_numbers_in_several_stretches(self) -> None:
        self.patch(numbers, "_CHUNK", 700)
        self.patch(numbers, "_BATCH", 500)
        rnd = random.Random(1)
        ported = {str(rnd.randrange(10**11, 10**12)): rnd.choice(("41601", "41603", "41677", "001001")) for _ in range(3000)}
        done, _ = self.import_("number,mccmnc\n" + "".join(f"{n},{m}\n" for n, m in ported.items()))
        self.assertEqual((len(ported), len(ported)), (done.read, done.stored))
        plan = await self.tables.load()
        self.assertEqual(len(ported), plan.ported)
        self.assertEqual(list(ported.values()), [plan.network(n) for n in ported])
        self.assertEqual("", plan.network("1" + next(iter(ported))))
        unchanged = await self.tables.load(ported=False)
        self.assertEqual(len(ported), unchanged.ported)

    async def test_nothing_there(self) -> None:
        plan = await self.tables.load()
        self.assertEqual((0, False, ""), (plan.ported, plan.known, plan.network("962791234567")))

    async def test_strict_changes_nothing(self) -> None:
        self.assertRaises(ImportRefused, self.import_, "number,mccmnc\n962791234567,41601\nx,1\n", strict=True)
        self.assertEqual([], self.rows("SELECT * FROM tbl_ported_numbers"))

    async def test_an_empty_file_replaces_nothing(self) -> None:
        self.import_("number,mccmnc\n962791234567,41601\n")
        self.assertRaises(ImportRefused, self.import_, "number,mccmnc\n", replace=True)
        self.assertEqual(1, len(self.rows("SELECT * FROM tbl_ported_numbers")))

    async def test_costs(self) -> None:
        self.import_("smsc_id,mccmnc,cost,currency,valid_from\nA,41601,0.01,USD,\nA,41601,0.02,USD,2030-01-01\nA,41601,0.03,USD,2030-01-01\n")
        self.assertEqual(
            [("A", "41601", Decimal("0.01"), None), ("A", "41601", Decimal("0.03"), "2030-01-01 00:00")],
            self.rows("SELECT smsc_id, mccmnc, cost, CASE WHEN valid_from > '-infinity' THEN to_char(valid_from AT TIME ZONE 'UTC',"
                      " 'YYYY-MM-DD HH24:MI') END FROM tbl_smsc_costs ORDER BY valid_from"),
        )  # fmt: skip
