"""Message ids for peers of SMPP 3.3, which knows eight hexadecimal digits: 32 bits, of which a node takes a block at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger()

_SHORT = re.compile(r"[0-9A-F]{1,8}")


class ShortIds:
    """`block` fetches the first number of a block of `size` that nobody else gets."""

    def __init__(self, block: Callable[[], Deferred[int]], size: int) -> None:
        self._fetch_block, self._size = block, size
        self._numbers: Iterator[int] = iter(())
        self._left = 0
        self._next: range | None = None
        self._fetching = False

    def start(self) -> None:
        self._refill()

    def next(self) -> str:
        """One more; "" where the database has not given any yet."""
        if not self._left:
            if self._next is None:
                self._refill()
                return ""
            self._numbers, self._left, self._next = iter(self._next), self._size, None
        self._left -= 1
        if self._next is None and self._left <= self._size // 2:
            self._refill()
        return f"{next(self._numbers):08X}"

    def _refill(self) -> None:
        if self._fetching:
            return
        self._fetching = True

        def got(first: int) -> None:
            self._fetching = False
            self._next = range(first, first + self._size)

        def failed(f: object) -> None:
            self._fetching = False
            log.warn("short ids: {why}", why=str(f))

        self._fetch_block().addCallbacks(got, failed)


def as_stored(id: str) -> str:
    """An id as an ESME wrote it, in the form in which it was given: leading zeros and the case of letters get lost on the way."""
    id = id.strip().upper()
    return id.zfill(8) if _SHORT.fullmatch(id) else id
