"""Receipts without a message (yet): all in a table, the young ones in memory too.

In memory a receipt waits for the submit_sm_resp that it has overtaken. That comes within the SMSC's response
time-out or never, so it is forgotten there after some minutes: the table, which a look goes through every
so often, remembers it for a week.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from protei_bulk.model import lifecycle
from protei_bulk.receipts.ids import variants

log = Logger()

REMEMBERED = 600.0  # seconds in memory
MOST = 20_000  # of one SMSC in memory; the oldest go first
_PAGE = 1000
_PAGES = 5  # of old receipts a look; the next look goes on behind them

Tlvs = dict[int, bytes]
ParkedRow = tuple[Any, ...]
"""receipt_id, smsc, id, stat, err, and TLVs as {tag: octets in hexadecimal} where there are some."""


class Table(Protocol):
    def park(self, rows: list[tuple[Any, ...]]) -> Deferred[int]:
        """As ParkedRow, without its number."""
        ...

    def unpark(self, rows: list[tuple[str, str]]) -> Deferred[int]: ...

    def parked(self, after: int | None, most: int) -> Deferred[list[ParkedRow]]:
        """Those behind a receipt_id, oldest first; without one, the youngest."""
        ...


class Clock(Protocol):
    def seconds(self) -> float: ...


class Parked:
    """`after_commit(f)` calls f once what is recorded so far is committed: only then a row may go."""

    def __init__(self, table: Table, clock: Clock, after_commit: Callable[[Callable[[], None]], None]) -> None:
        self._table, self._clock, self._after_commit = table, clock, after_commit
        self.young: dict[str, dict[str, tuple[str, str, float, Tlvs | None]]] = {}  # SMSC -> id -> stat, err, since when, TLVs
        self._behind = 0  # receipt_id that the last look came to

    # --- memory

    def remember(self, smsc: str, id: str, stat: str, err: str, tlvs: Tlvs | None = None) -> None:
        young = self.young.setdefault(smsc, {})
        known = young.pop(id, None)  # the order is that of age
        if known is not None and lifecycle.FROM_RECEIPT.get(stat) not in lifecycle.FINAL:
            stat, err, _, tlvs = known  # an intermediate state says nothing new
        if len(young) >= MOST:
            del young[next(iter(young))]
        young[id] = (stat, err, self._clock.seconds(), tlvs)

    def take(self, smsc: str, key: str) -> tuple[str, str, str, Tlvs | None] | None:
        """(id, stat, err, TLVs) of the receipt that names this id in one way or another; call it where `young` has this SMSC."""
        young = self.young[smsc]
        for id in (key, *variants(key)):
            found = young.get(id)
            if found is not None:
                self._forget(smsc, id)
                return id, found[0], found[1], found[3]
        return None

    def _forget(self, smsc: str, id: str) -> None:
        young = self.young.get(smsc)
        if young is not None and young.pop(id, None) is not None and not young:
            del self.young[smsc]

    def expire(self) -> None:
        """Forgets what waits too long."""
        border = self._clock.seconds() - REMEMBERED
        for smsc, young in list(self.young.items()):
            for id in [id for id, found in young.items() if found[2] < border]:
                self._forget(smsc, id)

    # --- the table

    def keep(self, rows: list[tuple[Any, ...]]) -> Deferred[int]:
        return maybeDeferred(self._table.park, rows)

    def settled(self, found: list[tuple[str, str]]) -> None:
        """The messages of these (SMSC, id) were found: their rows go after the commit of that."""
        for smsc, id in found:
            self._forget(smsc, id)
        self._after_commit(lambda: self._delete(found))

    def _delete(self, gone: list[tuple[str, str]]) -> None:
        d = maybeDeferred(self._table.unpark, gone)
        d.addErrback(lambda f: log.warn("{n} parked receipts stay: {why}", n=len(gone), why=f.getErrorMessage()))

    async def look(self, each: Callable[[list[ParkedRow]], Deferred[None]]) -> None:
        """Calls `each` with the youngest page, and with some pages behind those of the last look: in time with all."""
        self.expire()
        await each(await self._table.parked(None, _PAGE))
        for _ in range(_PAGES):
            page = await self._table.parked(self._behind, _PAGE)
            self._behind = page[-1][0] if len(page) == _PAGE else 0
            await each(page)
            if not self._behind:
                return
