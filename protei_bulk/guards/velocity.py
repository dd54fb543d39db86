"""Traffic that is not what it was: bursts to one small range of numbers, and hours unlike those before, by account and country. Pure.

Artificially inflated traffic (pumping) shows as thousands of messages to numbers that differ in their last digits, or as a country that
an account never sent to. Whole batches are counted; what was refused is not. Each node counts what it has accepted.

- RANGE: more than `most` messages of an account to numbers that differ in their last `digits` only. Two half windows are kept, so that
  those counted came within `seconds`, and as many within half of it are always found.
- COUNTRY: more messages of an account to a country within a clock hour than `factor` times its average hour and twice its busiest one,
  and more than `least`; more than `new_country` where it never sent to that country. Not before `learn_hours` of an account's traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from protei_bulk.guards.countries import region_of
from protei_bulk.model.message import Message

RANGE, COUNTRY = "RANGE", "COUNTRY"
HOUR = 3600.0
_AVERAGE = 0.5 ** (1 / 168)  # what is left of an average after an hour: half of it after a week
_BUSIEST = 0.5 ** (1 / 720)  # and of the busiest hour: half of it after thirty days
_FORGOTTEN = 0.05  # messages an hour: less is nothing
_MOST_RANGES = 100_000  # kept in a half window; with more, the smallest are dropped
_MOST_HOURS = 24 * 60


@frozen
class Limits:
    """[guards.velocity]."""

    seconds: float = 600.0
    digits: int = 4
    most: int = 2000
    new_country: int = 1000
    factor: float = 10.0
    least: int = 1000
    learn_hours: int = 24
    rest: float = HOUR  # seconds until the same is said again


@frozen
class Excess:
    """`target` is the beginning of the numbers, or the country; `region` the country in both cases."""

    user_id: int
    kind: str
    target: str
    region: str
    count: int
    limit: int


class _Line:
    """An account's messages to a country."""

    __slots__ = ("average", "busiest", "now")

    def __init__(self, average: float = 0.0, busiest: float = 0.0) -> None:
        self.average, self.busiest, self.now = average, busiest, 0


