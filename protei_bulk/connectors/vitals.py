"""What a connector remembers of itself for people: how long answers take, what went wrong, and what receipts said."""

from __future__ import annotations

from attrs import define

from protei_bulk.smpp import statuses


@define(eq=False)
class Vitals:
    """Counts since the connector was made; times are Unix seconds. `latency` in seconds, smoothed; 0 while nothing was measured."""

    delivered: int = 0  # receipts of parts that were delivered
    undelivered: int = 0  # receipts of parts that ended otherwise
    temporary: int = 0  # parts refused for a while
    unanswered: int = 0
    latency: float = 0.0
    error: str = ""
    error_at: float = 0.0

    def note(self, text: str, now: float) -> None:
        """What went wrong last."""
        self.error, self.error_at = text[:200], now

    def refused(self, status: int, now: float) -> None:
        """A part was not taken."""
        self.note(f"submit_sm: {statuses.name(status)}", now)

    def answered(self, seconds: float) -> None:
        """One answer in each round trip is measured."""
        seconds = max(0.0, seconds)
        self.latency = seconds if not self.latency else 0.8 * self.latency + 0.2 * seconds
