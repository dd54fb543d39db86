"""What the operator pays an SMSC for a segment: to a network, to a prefix, or to everybody. Pure.

The network counts before the prefix: a ported number costs what its network costs. Within each, the longest
entry counts (the whole MCC-MNC before the MCC alone), and of several for one of them the youngest that is valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from attrs import frozen

from protei_bulk.routing.prefixes import PrefixTable


@frozen
class Cost:
    """Of one segment. `network` is an MCC-MNC or an MCC; both it and `prefix` empty: to everybody. `valid_from`: Unix seconds."""

    smsc: str
    network: str
    prefix: str
    cost: Decimal
    currency: str
    valid_from: float = float("-inf")


class CostTable:
    """What holds at `now`, in one currency; `rates` says what one unit of another is worth. Costs in others are unknown."""

    __slots__ = ("_networks", "_prefixes", "changes_at", "without_rate")

    def __init__(self, costs: Iterable[Cost] = (), now: float = 0.0, currency: str = "USD",
                 rates: Mapping[str, Decimal] | None = None) -> None:  # fmt: skip
        worth = {**(rates or {}), currency: Decimal(1)}
        found: dict[tuple[str, str, str], Cost] = {}
        self.changes_at = float("inf")  # when an entry becomes valid that is not yet
        self.without_rate: set[str] = set()  # currencies
        for c in sorted(costs, key=lambda c: c.valid_from):
            if c.valid_from > now:
                self.changes_at = c.valid_from
                break
            found[c.smsc, c.network, c.prefix] = c
        networks: dict[str, dict[str, Decimal]] = {}
        prefixes: dict[str, dict[str, Decimal]] = {}
        for (smsc, network, prefix), c in found.items():
            if c.currency not in worth:
                self.without_rate.add(c.currency)
                continue
            table, key = (networks, network) if network else (prefixes, prefix)
            table.setdefault(smsc, {})[key] = c.cost * worth[c.currency]
        self._networks = networks
        self._prefixes = {smsc: PrefixTable(entries) for smsc, entries in prefixes.items()}

    def __len__(self) -> int:
        return sum(len(t) for t in self._networks.values()) + sum(len(t) for t in self._prefixes.values())

    def cost(self, smsc: str, dest: str, network: str) -> Decimal | None:
        """Of one segment to this number of this network ("" where it is not known); None where nobody has said."""
        if network:
            of = self._networks.get(smsc)
            if of is not None:
                known = of.get(network)
                if known is None:
                    known = of.get(network[:3])
                if known is not None:
                    return known
        table = self._prefixes.get(smsc)
        return None if table is None else table.find(dest, None)
