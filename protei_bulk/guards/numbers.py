"""Sets of numbers, compact enough for millions, and what has changed in them since they were read. Pure.

A number is its digits without leading zeros: 00962791234567 is 962791234567. At most 18 digits.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

MOST_DIGITS = 18


def number_of(digits: str) -> int:
    """0 where these are no digits, or too many."""
    if not digits.isascii() or not digits.isdigit():
        return 0
    number = int(digits)
    return number if number < 10**MOST_DIGITS else 0


class NumberSet:
    """Eight octets a number; changes lie over it until it is read anew."""

    __slots__ = ("_added", "_numbers", "_removed")

    def __init__(self, numbers: array[int] | None = None) -> None:
        """`numbers`: ascending, typecode Q."""
        self._numbers = numbers if numbers is not None else array("Q")
        self._added: set[int] = set()
        self._removed: set[int] = set()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> NumberSet:
        return cls(array("Q", sorted(set(numbers))))

    def __len__(self) -> int:
        return len(self._numbers) + len(self._added) - len(self._removed)

    @property
    def changes(self) -> int:
        """How much lies over the numbers that were read."""
        return len(self._added) + len(self._removed)

    def _read(self, number: int) -> bool:
        at = bisect_left(self._numbers, number)
        return at < len(self._numbers) and self._numbers[at] == number

    def __contains__(self, number: int) -> bool:
        if number in self._added:
            return True
        return self._read(number) and number not in self._removed

    def set(self, number: int, there: bool) -> None:
        if there:
            self._removed.discard(number)
            if not self._read(number):
                self._added.add(number)
        else:
            self._added.discard(number)
            if self._read(number):
                self._removed.add(number)


class PrefixSet:
    """First digits of numbers."""

    __slots__ = ("_lengths", "_prefixes")

    def __init__(self, prefixes: Iterable[int] = ()) -> None:
        self._prefixes = {str(p) for p in prefixes}
        self._lengths: tuple[int, ...] = ()
        self._measure()

    def __len__(self) -> int:
        return len(self._prefixes)

    def _measure(self) -> None:
        self._lengths = tuple(sorted({len(p) for p in self._prefixes}))

    def set(self, prefix: int, there: bool) -> None:
        if there:
            self._prefixes.add(str(prefix))
        else:
            self._prefixes.discard(str(prefix))
        self._measure()

    def find(self, number: int) -> str:
        """The shortest prefix of a number that is here, "" where none is."""
        digits = str(number)
        for length in self._lengths:
            if digits[:length] in self._prefixes:
                return digits[:length]
        return ""


class Barred:
    """Numbers and prefixes of one list."""

    __slots__ = ("numbers", "prefixes")

    def __init__(self, numbers: NumberSet | None = None, prefixes: PrefixSet | None = None) -> None:
        self.numbers, self.prefixes = numbers or NumberSet(), prefixes or PrefixSet()

    def __len__(self) -> int:
        return len(self.numbers) + len(self.prefixes)

    def find(self, number: int) -> str:
        """The entry that a number falls under, "*" after a prefix; "" where none does."""
        if number in self.numbers:
            return str(number)
        found = self.prefixes.find(number) if self.prefixes else ""
        return f"{found}*" if found else ""
