"""Campaigns of requests: their numbers are reserved in blocks, so that a request costs no statement of its own."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.ids import IdMaker

log = Logger()

_BLOCK = 1000  # numbers a statement
_LOW = 250  # with fewer left, the next block is fetched


class Store(Protocol):
    def campaign_numbers(self, count: int) -> Deferred[list[int]]: ...


class Openings:
    """Numbers that were reserved and not used are lost with the process: nobody counts them."""

    def __init__(self, store: Store, ids: IdMaker) -> None:
        self._store, self._ids = store, ids
        self._numbers: list[int] = []
        self._fetching = False
        self._waiting: list[Deferred[None]] = []

    def open(self, account: Account, *, channel: str, name: str | None, sender: str, content: str | None, encoding: str, priority: str,
             dlr_url: str | None, schedule_time: float | None) -> Deferred[Campaign]:  # fmt: skip
        """A campaign that is stored with its first messages. Fails as the store does where there is no number left."""

        def made(_: object = None) -> Campaign:
            number, public = self._numbers.pop(), self._ids.campaign()
            row = {
                "k": number, "i": public, "u": account.user_id, "c": account.customer_id, "h": channel, "n": name, "f": sender,
                "x": content, "e": encoding, "y": priority, "w": dlr_url, "s": schedule_time,
                "z": "APPROVED" if schedule_time else "RUNNING",
            }  # fmt: skip
            if len(self._numbers) < _LOW:
                self._fetch()
            return Campaign(number, public, row)

        if self._numbers:
            return succeed(made())
        d: Deferred[None] = Deferred()
        self._waiting.append(d)
        self._fetch()
        return d.addCallback(made)

    def _fetch(self) -> None:
        if self._fetching:
            return
        self._fetching = True

        def got(numbers: list[int]) -> None:
            self._fetching = False
            self._numbers = numbers + self._numbers
            while self._waiting and self._numbers:
                self._waiting.pop(0).callback(None)
            if self._waiting:
                self._fetch()

        def failed(failure: Failure) -> None:
            self._fetching = False
            log.warn("numbers for campaigns: {why}", why=failure.getErrorMessage())
            waiting, self._waiting = self._waiting, []
            for d in waiting:
                d.errback(failure)

        self._store.campaign_numbers(_BLOCK).addCallbacks(got, failed).addErrback(lambda f: log.failure("opening a campaign", f))
