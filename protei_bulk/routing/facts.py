"""What least-cost and best-delivery go by: costs from the operator's lists, shares from receipts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from protei_bulk.routing.costs import CostTable
from protei_bulk.routing.quality import Quality


class RoutingFacts:
    """Facts of strategies.py. `network` names the network of a number; `costs` may be replaced at any time."""

    def __init__(self, network: Callable[[str], str], quality: Quality) -> None:
        self._network, self.quality = network, quality
        self.costs = CostTable()
        self._dest = self._of_dest = ""  # asked for each SMSC of a message in turn

    def cost(self, smsc: str, dest: str) -> Decimal | None:
        if dest != self._dest:
            self._dest, self._of_dest = dest, self._network(dest)
        return self.costs.cost(smsc, dest, self._of_dest)

    def delivered_share(self, smsc: str) -> float | None:
        return self.quality.share(smsc)

    def replaced(self) -> None:
        """The number plan is another one."""
        self._dest = self._of_dest = ""
