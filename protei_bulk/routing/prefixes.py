"""The longest known prefix of a number. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")
D = TypeVar("D")


class PrefixTable(Generic[T]):
    """Finds what stands beside the longest prefix of a number: one look a length, whatever the number of entries."""

    __slots__ = ("_by_length", "_entries")

    def __init__(self, entries: Mapping[str, T] | Iterable[tuple[str, T]] = ()) -> None:
        self._entries: dict[str, T] = dict(entries)
        self._by_length = sorted({len(p) for p in self._entries}, reverse=True)

    def __len__(self) -> int:
        return len(self._entries)

    def longest(self, number: str) -> str:
        """The longest entry that `number` begins with; "" where there is none."""
        entries = self._entries
        for length in self._by_length:
            head = number[:length]
            if head in entries:
                return head
        return ""

    def find(self, number: str, default: D) -> T | D:
        """What stands beside the longest prefix."""
        entries = self._entries
        for length in self._by_length:
            found = entries.get(number[:length])
            if found is not None:
                return found
        return default
