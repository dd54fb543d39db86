"""A message on its way into the database, and what the inbox needs around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from protei_bulk.inbound.message import Mo

Row = dict[str, Any]


class Link(Protocol):
    """The SMSC connection that a message came by, with answers of the right kind."""

    @property
    def alive(self) -> bool: ...

    def acknowledge(self, sequences: list[int]) -> None: ...

    def refuse(self, sequence: int, status: int) -> None: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Batch(Protocol):
    def add(self, item: Any) -> None: ...

    def drained(self) -> Deferred[None]: ...


#: makes a batcher of what it runs
Batches = Callable[[Callable[[list[Any]], Deferred[Any]]], Batch]


class Entry:
    """`asked`: who waits for its answer, as (link, sequence_number)."""

    __slots__ = ("arrived", "asked", "mo")

    def __init__(self, mo: Mo, arrived: float) -> None:
        self.mo, self.arrived = mo, arrived
        self.asked: list[tuple[Link, int]] = []
