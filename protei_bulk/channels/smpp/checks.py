"""How many binds are checked at a time: a thousand that come at once must not take the database from everybody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

_AT_A_TIME = 300  # statements of the pool's queue, which takes a thousand (store/pool.py)


class Checks:
    """Begins each in its turn, first come first served."""

    def __init__(self, at_a_time: int = _AT_A_TIME) -> None:
        self._free = at_a_time
        self._waiting: deque[Callable[[], Deferred[Any] | None]] = deque()
        self._beginning = False

    def add(self, begin: Callable[[], Deferred[Any] | None]) -> None:
        """`begin()` gives the Deferred of a check, which must not fail; None where it is not wanted any more."""
        self._waiting.append(begin)
        self._begin()

    def _begin(self) -> None:
        if self._beginning:
            return  # one that ended at once: the loop below goes on, no recursion
        self._beginning = True
        try:
            while self._free and self._waiting:
                d = self._waiting.popleft()()
                if d is not None:
                    self._free -= 1
                    d.addBoth(self._ended)
        finally:
            self._beginning = False

    def _ended(self, _: object) -> None:
        self._free += 1
        self._begin()
