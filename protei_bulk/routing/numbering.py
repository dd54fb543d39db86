"""Which network a number belongs to: by prefix, and by what was ported away from it. Pure.

A network is written as its MCC-MNC without a dash: ``41601`` (three digits MCC, two or
three MNC; ITU-T E.212).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

from protei_bulk.routing.prefixes import PrefixTable


class PortedNumbers:
    """Numbers that changed their network, in twelve octets each: a million of them are no burden."""

    __slots__ = ("_networks", "_numbers", "_which")

    def __init__(self, ported: Iterable[tuple[str, str]] = ()) -> None:
        rows: dict[int, str] = {}
        for number, network in ported:
            if number.isascii() and number.isdigit() and len(number) <= 18:
                rows[int(number)] = network
        names = {name: i for i, name in enumerate(sorted(set(rows.values())))}
        self._networks = list(names)
        self._numbers = array("Q", sorted(rows))
        self._which = array("I", (names[rows[n]] for n in self._numbers))

    @classmethod
    def from_arrays(cls, networks: Sequence[str], numbers: array[int], which: array[int]) -> PortedNumbers:
        """Numbers in ascending order (typecode Q), and beside each (typecode I) the place of its network in `networks`."""
        made = cls()
        made._networks, made._numbers, made._which = list(networks), numbers, which
        return made

    def __len__(self) -> int:
        return len(self._numbers)

    def network(self, number: str) -> str:
        """"" where the number was not ported."""
        if not self._numbers or len(number) > 18 or not number.isdigit() or not number.isascii():
            return ""
        n = int(number)
        at = bisect_left(self._numbers, n)
        if at < len(self._numbers) and self._numbers[at] == n:
            return self._networks[self._which[at]]
        return ""


class NumberPlan:
    """`networks` maps prefixes of international numbers to MCC-MNC."""

    __slots__ = ("_ported", "_prefixes", "known")

    def __init__(self, networks: Mapping[str, str] | None = None, ported: PortedNumbers | None = None) -> None:
        self._prefixes: PrefixTable[str] = PrefixTable(networks or {})
        self._ported = ported or PortedNumbers()
        self.known = bool(len(self._prefixes) or len(self._ported))

    @property
    def ported(self) -> int:
        """How many numbers were ported."""
        return len(self._ported)

    def network(self, number: str) -> str:
        """The MCC-MNC of a number, "" where it is not known."""
        return self._ported.network(number) or self._prefixes.find(number, "")
