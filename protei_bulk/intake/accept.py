"""The one way in: every channel hands its messages to `Intake.submit`.

Checks that need no database are made at once; then the message joins the batch that
gathers while the previous one commits. One statement stores a batch together with its
quota and money (`storing`); the origins are answered after the commit, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.guards.checker import Checker
from protei_bulk.intake.calendar import Calendar
from protei_bulk.intake.long import LongMessages
from protei_bulk.intake.openings import Openings
from protei_bulk.intake.openings import Store as ReservesNumbers
from protei_bulk.intake.storing import Clock, Storing
from protei_bulk.intake.storing import Store as StoresBatches
from protei_bulk.model import message as refusals
from protei_bulk.model.account import Account, matches_any
from protei_bulk.model.charging import RESERVED, UNTIL_DELIVERED
from protei_bulk.model.ids import IdMaker
from protei_bulk.model.long import OWN_RECEIPT
from protei_bulk.model.message import Message, Origin, Refusal
from protei_bulk.routing.rules import Decision, Router

log = Logger()

_WHY = {"Q": refusals.QUOTA_EXCEEDED, "B": refusals.BALANCE_EXCEEDED}


class Store(StoresBatches, ReservesNumbers, Protocol):
    """What intake asks of the database."""

    def day_campaign(self, user_id: int, customer_id: int, day: str, public_id: str, system_id: str) -> Deferred[int]: ...


class Gathers(Protocol):
    """A batcher: see store.batcher."""

    @property
    def pending(self) -> int: ...

    @property
    def first_waiting(self) -> Message | None: ...

    def add(self, item: Message) -> None: ...

    def drained(self) -> Deferred[None]: ...

    def withdraw(self) -> list[Message]: ...


class Places(Protocol):
    """The connector fleet: who can take a message now, and takes it."""

    def place(self, message: Message) -> None:
        """Sets `smsc`, and `queued` where it cannot go out from memory now."""

    def dispatch(self, messages: list[Message]) -> None: ...


class Prices(Protocol):
    """Rate decks: see intake.prices."""

    def price(self, account: Account, dest: str) -> Decimal | None:
        """Of one segment; None where nobody has said."""


class Intake:
    """Accepts messages for all channels.

    `row_of` turns a message into what the store takes; `gather` makes a batcher around
    the function that stores a batch. `max_pending` bounds what waits for the database.
    """

    def __init__(self, store: Store, router: Router, fleet: Places, ids: IdMaker, clock: Clock,
                 gather: Callable[[Callable[[list[Message]], Deferred[None]]], Gathers],
                 row_of: Callable[[Message, str], dict[str, Any]], *, max_pending: int = 50_000) -> None:  # fmt: skip
        self._store, self._router, self._fleet, self._ids, self._clock = store, router, fleet, ids, clock
        self._max_pending = max_pending
        self.max_parts = 0  # of a message, for accounts that name no number of their own; 0: no limit
        self.calendar = Calendar()
        self._batcher = gather(self._run)
        self.open_campaign = Openings(store, ids).open
        self._days: dict[int, tuple[str, int]] = {}  # user -> (day, campaign of its SMPP traffic)
        self._opening: dict[int, list[Message]] = {}
        self._accounts: dict[int, Account] = {}
        self.long = LongMessages(router)
        self.checker = Checker()  # see guards
        self.guarded = False  # whether it stops messages of accounts without guards of their own
        self.counted: Callable[[list[Message]], None] | None = None  # told of what is stored, a batch at a time
        self.prices: Prices | None = None  # None: nobody pays by a rate deck
        self._storing = Storing(
            store, clock, self.calendar, self._accounts, row_of, self._stored, self._unstored, self._shed
        )  # fmt: skip
        self._refused: dict[int, list[Message]] = {}
        self._refusing = False
        self.accepted = 0
        self.refused = 0
        self.refusals: dict[str, int] = {}  # by code

    @property
    def accounts(self) -> dict[int, Account]:
        """Those that have sent something, by number."""
        return self._accounts

    @property
    def pending(self) -> int:
        """Messages that wait for the database."""
        return self._batcher.pending

    @property
    def fullness(self) -> int:
        """`pending` in percent of what is taken at most."""
        return 100 * self._batcher.pending // self._max_pending

    def drained(self) -> Deferred[None]:
        """Fires once everything handed in so far is answered."""
        return self._batcher.drained()

    def oldest(self) -> str | None:
        """The smallest id between arrival and commit."""
        waiting = [m.id for held in self._opening.values() for m in held]
        first = self._batcher.first_waiting
        if first is not None:
            waiting.append(first.id)
        in_flight = self._storing.oldest()
        if in_flight is not None:
            waiting.append(in_flight)
        return min(waiting, default=None)

    def submit(self, account: Account, m: Message) -> None:
        """Takes or refuses one message; `m.origin` hears about it later, never within this call."""
        refusal = self._check(account, m)
        if refusal is not None:
            m.refusal = refusal
            self._refuse(m)
            return
        m.user_id = account.user_id
        m.customer_id = account.customer_id
        m.id = self._ids.message()
        if m.long is not None:
            self.long.placed(m)
        if account.dlr_callback_url and m.dlr_url is None and (m.channel != "SMPP" or m.registered & 3):
            m.dlr_url = account.dlr_callback_url
        self._accounts[account.user_id] = account
        if m.campaign_id:
            self._batcher.add(m)
            return
        day = self.calendar.day(account.timezone, m.created)
        known = self._days.get(account.user_id)
        if known is not None and known[0] == day:
            m.campaign_id = known[1]
            self._batcher.add(m)
        else:
            self._wait_for_day(account, day, m)

    def _check(self, account: Account, m: Message) -> Refusal | None:
        if self._batcher.pending >= self._max_pending:
            return refusals.QUEUE_FULL
        senders = account.allowed_sender_ids
        if senders and m.source not in senders and not matches_any(m.source, senders):
            return refusals.SENDER_NOT_ALLOWED
        if not (m.dest.isascii() and m.dest.isdigit() and 3 <= len(m.dest) <= 20):
            return refusals.INVALID_DESTINATION
        if m.segments > 1:
            most = account.max_parts or self.max_parts
            if most and m.segments > most:
                m.refusal_detail = f"{m.segments} parts are more than {most}"
                return refusals.TOO_LONG
        m.created = now = self._clock.seconds()
        if m.valid_until and m.valid_until <= max(now, m.not_before):
            return refusals.EXPIRED_ALREADY
        if self.guarded or account.guards is not None:
            refusal = self.checker.check(account, m)
            if refusal is not None:
                return refusal
        decision = self._router.route(account, m) if m.long is None else self.long.decide(account, m)
        if decision.refusal is not None:
            self.checker.forget(account.user_id, m)
            return decision.refusal
        m.route = decision.stored
        if decision.next_after_receipt:
            m.registered |= OWN_RECEIPT
        m.candidates = decision.smscs if decision.strategy == "failover" else self._router.candidates(decision, m.dest)
        price = decision.price
        if price is None and self.prices is not None:
            price = self.prices.price(account, m.dest)
        if price:
            m.price = price * m.segments
            m.charge = RESERVED[account.charge_on]
            if m.charge == UNTIL_DELIVERED:
                m.registered |= OWN_RECEIPT
        if m.not_before > now:
            m.smsc, m.queued = m.candidates[0], True
        else:
            m.not_before = 0.0
            self._fleet.place(m)
        return None

    # --- for estimates: nothing is stored or taken

    def way(self, account: Account, m: Message) -> Decision:
        """Which way a message would take now."""
        return self._router.route(account, m)

    def in_turn(self, decision: Decision, dest: str) -> tuple[str, ...]:
        """The SMSCs of a way, in the order for a number."""
        return self._router.candidates(decision, dest)

    def deck_price(self, account: Account, dest: str) -> Decimal | None:
        """Of a segment by the rate decks; None where they do not say."""
        return None if self.prices is None else self.prices.price(account, dest)

    # --- refusals that need no database: told in one go at the end of the turn

    def _refuse(self, m: Message) -> None:
        self._count(m)
        self.long.refused(m)
        origin = m.origin
        if origin is None:
            return
        self._refused.setdefault(id(origin), []).append(m)
        if not self._refusing:
            self._refusing = True
            self._clock.callLater(0, self._tell_refused)

    def _count(self, m: Message) -> None:
        self.refused += 1
        code = m.refusal.code if m.refusal is not None else ""
        self.refusals[code] = self.refusals.get(code, 0) + 1

    def _tell_refused(self) -> None:
        self._refusing = False
        refused, self._refused = self._refused, {}
        for messages in refused.values():
            _answer(messages[0].origin, messages)

    # --- campaigns

    def _wait_for_day(self, account: Account, day: str, m: Message) -> None:
        waiting = self._opening.get(account.user_id)
        if waiting is not None:
            waiting.append(m)
            return
        self._opening[account.user_id] = [m]
        d = self._store.day_campaign(account.user_id, account.customer_id, day, self._ids.campaign(), account.username)
        d.addCallbacks(self._day_known, self._day_unknown, (account.user_id, day), {}, (account.user_id,))

    def _day_known(self, campaign: int, user_id: int, day: str) -> None:
        self._days[user_id] = (day, campaign)
        for m in self._opening.pop(user_id):
            m.campaign_id = campaign
            self._batcher.add(m)

    def _day_unknown(self, failure: Failure, user_id: int) -> None:
        log.error("no SMPP campaign for user {user}: {why}", user=user_id, why=failure.getErrorMessage())
        for m in self._opening.pop(user_id):
            m.refusal = refusals.SYSTEM_ERROR
            self.checker.forget(user_id, m)
            self._refuse(m)

    # --- the batch

    def _run(self, batch: list[Message]) -> Deferred[None]:
        self._ids.refresh()
        return Deferred.fromCoroutine(self._storing.run(batch))

    def _stored(self, batch: list[Message], refused: dict[str, str] | None) -> None:
        by_origin: dict[int, list[Message]] = {}
        going = []
        for m in batch:
            if refused and m.id in refused:
                m.refusal = _WHY[refused[m.id]]
                self._count(m)
                self.checker.forget(m.user_id, m)
                self.long.refused(m)
            elif not m.queued:
                going.append(m)
            known = by_origin.get(id(m.origin))
            if known is None:
                by_origin[id(m.origin)] = [m]
            else:
                known.append(m)
        self.accepted += len(batch) - (len(refused) if refused else 0)
        for messages in by_origin.values():
            _answer(messages[0].origin, messages)
        self._fleet.dispatch(going)
        if self.counted is not None:
            self.counted([m for m in batch if m.refusal is None] if refused else batch)

    def _unstored(self, messages: list[Message]) -> None:
        for m in messages:
            m.refusal = refusals.SYSTEM_ERROR
            self.checker.forget(m.user_id, m)
            self._refuse(m)

    def _shed(self) -> None:
        self._unstored(self._batcher.withdraw())


def _answer(origin: Origin | None, messages: list[Message]) -> None:
    if origin is None:
        return
    try:
        origin.answered(messages)
    except Exception:
        log.failure("an origin failed at its answers")  # one channel's fault stops no other's answers
    for m in messages:
        m.origin = None  # it is remembered until its receipt: its session need not be
