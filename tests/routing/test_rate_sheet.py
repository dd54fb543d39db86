from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.routing.rate_sheet import SheetError, read_sheet


class SheetTest(SynchronousTestCase):
    def problems(self, text: str) -> list[str]:
        return self.assertRaises(SheetError, read_sheet, text).problems

    def test_as_spreadsheets_write_it(self) -> None:
        text = "\ufeffMCCMNC;Prefix;Price;Valid_From\r\n;+962;0.0125;2025-03-01\r\n\r\n416-01;;;2025-03-01T00:00:00Z\r\n;;1;\r\n"
        begin = datetime(2025, 1, 1, tzinfo=UTC)
        self.assertEqual(
            [
                ("", "962", Decimal("0.0125"), datetime(2025, 2, 28, 21, tzinfo=UTC)),
                ("41601", "", None, datetime(2025, 3, 1, tzinfo=UTC)),
                ("", "", Decimal(1), begin),
            ],
            read_sheet(text, begin, "Asia/Amman"),
        )
        self.assertEqual([("", "1", Decimal(2), None)], read_sheet("prefix,price\n1,2\n"))

    def test_what_is_wrong_has_its_line(self) -> None:
        self.assertIn("line 1: expected the headings", self.problems("price\n1\n")[0])
        self.assertIn("line 1", self.problems("prefix,price,prefix\n")[0])
        self.assertIn("line 1", self.problems("")[0])
        self.assertEqual(["no entry"], self.problems("prefix,price\n"))
        bad = "prefix,mccmnc,price\n1x,,1\n,4160,1\n1,416,1\n1,,0.1234567\n1,,-1\n1,,1,1\n1,,1\n+1,,2\n1,,1e3\n"
        self.assertEqual([2, 3, 4, 5, 6, 7, 9, 10], [int(p.split(":")[0].removeprefix("line ")) for p in self.problems(bad)])
        self.assertEqual(1, len(self.problems("prefix,price,valid_from\n1,1,soon\n")))
        self.assertEqual(20, len(self.problems("prefix,price\n" + "x,1\n" * 1000)))
        self.assertEqual(1, len(self.problems('prefix,price\n"' + "1" * 200_000 + '",1\n')))
