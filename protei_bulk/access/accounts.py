"""Accounts in memory, so that the way of a message asks no database who sends it.

An account comes in on first use and stays; a change in the database announces itself
(``NOTIFY protei_accounts``), the account is read again and whoever subscribed is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.access.clock import Clock, DelayedCall
from protei_bulk.model.account import Account

Subscriber = Callable[[Account | None, int], None]

_RETRY_SECONDS = 1.0
_CHUNK = 1000


@frozen
class Credentials:
    """An account with what proves it. two_factor_secret is sealed (see secrets.py)."""

    account: Account
    password_hash: str = field(repr=False)
    api_key_hash: str | None = field(default=None, repr=False)
    two_factor_secret: str | None = field(default=None, repr=False)
    dlr_callback_url: str | None = None
    email: str | None = None
    customer_name: str = ""
    smpp_password_hash: str | None = field(default=None, repr=False)  # of the first eight octets of a longer password


class AccountReader(Protocol):
    """What the directory needs of the store."""

    def by_user_ids(self, user_ids: list[int]) -> Deferred[list[Credentials]]: ...


class AccountDirectory:
    """Frozen accounts by user id, each the newest that this node has heard of."""

    _log = Logger()

    def __init__(self, store: AccountReader, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._accounts: dict[int, Account] = {}
        self._weights: dict[int, float] = {}
        self._loading: dict[int, list[Deferred[Account | None]]] = {}
        self._dirty: set[int] = set()
        self._flush: DelayedCall | None = None
        self._reading = False
        self._closed = False
        self._subscribers: list[Subscriber] = []
        self._forgetters: list[Callable[[int | None], None]] = []

    def get(self, user_id: int) -> Account | None:
        """The account if this node has used it already; load() gets any."""
        return self._accounts.get(user_id)

    def weight(self, customer_id: int) -> float:
        """Of a customer's share where several wait for an SMSC."""
        return self._weights.get(customer_id, 1.0)

    def put(self, account: Account) -> None:
        """Keep an account that was just read, no change having been announced meanwhile."""
        self._accounts[account.user_id] = account
        self._weights[account.customer_id] = account.weight

    def load(self, user_id: int) -> Deferred[Account | None]:
        """From memory, or else from the database. Fails as the database does."""
        known = self._accounts.get(user_id)
        if known is not None:
            return succeed(known)
        waiting = self._loading.get(user_id)
        mine: Deferred[Account | None] = Deferred()
        if waiting is not None:
            waiting.append(mine)
            return mine
        self._loading[user_id] = [mine]
        self._store.by_user_ids([user_id]).addCallbacks(
            lambda rows: self._loaded(user_id, rows), lambda f: self._not_loaded(user_id, f)
        )
        return mine

    def load_many(self, user_ids: Iterable[int]) -> Deferred[dict[int, Account]]:
        """Several at once, in one statement; unknown ones are left out."""
        wanted = set(user_ids)
        missing = [u for u in wanted if u not in self._accounts]

        def done(rows: list[Credentials]) -> dict[int, Account]:
            for row in rows:
                self._read_late(row.account)
            return {u: self._accounts[u] for u in wanted if u in self._accounts}

        if not missing:
            return succeed(done([]))
        return self._store.by_user_ids(missing).addCallback(done)

    def subscribe(self, fn: Subscriber) -> None:
        """fn(account, user_id) after each change; account is None where it is gone."""
        self._subscribers.append(fn)

    def on_forget(self, fn: Callable[[int | None], None]) -> None:
        """fn(user_id) at once when a change is announced, before it is read; None means all."""
        self._forgetters.append(fn)

    def changed(self, payload: str) -> None:
        """Payload of the notification: ``user:ID``, ``customer:ID``, or empty for "anything"."""
        kind, _, text = payload.partition(":")
        if kind == "user" and text.isdecimal():
            ids = [int(text)]
            self._forget(ids[0])
        elif kind == "customer" and text.isdecimal():
            customer = int(text)
            ids = [a.user_id for a in self._accounts.values() if a.customer_id == customer]
            for user_id in ids:
                self._forget(user_id)
            ids += self._loading  # may be of this customer
        else:
            ids = [*self._accounts, *self._loading]
            self._forget(None)
        self._dirty.update(ids)
        self._schedule(0)

    def close(self) -> None:
        """No reading from now on: the database goes."""
        self._closed = True
        if self._flush is not None and self._flush.active():
            self._flush.cancel()
        self._flush = None

    def _forget(self, user_id: int | None) -> None:
        for fn in self._forgetters:
            fn(user_id)

    def _schedule(self, seconds: float) -> None:
        if self._dirty and self._flush is None and not self._reading and not self._closed:
            self._flush = self._clock.callLater(seconds, self._read)

    def _read(self) -> None:
        self._flush = None
        ids = sorted(self._dirty)[:_CHUNK]
        self._dirty.difference_update(ids)
        self._reading = True

        def read(rows: list[Credentials]) -> None:
            self._reading = False
            found = {row.account.user_id: row.account for row in rows}
            for user_id in ids:
                account = found.get(user_id)
                if account is None:
                    self._accounts.pop(user_id, None)
                else:
                    self.put(account)
                self._tell(account, user_id)
            self._schedule(0)

        def failed(failure: Failure) -> None:
            # The old account stays in use meanwhile: a database that is away must not stop the traffic.
            self._reading = False
            self._dirty.update(ids)
            self._schedule(_RETRY_SECONDS)
            self._log.warn("changed accounts cannot be read yet: {why}", why=failure.getErrorMessage())

        self._store.by_user_ids(ids).addCallbacks(read, failed)

    def _read_late(self, account: Account) -> None:
        if account.user_id not in self._accounts:
            self.put(account)

    def _tell(self, account: Account | None, user_id: int) -> None:
        for fn in self._subscribers:
            try:
                fn(account, user_id)
            except Exception:
                self._log.failure("a subscriber failed at the change of account {user_id}", user_id=user_id)

    def _loaded(self, user_id: int, rows: list[Credentials]) -> None:
        if rows:  # what a change made us read since is newer
            self._read_late(rows[0].account)
        for waiter in self._loading.pop(user_id):
            waiter.callback(self._accounts.get(user_id))

    def _not_loaded(self, user_id: int, failure: Failure) -> None:
        for waiter in self._loading.pop(user_id):
            waiter.errback(failure)
