"""Which share of the messages that an SMSC took was delivered: a count that forgets. Pure.

A receipt counts half after `half_life` seconds, a quarter after twice that, and so on. Every node counts
what it hears, and knows what the others counted; shares are worked out once a second, not once a message.
"""

from __future__ import annotations

from collections.abc import Iterable


class Quality:
    """`least` receipts (as they count now) must be there before an SMSC has a share."""

    def __init__(self, half_life: float = 3600.0, least: int = 50) -> None:
        self.half_life, self.least = half_life, least
        self._new: dict[str, list[int]] = {}  # smsc -> delivered, finished since the last fold
        self._own: dict[str, tuple[float, float]] = {}
        self._others: dict[str, tuple[float, float]] = {}
        self._at = 0.0
        self._shares: dict[str, float] = {}

    def note(self, smsc: str, delivered: bool) -> None:
        """A receipt that is final."""
        counts = self._new.get(smsc)
        if counts is None:
            counts = self._new[smsc] = [0, 0]
        counts[1] += 1
        if delivered:
            counts[0] += 1

    def share(self, smsc: str) -> float | None:
        """0 to 1; None where too little is known."""
        return self._shares.get(smsc)

    def fold(self, now: float) -> None:
        """Takes in what was noted; call it every second or so."""
        faded = self._fading(now - self._at) if self._at else 1.0
        self._at = now
        self._own = {smsc: (d * faded, n * faded) for smsc, (d, n) in self._own.items()}
        self._others = {smsc: (d * faded, n * faded) for smsc, (d, n) in self._others.items()}
        noted, self._new = self._new, {}
        for smsc, (delivered, finished) in noted.items():
            d, n = self._own.get(smsc, (0.0, 0.0))
            self._own[smsc] = (d + delivered, n + finished)
        self._shares = {}
        for smsc in {*self._own, *self._others}:
            d, n = self._own.get(smsc, (0.0, 0.0))
            other_d, other_n = self._others.get(smsc, (0.0, 0.0))
            if n + other_n >= self.least:
                self._shares[smsc] = (d + other_d) / (n + other_n)

    def own(self, smsc: str) -> tuple[float, float]:
        """(delivered, finished) as this node counts them now."""
        return self._own.get(smsc, (0.0, 0.0))

    def restore(self, rows: Iterable[tuple[str, float, float, float]]) -> None:
        """(smsc, delivered, finished, seconds since) as this node had written them before it started."""
        for smsc, delivered, finished, age in rows:
            faded = self._fading(age)
            self._own[smsc] = (delivered * faded, finished * faded)

    def hear(self, rows: Iterable[tuple[str, float, float, float]]) -> None:
        """The same, of all other nodes."""
        others: dict[str, tuple[float, float]] = {}
        for smsc, delivered, finished, age in rows:
            faded = self._fading(age)
            d, n = others.get(smsc, (0.0, 0.0))
            others[smsc] = (d + delivered * faded, n + finished * faded)
        self._others = others

    def _fading(self, seconds: float) -> float:
        return float(0.5 ** (max(0.0, seconds) / self.half_life))
