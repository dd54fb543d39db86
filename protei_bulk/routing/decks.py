"""What customers pay for a segment: dated rate decks, a customer's own and a default one for each currency. Pure.

The customer's own deck counts before the default one. Within a deck the network counts before the prefix (a ported number
costs what its network costs), the longest entry before the others, and of several for one of them the youngest that is valid.
An entry without a price takes its prefix out of the deck from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from attrs import frozen

from protei_bulk.routing.prefixes import PrefixTable


@frozen
class Rate:
    """Of one segment. `network` is an MCC-MNC or an MCC; both it and `prefix` empty: to everybody. `valid_from`: Unix seconds."""

    network: str
    prefix: str
    price: Decimal | None
    valid_from: float = float("-inf")


class Deck:
    """What holds at `now`; `changes_at` is when the next entry becomes valid."""

    __slots__ = ("_networks", "_prefixes", "changes_at")

    def __init__(self, rates: Iterable[Rate], now: float) -> None:
        found: dict[tuple[str, str], Decimal | None] = {}
        self.changes_at = float("inf")
        for r in sorted(rates, key=lambda r: r.valid_from):
            if r.valid_from > now:
                self.changes_at = r.valid_from
                break
            found[r.network, r.prefix] = r.price
        self._networks = {network: price for (network, _), price in found.items() if network and price is not None}
        self._prefixes = PrefixTable((prefix, price) for (network, prefix), price in found.items() if not network and price is not None)

    def __len__(self) -> int:
        return len(self._networks) + len(self._prefixes)

    def price(self, dest: str, network: Callable[[str], str]) -> Decimal | None:
        """None where the deck does not say. `network` is asked only where there are prices of networks."""
        if self._networks:
            name = network(dest)
            if name:
                known = self._networks.get(name)
                if known is None:
                    known = self._networks.get(name[:3])
                if known is not None:
                    return known
        return self._prefixes.find(dest, None)
