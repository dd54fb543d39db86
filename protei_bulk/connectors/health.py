"""How well one SMSC answers: its circuit breaker, and what others see of it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from protei_bulk.pacing.breaker import CLOSED, OPEN, Breaker
from protei_bulk.settings import Smsc

log = Logger()

BOUND, DOWN, DEGRADED, PROBING, PAUSED = "BOUND", "DOWN", "DEGRADED", "PROBING", "PAUSED"


class Health:
    """`tripped()` is called when the breaker opens: what waits should go elsewhere; `recovered()` when it closes."""

    def __init__(self, settings: Smsc, now: Callable[[], float], tripped: Callable[[], None], recovered: Callable[[], None]) -> None:
        s = settings
        self._id, self._now, self._tripped, self._recovered = s.id, now, tripped, recovered
        self._breaker = Breaker(
            s.breaker_share, s.breaker_least, s.breaker_window, s.breaker_rest, s.breaker_rest_max, s.breaker_probes
        )  # fmt: skip
        self.sound = True  # everything may go out: asked on the hot path
        self.slow = 0  # of the answers that are being handled, those that took too long
        self.opened = 0  # how often

    @property
    def resting(self) -> bool:
        """Open, and not to be tried yet."""
        return self._breaker.state == OPEN and self._breaker.wait(self._now()) > 0

    def state(self, bound: bool) -> str:
        if not bound:
            return DOWN
        return BOUND if self.sound else DEGRADED if self.resting else PROBING

    @property
    def level(self) -> int:
        """As a figure: 0 sound, 1 being tried, 2 left alone."""
        return 0 if self.sound else 2 if self.resting else 1

    def room(self) -> int:
        """How many messages may go out now, of one that is not sound."""
        return self._breaker.allows(self._now())

    def wait(self) -> float:
        """Seconds until it is tried again; 0 where it is being tried, or is sound."""
        return self._breaker.wait(self._now())

    def sent(self, count: int) -> None:
        """So many went out of one that is not sound."""
        self._breaker.sent(count)

    def good(self, count: int) -> None:
        """So many answers came; of those that were `slow` none counts as good."""
        slow, self.slow = min(self.slow, count), 0
        self._count(count - slow, slow)

    def bad(self, count: int) -> None:
        """So many were refused for a while, or not answered."""
        self._count(0, count)

    def lost(self) -> None:
        """The bind is gone, and with it the answers to probes."""
        self._breaker.lost()

    def _count(self, good: int, bad: int) -> None:
        breaker = self._breaker
        if not breaker.answers(good, bad, self._now()):
            return
        if breaker.state == CLOSED:
            self.sound = True
            log.info("{smsc}: answers well again", smsc=self._id)
            self._recovered()
            return
        again = not self.sound
        self.sound = False
        self.opened += 1
        wait = round(breaker.wait(self._now()), 1)
        if again:
            log.warn("{smsc}: still fails; tried again in {wait} s", smsc=self._id, wait=wait)
        else:
            log.warn("{smsc}: fails too often; left alone for {wait} s", smsc=self._id, wait=wait)
        self._tripped()