class Velocity:
    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._hour = -1
        self._lines: dict[int, dict[str, _Line]] = {}
        self._hours: dict[int, int] = {}  # that an account has been known for
        self._half = 0.0  # when the present half window began
        self._ranges: dict[int, Counter[str]] = {}
        self._before: dict[int, Counter[str]] = {}
        self._most_before = 0  # of one range
        self._kept = 0
        self._told: dict[tuple[int, str, str], float] = {}

    # --- counting

    def count(self, messages: Sequence[Message], now: float, wanted: Callable[[int], str]) -> list[Excess]:
        """What these are too many of. `wanted(user_id)` is off, alert or pause; alerts of ranges come once a country and `rest`."""
        if now - self._half >= self.limits.seconds / 2 or now < self._half:
            self._turn_ranges(now)
        hour = int(now // HOUR)
        if hour != self._hour:
            self._turn_hours(hour)
        modes = {user: wanted(user) for user in {m.user_id for m in messages}}
        by_user: dict[int, list[str]] = {user: [] for user, mode in modes.items() if mode != "off"}
        found: list[Excess] = []
        if not by_user:
            return found
        if len(modes) == 1:
            by_user = {user: [m.dest for m in messages] for user in by_user}
        else:
            for m in messages:
                if m.user_id in by_user:
                    by_user[m.user_id].append(m.dest)
        for user, dests in by_user.items():
            self._count_user(user, dests, now, modes[user] == "pause", found)
        return found

    def _count_user(self, user: int, dests: list[str], now: float, each: bool, found: list[Excess]) -> None:
        limits = self.limits
        cut, most = -limits.digits or None, limits.most
        ranges = self._ranges.get(user)
        if ranges is None:
            ranges = self._ranges[user] = Counter()
        starts = [d[:cut] for d in dests]
        size = len(ranges)
        ranges.update(starts)
        self._kept += len(ranges) - size
        if max(map(ranges.__getitem__, starts)) + self._most_before > most:
            before: Mapping[str, int] = self._before.get(user, {})
            for start in dict.fromkeys(starts):
                total = ranges[start] + before.get(start, 0)
                if total > most:
                    region = region_of(start)
                    if self._say((user, RANGE, start if each else region), now):
                        found.append(Excess(user, RANGE, start, region, total, most))
        if self._kept > _MOST_RANGES:
            self._drop_small()
        lines = self._lines.get(user)
        if lines is None:
            lines = self._lines[user] = {}
            self._hours.setdefault(user, 0)
        learnt = self._hours[user] >= limits.learn_hours
        for head, n in Counter([d[:7] for d in dests]).items():
            region = region_of(head)
            line = lines.get(region)
            if line is None:
                line = lines[region] = _Line()
            line.now += n
            if learnt and line.now > limits.new_country:
                limit = self.limit_of(line.average, line.busiest)
                if line.now > limit and self._say((user, COUNTRY, region), now):
                    found.append(Excess(user, COUNTRY, region, region, line.now, limit))

    def limit_of(self, average: float, busiest: float) -> int:
        """Messages an hour to a country with such a past."""
        limits = self.limits
        if busiest < 1:
            return limits.new_country
        return int(max(limits.least, limits.new_country, limits.factor * average, 2 * busiest))

    def _say(self, what: tuple[int, str, str], now: float) -> bool:
        if now < self._told.get(what, 0.0):
            return False
        self._told[what] = now + self.limits.rest
        return True

    def released(self, user_id: int, kind: str, target: str, now: float) -> None:
        """It may go on: what was counted so far does not count any more, and nothing is said of it for a while."""
        for ranges in (self._ranges, self._before):
            if kind == RANGE:
                ranges.get(user_id, Counter()).pop(target, None)
        self._told[user_id, kind, target] = now + self.limits.rest

    # --- time

    def _turn_ranges(self, now: float) -> None:
        fresh = 0 <= now - self._half < self.limits.seconds
        self._before = self._ranges if fresh else {}
        self._most_before = max((max(ranges.values(), default=0) for ranges in self._before.values()), default=0)
        self._ranges, self._half, self._kept = {}, now, 0

    def _drop_small(self) -> None:
        """Lossy counting: so that half is left, the smallest are forgotten, and so found later."""
        sizes = sorted(n for ranges in self._ranges.values() for n in ranges.values())
        floor = sizes[len(sizes) // 2]
        self._ranges = {user: Counter({r: n for r, n in ranges.items() if n > floor}) for user, ranges in self._ranges.items()}
        self._kept = sum(len(ranges) for ranges in self._ranges.values())

    def _turn_hours(self, hour: int) -> None:
        passed = hour - self._hour if self._hour >= 0 else 0
        self._hour = hour
        if passed > 0:
            self._age(min(passed, _MOST_HOURS))
        now = hour * HOUR
        self._told = {what: until for what, until in self._told.items() if until > now}

    def _age(self, hours: int) -> None:
        """The hour that is over joins those before; the others of `hours` were empty."""
        average, busiest = _AVERAGE**hours, _BUSIEST**hours
        for user, lines in list(self._lines.items()):
            known = self._hours[user]
            self._hours[user] = known + hours
            for region, line in list(lines.items()):
                # The mean of the hours known, until there are enough of them.
                weight = max(1 - _AVERAGE, 1 / (known + 1))
                line.average += weight * (line.now - line.average)
                line.average *= average / _AVERAGE
                line.busiest = max(line.busiest, line.now) * busiest
                line.now = 0
                if line.busiest < _FORGOTTEN:
                    del lines[region]
            if not lines and known > _MOST_HOURS:
                del self._lines[user], self._hours[user]

    # --- over restarts

    def rows(self) -> list[dict[str, Any]]:
        """Averages and busiest hours, with the present hour as far as it is a busiest one."""
        return [
            {"u": user, "r": region, "a": round(line.average, 4), "b": round(max(line.busiest, float(line.now)), 4), "h": self._hours[user]}
            for user, lines in self._lines.items()
            for region, line in lines.items()
        ]

    def restore(self, rows: Iterable[Mapping[str, Any]], hours: int) -> None:
        """`hours` have passed since."""
        for row in rows:
            user = int(row["u"])
            self._hours[user] = max(self._hours.get(user, 0), int(row["h"]) + hours)
            line = _Line(float(row["a"]) * _AVERAGE**hours, float(row["b"]) * _BUSIEST**hours)
            self._lines.setdefault(user, {})[str(row["r"])] = line
