"""When a campaign may send to a recipient: hours of the day where the recipient is. Pure.

The zone comes from the country of the number. A country of several zones is taken to be in
all of them at once: a message comes at a decent hour wherever the telephone is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from attrs import frozen

_STEP = timedelta(minutes=15)
_LOOK_AHEAD = timedelta(days=15)


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
        """Whether it is open in every zone."""
        for zone in zones or (ZoneInfo("UTC"),):
            day = self._day(datetime.fromtimestamp(now, zone))
            if day is None or day.weekday() not in self.days:
                return False
        return True

    def next_open(self, now: float, zones: Sequence[ZoneInfo]) -> float:
        """The next time (Unix seconds) from `now` on when it is open in every zone; where that is never, in the first zone."""
        if self.holds(now, zones):
            return now
        found = self._next(now, zones)
        if found is None and len(zones) > 1:
            found = self._next(now, zones[:1])
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
