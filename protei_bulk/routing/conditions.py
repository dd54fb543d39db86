"""What a route asks of a message, taken apart: what can be remembered for the next message, and what cannot. Pure."""

from __future__ import annotations

import re
from datetime import datetime, time
from zoneinfo import ZoneInfo

from attrs import frozen

from protei_bulk.model.account import Account, matches_any
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.settings import Match


@frozen
class TimeWindow:
    """`HH:MM-HH:MM [zone]`, over midnight where the end comes first; UTC where no zone stands."""

    begin: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> TimeWindow:
        """Raises ValueError with the reason."""
        span, _, zone = text.strip().partition(" ")
        begin, dash, end = span.partition("-")
        if not dash:
            raise ValueError(f'expected "HH:MM-HH:MM [zone]", got "{text}"')
        return cls(time.fromisoformat(begin), time.fromisoformat(end), ZoneInfo(zone or "UTC"))

    def holds(self, now: float) -> bool:
        at = datetime.fromtimestamp(now, self.zone).time()
        if self.begin <= self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end


class Conditions:
    """Of one route. `fixed` conditions depend on account, sender, channel and network only; `varying` ones on this message and now."""

    __slots__ = ("_pattern", "_tags", "_window", "match", "varying")

    def __init__(self, match: Match) -> None:
        self.match = match
        self._pattern = re.compile(match.pattern) if match.pattern else None
        self._window = TimeWindow.parse(match.time) if match.time else None
        self._tags = frozenset(match.tags)
        self.varying = bool(
            self._pattern or self._window or self._tags or match.priority or match.min_segments > 1 or match.max_segments
        )

    def prefix_length(self, dest: str) -> int:
        """Length of the longest prefix that matches, 0 where none is asked for, -1 for no match."""
        prefixes = self.match.prefix
        if not prefixes:
            return 0
        return max((len(p) for p in prefixes if dest.startswith(p)), default=-1)

    def fixed_fault(self, account: Account, source: str, channel: str, network: str) -> str:
        """Which fixed condition besides the prefix does not hold; "" where all do."""
        m = self.match
        if not matches_any(account.username, m.user):
            return f"user {account.username} is not among {_list(m.user)}"
        if not matches_any(str(account.customer_id), m.customer):
            return f"customer {account.customer_id} is not among {_list(m.customer)}"
        if m.channel and channel not in m.channel:
            return f"channel {channel} is not among {_list(m.channel)}"
        if not matches_any(source, m.sender):
            return f"sender {source} is not among {_list(m.sender)}"
        if m.network and not any(network.startswith(n) for n in m.network):
            return f"network {network or 'unknown'} is not among {_list(m.network)}"
        return ""

    def varying_fault(self, account: Account, m: Message, now: float) -> str:
        """Which varying condition does not hold; "" where all do."""
        match = self.match
        if match.priority and PRIORITIES[m.priority] not in match.priority:
            return f"priority {PRIORITIES[m.priority]} is not among {_list(match.priority)}"
        if m.segments < match.min_segments:
            return f"{m.segments} segments are fewer than {match.min_segments}"
        if match.max_segments and m.segments > match.max_segments:
            return f"{m.segments} segments are more than {match.max_segments}"
        if self._tags and self._tags.isdisjoint(m.tags) and self._tags.isdisjoint(account.tags):
            return f"no tag of {_list(match.tags)}"
        if self._window is not None and not self._window.holds(now):
            return f"it is not {match.time}"
        if self._pattern is not None and self._pattern.search(m.text) is None:
            return f"the text does not match {match.pattern}"
        return ""


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(words[:5]) + (", …" if len(words) > 5 else "")
