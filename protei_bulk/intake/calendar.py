"""Which day it is for an account: quotas and the SMPP campaign of the day end at its midnight. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class Calendar:
    """Days by time zone, each computed once a day."""

    def __init__(self) -> None:
        self._days: dict[str, tuple[float, float, str]] = {}  # zone -> (begin, end, ISO date)

    def day(self, zone: str, now: float) -> str:
        """ISO date in `zone` at Unix time `now`; an unknown zone counts as UTC."""
        known = self._days.get(zone)
        if known is not None and known[0] <= now < known[1]:
            return known[2]
        known = self._days[zone] = self._compute(zone, now)
        return known[2]

    def seconds_left(self, zone: str, now: float) -> float:
        """Seconds to the account's midnight."""
        self.day(zone, now)
        return self._days[zone][1] - now

    @staticmethod
    def _compute(zone: str, now: float) -> tuple[float, float, str]:
        try:
            tz = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            tz = ZoneInfo("UTC")
        today = datetime.fromtimestamp(now, tz)
        tomorrow = (today + timedelta(days=1)).date()
        begin = datetime(today.year, today.month, today.day, tzinfo=tz).timestamp()
        end = datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=tz).timestamp()
        return begin, end, today.date().isoformat()
