from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns.windows import SendingWindow
from protei_bulk.campaigns.zones import zones_of

AMMAN, NEW_YORK, HAWAII, KATHMANDU = map(ZoneInfo, ("Asia/Amman", "America/New_York", "Pacific/Honolulu", "Asia/Kathmandu"))


def at(text: str, zone: ZoneInfo) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


class Windows(SynchronousTestCase):
    def test_in_the_recipients_zone(self) -> None:
        window = SendingWindow.parse("09:00", "20:00")
        self.assertTrue(window.holds(at("2026-11-24T09:00", AMMAN), [AMMAN]))
        self.assertFalse(window.holds(at("2026-11-24T20:00", AMMAN), [AMMAN]))
        self.assertFalse(window.holds(at("2026-11-24T09:00", AMMAN), [NEW_YORK]))

    def test_carries_over_to_the_next_day_it_may(self) -> None:
        window = SendingWindow.parse("09:00", "20:00", [0, 1, 2, 3, 6])  # Friday and Saturday are free
        self.assertEqual(window.next_open(at("2026-11-26T21:00", AMMAN), [AMMAN]), at("2026-11-29T09:00", AMMAN))

    def test_over_midnight(self) -> None:
        window = SendingWindow.parse("22:00", "02:00", [0])
        self.assertTrue(window.holds(at("2026-11-24T01:00", AMMAN), [AMMAN]))  # Tuesday: it is Monday's
        self.assertFalse(window.holds(at("2026-11-23T01:00", AMMAN), [AMMAN]))

    def test_a_country_of_several_zones(self) -> None:
        window = SendingWindow.parse("09:00", "20:00")
        begins = window.next_open(at("2026-11-24T01:00", NEW_YORK), [NEW_YORK, HAWAII])
        self.assertEqual(begins, at("2026-11-24T09:00", HAWAII))
        narrow = SendingWindow.parse("09:00", "10:00")  # never in both at once
        self.assertEqual(narrow.next_open(at("2026-11-24T01:00", NEW_YORK), [NEW_YORK, HAWAII]), at("2026-11-24T09:00", NEW_YORK))

    def test_a_country_that_never_is_open_as_a_whole_is_when_most_of_it_is(self) -> None:
        window = SendingWindow.parse("09:00", "18:00", [0, 1, 2, 3, 4])
        russia = zones_of("RU")
        monday = int(at("2026-11-23T00:00", ZoneInfo("UTC")))
        opens = [t for t in range(monday - 2 * 86_400, monday + 5 * 86_400, 900) if window.holds(t, russia)]
        self.assertEqual(len({t // 86_400 for t in opens}), 5)
        for t in opens:
            self.assertGreater(sum(window.holds(t, [zone]) for zone in russia), len(russia) // 2)
        self.assertEqual(window.next_open(monday - 86_400, russia), opens[0])
        self.assertLess(opens[-1], monday + 5 * 86_400 - 43_200)

    def test_zones_off_the_hour(self) -> None:
        window = SendingWindow.parse("09:10", "20:00")
        self.assertEqual(window.next_open(at("2026-11-24T01:00", KATHMANDU), [KATHMANDU]), at("2026-11-24T09:10", KATHMANDU))

    def test_no_length(self) -> None:
        self.assertRaises(ValueError, SendingWindow.parse, "09:00", "09:00")
        self.assertRaises(ValueError, SendingWindow.parse, "09:00", "10:00", [9])

    @given(
        st.times().map(lambda t: t.replace(second=0, microsecond=0)), st.times().map(lambda t: t.replace(second=0, microsecond=0)),
        st.frozensets(st.integers(0, 6), min_size=1),
        st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)), st.sampled_from((AMMAN, NEW_YORK, KATHMANDU, ZoneInfo("UTC"))),
    )
    @settings(deadline=None, max_examples=60)
    def test_opens_in_time_and_not_before(self, begin: time, end: time, days: frozenset[int], now: datetime, zone: ZoneInfo) -> None:
        if begin == end:
            return
        window = SendingWindow(begin, end, days)
        moment = now.replace(tzinfo=UTC).timestamp()
        opens = window.next_open(moment, [zone])
        self.assertGreaterEqual(opens, moment)
        wide = (datetime.combine(now, end) - datetime.combine(now, begin)).total_seconds() % 86_400 >= 3600
        if wide:
            self.assertTrue(window.holds(opens, [zone]))
            self.assertLessEqual(opens - moment, 8 * 86_400)
