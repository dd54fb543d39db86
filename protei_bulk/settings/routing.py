"""[routing]: what holds for all ways of messages."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from attrs import frozen

from protei_bulk.settings.rules import Currency, Money, Number, Whole


@frozen
class Rate:
    """What one unit of a foreign currency is worth in `routing.currency`."""

    currency: Annotated[str, Currency()]
    value: Annotated[Decimal, Money()]


@frozen
class Routing:
    """Costs are compared in `currency`; one in a currency without a rate counts as unknown."""

    validity_hours: Annotated[int, Whole(1, 8760)] = 48  # of a message that names no end itself
    currency: Annotated[str, Currency()] = "USD"
    rate: tuple[Rate, ...] = ()
    delivery_half_life: Annotated[float, Number(1, 604_800)] = 3600.0  # seconds after which a receipt counts half
    delivery_least: Annotated[int, Whole(1, 1_000_000)] = 50  # receipts until an SMSC's share counts
