"""Gets a batch into the database: once, whatever happens to the connection, and without the rows it will not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.intake.calendar import Calendar
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.faults import Unstorable
from protei_bulk.model.message import Message

log = Logger()

PATIENCE = 10.0  # seconds without a database until what is certainly not stored is refused
DOUBT = 60.0  # seconds until what may be stored is refused
_DISOWN_EVERY = 1.0
_TRIES = 3  # of a batch that the database answers and does not take, until it is halved
_MOST_FAULTY = 20  # messages found at fault in one batch; with more it is the database that is

Row = dict[str, Any]


class Store(Protocol):
    """Errors are Unstorable, or have `maybe_done` False where nothing had been sent to the database."""

    def accept(self, charges: list[Row], rows: list[Row], queued: bool, campaigns: list[Row]) -> Deferred[dict[str, str] | None]: ...

    def stored(self, ids: list[str]) -> Deferred[set[str]]: ...

    def disown(self, ids: list[str]) -> Deferred[int]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


def _line(problem: Exception) -> str:
    """Its first line: the others may quote what a row holds."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]


class Storing:
    """`settled(messages, refused)` is told of what is committed, `unstored(messages)` of what is not; `shed()` refuses what waits.

    Where the database stays away, what was certainly not sent to it is refused after PATIENCE; what may be stored, after
    DOUBT, and it is then disowned: taken back, with its quota and money, as soon as the database is there.
    """

    def __init__(self, store: Store, clock: Clock, calendar: Calendar, accounts: dict[int, Account],
                 row_of: Callable[[Message, str], Row], settled: Callable[[list[Message], dict[str, str] | None], None],
                 unstored: Callable[[list[Message]], None], shed: Callable[[], None]) -> None:  # fmt: skip
        self._store, self._clock, self._calendar, self._accounts = store, clock, calendar, accounts
        self._row_of, self._settled, self._unstored, self._shed = row_of, settled, unstored, shed
        self._in_flight: list[Message] = []
        self._away = 0.0  # since when the database does not answer; 0 while it does
        self._faulty = 0  # of the batch in flight
        self.disowned = 0

    def oldest(self) -> str | None:
        """The smallest id in flight."""
        return min((m.id for m in self._in_flight), default=None)

    async def run(self, batch: list[Message]) -> None:
        self._in_flight = batch
        self._faulty = 0
        try:
            await self._put(batch, 1)
        finally:
            self._in_flight = []

    # --- one statement

    def _statement(self, batch: list[Message]) -> tuple[list[Row], list[Row], bool, list[Campaign]]:
        """Charges, rows, whether some go into the queue table, and the campaigns to be made."""
        row_of, day_of, accounts = self._row_of, self._calendar.day, self._accounts
        now = self._clock.seconds()
        sums: dict[tuple[int, int], Row] = {}
        rows: list[Row] = []
        campaigns: list[Campaign] = []
        queued = False
        days = {user: day_of(accounts[user].timezone, now) for user in {m.user_id for m in batch}}
        for m in batch:
            charge = sums.get((m.user_id, m.campaign_id))
            if charge is None:
                charge = sums[m.user_id, m.campaign_id] = {
                    "u": m.user_id, "c": m.customer_id, "d": days[m.user_id], "n": 0, "a": 0, "k": m.campaign_id, "m": 0,
                }  # fmt: skip
                if m.opens is not None and not m.opens.stored:
                    campaigns.append(m.opens)
            charge["n"] += m.segments
            charge["m"] += 1
            if m.price:
                charge["a"] += m.price
                charge["b"] = charge.get("b", 0) + 1
                if m.charge:
                    charge["h"] = charge.get("h", 0) + m.price
            if m.queued:
                queued = True
            rows.append(row_of(m, days[m.user_id]))
        charges = list(sums.values())
        for charge in charges:
            charge["a"] = str(charge["a"])
            if "h" in charge:
                charge["h"] = str(charge["h"])
        return charges, rows, queued, campaigns

    async def _put(self, batch: list[Message], n: int, doubted: bool = False) -> None:
        """Until each message is settled or refused. `n` counts the tries; `doubted`: an earlier one may still be under way."""
        try:
            charges, rows, queued, campaigns = self._statement(batch)
        except Exception as error:
            log.failure("a message that cannot be written down")
            await self._divide(batch, error, doubted)
            return
        doubt = 0.0  # since when a COMMIT may have happened
        while True:
            problem: Exception
            try:
                refused = await self._store.accept(charges, rows, queued, [c.row for c in campaigns])
            except Exception as error:
                problem = error
            else:
                self._away = 0.0
                self._committed(batch, refused, campaigns)
                return
            if not isinstance(problem, Unstorable):
                log.warn("storing {count} messages, attempt {n}: {why}", count=len(batch), n=n, why=_line(problem))
                if getattr(problem, "maybe_done", True):
                    doubt, doubted = self._clock.seconds(), True
                await self._pause(min(1.0, 0.2 * n))
            elif doubted:  # by the keys of what that one has stored?
                doubt = self._clock.seconds()
            if doubt:
                found = await self._look(batch, doubt + DOUBT)
                if found is None:
                    self._refuse(batch)
                    Deferred.fromCoroutine(self._disown([m.id for m in batch]))
                    return
                doubt = 0.0
                if found:
                    self._committed([m for m in batch if m.id in found], None, campaigns)
                    left = [m for m in batch if m.id not in found]
                    if left:  # refused then, who knows why: asked anew
                        await self._put(left, 1, doubted)
                    return
                if n >= _TRIES or isinstance(problem, Unstorable):
                    await self._divide(batch, problem, doubted)
                    return
            elif isinstance(problem, Unstorable):
                await self._divide(batch, problem, doubted)
                return
            elif self._too_long():
                self._refuse(batch)
                self._shed()
                return
            n += 1

    def _committed(self, batch: list[Message], refused: dict[str, str] | None, campaigns: list[Campaign]) -> None:
        for campaign in campaigns:
            campaign.stored = True
        self._settled(batch, refused)

    def _refuse(self, batch: list[Message]) -> None:
        log.error("{count} messages are not stored, and are refused", count=len(batch))
        self._unstored(batch)

    async def _divide(self, batch: list[Message], problem: Exception, doubted: bool) -> None:
        """The database answers and will not have them: the one at fault must not harm the others."""
        if len(batch) == 1:
            self._faulty += 1
            log.error("message {id} of user {user} is refused: {why}", id=batch[0].id, user=batch[0].user_id, why=_line(problem))
            self._unstored(batch)
        elif self._faulty >= _MOST_FAULTY:
            self._refuse(batch)
        else:
            half = len(batch) // 2
            tries = 1 if isinstance(problem, Unstorable) else max(1, _TRIES - 1)
            await self._put(batch[:half], tries, doubted)
            await self._put(batch[half:], tries, doubted)

    # --- while the database is away

    def _too_long(self) -> bool:
        now = self._clock.seconds()
        self._away = self._away or now
        return now - self._away >= PATIENCE

    async def _pause(self, seconds: float) -> None:
        over: Deferred[None] = Deferred()
        self._clock.callLater(seconds, over.callback, None)
        await over

    async def _look(self, batch: list[Message], until: float) -> set[str] | None:
        """Which are stored; None where nobody knows by then."""
        ids = [m.id for m in batch]
        while True:
            try:
                found = await self._store.stored(ids)
            except Exception as error:
                log.warn("looking for {count} messages: {why}", count=len(ids), why=_line(error))
                if self._too_long():
                    self._shed()
            else:
                self._away = 0.0
                return found
            if self._clock.seconds() >= until:
                return None
            await self._pause(1.0)

    async def _disown(self, ids: list[str]) -> None:
        """Their senders were told no: what was stored all the same is taken back."""
        while True:
            await self._pause(_DISOWN_EVERY)  # sooner than a connector would find one in the queue table
            try:
                count = await self._store.disown(ids)
            except Exception as error:
                log.warn("disowning {count} messages: {why}", count=len(ids), why=_line(error))
            else:
                break
        self.disowned += count
        if count:
            log.warn("{count} messages that had been refused in doubt were stored: taken back, with their quota and money", count=count)
