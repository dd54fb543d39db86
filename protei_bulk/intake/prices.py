"""Keeps the rate decks in memory: what a segment to a number costs a customer now.

A notification names the deck that changed; only that is read again. What cannot be read leaves what there was.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from protei_bulk.model.account import Account
from protei_bulk.pacing.rereading import Rereading
from protei_bulk.routing.decks import Deck, Rate

CHANNEL = "protei_decks"
DEFAULT = 0  # the number of the default deck
_LONGEST_WAIT = 86_400.0

Key = tuple[int, str]  # customer, or DEFAULT and a currency


class Store(Protocol):
    def rates(self, customer_id: int | None) -> Deferred[list[tuple[int, str, Rate]]]:
        """(customer or DEFAULT, currency or "", entry) of one deck; None: of all."""


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class RateDecks:
    """`network` names the network of a number; `known(any)` is told whether there is any deck at all."""

    def __init__(self, store: Store, network: Callable[[str], str], clock: Clock, known: Callable[[bool], None]) -> None:
        self._store, self._network, self._clock, self._known = store, network, clock, known
        self._rates: dict[Key, list[Rate]] = {}
        self._decks: dict[Key, Deck] = {}
        self._rereading: Rereading[int | None] = Rereading("rate decks", self._read_all, clock)  # None: everything
        self._due: Any = None

    @property
    def entries(self) -> int:
        """Prices in memory that hold now."""
        return sum(map(len, self._decks.values()))

    def price(self, account: Account, dest: str) -> Decimal | None:
        """Of one segment; None where neither deck says."""
        deck = self._decks.get((account.customer_id, ""))
        if deck is not None:
            found = deck.price(dest, self._network)
            if found is not None:
                return found
        deck = self._decks.get((DEFAULT, account.currency))
        return None if deck is None else deck.price(dest, self._network)

    async def start(self) -> None:
        """Reads everything. Raises what the database raises."""
        await self._read(None)

    def changed(self, payload: str) -> None:
        """A notification: the number of a deck, or empty for "anything"."""
        self._rereading.changed({int(payload) if payload.isdecimal() else None})

    def close(self) -> None:
        self._rereading.close()
        if self._due is not None and self._due.active():
            self._due.cancel()

    async def _read_all(self, wanted: set[int | None]) -> None:
        for deck in [None] if None in wanted else sorted(d for d in wanted if d is not None):
            await self._read(deck)

    async def _read(self, deck: int | None) -> None:
        found: dict[Key, list[Rate]] = {}
        for customer, currency, rate in await self._store.rates(deck):
            found.setdefault((customer, currency), []).append(rate)
        kept = {} if deck is None else {key: rates for key, rates in self._rates.items() if key[0] != deck}
        self._rates = {**kept, **found}
        decks = {} if deck is None else {key: made for key, made in self._decks.items() if key[0] != deck}
        now = self._clock.seconds()
        decks.update((key, Deck(rates, now)) for key, rates in found.items())
        self._install(decks)

    def _install(self, decks: dict[Key, Deck]) -> None:
        """From now on, and until the next entry becomes valid."""
        self._decks = decks
        if self._due is not None and self._due.active():
            self._due.cancel()
        next_change = min((d.changes_at for d in decks.values()), default=float("inf"))
        if next_change != float("inf") and not self._rereading.closed:
            wait = min(_LONGEST_WAIT, max(0.0, next_change - self._clock.seconds()))
            self._due = self._clock.callLater(wait, self._move_on)
        self._known(bool(decks))

    def _move_on(self) -> None:
        now = self._clock.seconds()
        self._install({key: d if d.changes_at > now else Deck(self._rates[key], now) for key, d in self._decks.items()})
