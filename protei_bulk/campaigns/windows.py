"""When a campaign may send to a recipient: hours of the day where the recipient is. Pure.

The zone comes from the country of the number. A country of several zones is taken to be in
all of them at once: a message comes at a decent hour wherever the telephone is. Where there is no such hour
(nine to six, from one end of Russia to the other), it comes when it is a decent hour in as many of them as can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from attrs import frozen

_STEP = timedelta(minutes=15)
_LOOK_AHEAD = timedelta(days=15)
_DAY = 86_400


@frozen
class SendingWindow:
    """From `begin` to before `end` on days of the week (0 Monday … 6 Sunday), local time; over midnight where the end comes first."""

    begin: time
    end: time
    days: frozenset[int] = frozenset(range(7))

    @classmethod
    def parse(cls, begin: str, end: str, days: Sequence[int] = ()) -> SendingWindow:
        """Raises ValueError with the reason."""
        window = cls(time.fromisoformat(begin), time.fromisoformat(end), frozenset(days) or frozenset(range(7)))
        if window.begin == window.end:
            raise ValueError("the window has no length")
        if not window.days <= frozenset(range(7)):
            raise ValueError("days are 0 (Monday) to 6 (Sunday)")
        return window

    def _day(self, at: datetime) -> date | None:
        """The day whose window holds a local time."""
        clock = at.time()
        if self.begin < self.end:
            return at.date() if self.begin <= clock < self.end else None
        if clock >= self.begin:
            return at.date()
        return at.date() - timedelta(days=1) if clock < self.end else None

    def holds(self, now: float, zones: Sequence[ZoneInfo]) -> bool:
        """Whether it is open in every zone; where it never is, in as many as ever are at once."""
        places = zones or (ZoneInfo("UTC"),)
        if all(self._open(now, zone) for zone in places):
            return True
        if len(places) == 1:
            return False
        most = _most(self, tuple(places), int(now // _DAY))
        return most < len(places) and sum(self._open(now, zone) for zone in places) >= most

    def _open(self, now: float, zone: ZoneInfo) -> bool:
        day = self._day(datetime.fromtimestamp(now, zone))
        return day is not None and day.weekday() in self.days

    def next_open(self, now: float, zones: Sequence[ZoneInfo]) -> float:
        """The next time (Unix seconds) from `now` on when it is open; `now` where that is not within a fortnight."""
        if self.holds(now, zones):
            return now
        found = self._next(now, zones)
        return now if found is None else found

    def _next(self, now: float, zones: Sequence[ZoneInfo]) -> float | None:
        # Windows open at quarters of an hour wherever zones differ by quarters: the minutes of `begin` are added to the steps.
        at = datetime.fromtimestamp(now, UTC).replace(second=0, microsecond=0)
        end = at + _LOOK_AHEAD
        minute = self.begin.minute % 15
        at += timedelta(minutes=(minute - at.minute) % 15)
        while at < end:
            if at.timestamp() >= now and self.holds(at.timestamp(), zones):
                return at.timestamp()
            at += _STEP
        return None


@lru_cache(maxsize=4096)
def _most(window: SendingWindow, zones: tuple[ZoneInfo, ...], day: int) -> int:
    """In how many of these zones it is ever open at once, in the week around a day of Unix time; 1 at least."""
    most = 1
    first = (day - 3) * _DAY + window.begin.minute % 15 * 60
    for at in range(first, first + 8 * _DAY, 900):
        most = max(most, sum(window._open(at, zone) for zone in zones))
        if most == len(zones):
            break
    return most
