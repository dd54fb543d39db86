from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.intake.calendar import Calendar


class Days(SynchronousTestCase):
    def test_the_day_ends_at_the_accounts_midnight(self) -> None:
        calendar = Calendar()
        amman = ZoneInfo("Asia/Amman")
        before = datetime(2026, 11, 24, 23, 59, 59, tzinfo=amman).timestamp()
        self.assertEqual(calendar.day("Asia/Amman", before), "2026-11-24")
        self.assertAlmostEqual(calendar.seconds_left("Asia/Amman", before), 1.0)
        self.assertEqual(calendar.day("Asia/Amman", before + 1), "2026-11-25")
        self.assertEqual(calendar.day("Asia/Amman", before), "2026-11-24")
        self.assertEqual(calendar.day("UTC", before), "2026-11-24")

    def test_an_unknown_zone_is_utc(self) -> None:
        self.assertEqual(Calendar().day("Mars/Base", 0.0), "1970-01-01")
