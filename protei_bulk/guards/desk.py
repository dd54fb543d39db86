"""Keeps what stops messages up to date, and tells what was found: reads the lists, hears of their changes, records keywords and bursts.

What cannot be read leaves what there was; what must be recorded is tried until the database takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.guards.checker import Checker, Lists, Pause
from protei_bulk.guards.keywords import Keywords
from protei_bulk.guards.velocity import Excess, Limits, Velocity
from protei_bulk.model import ids
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.pacing.rereading import Rereading
from protei_bulk.settings.guards import Guards as Settings

log = Logger()

CHANNEL = "protei_guards"
_EVENTS = "tbl_velocity_events"
_RETRY = 2.0  # seconds
_MOST_CHANGES = 50_000  # rows read one by one; with more, the lists are read as a whole
_OVERLAY = 200_000  # changes that lie over a list until it is read anew
_LOOK_BACK = 86_400.0  # seconds in which a message from a mobile may have been stored and not been read for keywords
_PAGE = 10_000
_MOST_PAUSES = 10_000
_HOURLY = 3600.0

Row = dict[str, Any]


class Event(Protocol):
    @property
    def pause(self) -> Pause: ...


class Mo(Protocol):
    id: str
    text: str | None


class Store(Protocol):
    """See store.guards."""

    def load(self) -> Deferred[tuple[Lists, int]]: ...

    def changes(self, since: int, most: int) -> Deferred[Any]: ...

    def events(self, *, paused: bool, limit: int) -> Deferred[Any]: ...

    def found(self, excesses: Iterable[tuple[Excess, str]], node: int, pause_seconds: float) -> Deferred[Any]: ...

    def end_pauses(self) -> Deferred[int]: ...

    def record_mobiles(self, rows: list[Row], by_sender: bool) -> Deferred[int]: ...

    def mobiles_since(self, message_id: str, most: int) -> Deferred[list[tuple[str, str]]]: ...

    def baselines(self, node: int) -> Deferred[tuple[list[Row], float]]: ...

    def save_baselines(self, node: int, rows: list[Row]) -> Deferred[int]: ...

    def forget(self) -> Deferred[int]: ...

    def close(self) -> None: ...


class Intake(Protocol):
    """What is guarded: see intake.accept."""

    checker: Checker
    guarded: bool
    counted: Callable[[list[Message]], None] | None

    @property
    def accounts(self) -> Mapping[int, Account]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class GuardDesk:
    def __init__(self, settings: Settings, store: Store, intake: Intake, clock: Clock, node: int) -> None:
        self._store, self._intake, self._clock, self._node = store, intake, clock, node
        self._checker = intake.checker
        self.velocity = Velocity()
        self._version = 0
        self._rereading: Rereading[str] = Rereading("the lists of guards", self._read, clock)
        self._known: dict[int, Pause] = {}  # pauses in the database, by number
        self._own: list[Pause] = []  # found here, and not recorded yet
        self._recording = 0
        self._idle: list[Deferred[None]] = []
        self._saved = clock.seconds()
        self.counts = {"alert": 0, "pause": 0, "stop": 0, "start": 0}
        self.configure(settings)

    # --- life

    async def start(self) -> None:
        """Before anything is accepted. Raises what the database raises."""
        await self._read({"all", _EVENTS})
        rows, age = await self._store.baselines(self._node)
        self.velocity.restore(rows, int(age // _HOURLY))
        self._intake.counted = self.count
        self._record(self._catch_up())

    def configure(self, settings: Settings) -> None:
        """Other settings, from now on (SIGHUP)."""
        self._settings = settings
        v = settings.velocity
        self.velocity.limits = Limits(v.seconds, v.digits, v.most, v.new_country, v.factor, v.least, v.learn_hours)
        self._keywords = Keywords(settings.stop_words, settings.start_words)
        self._checker.allowed, self._checker.blocked = frozenset(settings.allowed_countries), frozenset(settings.blocked_countries)
        self._checker.duplicates.most = settings.duplicates_remembered
        self._set_busy()

    def _set_busy(self) -> None:
        self._intake.guarded = self._checker.busy

    def stop(self) -> Deferred[Any]:
        """Fires once everything found is recorded."""

        async def save() -> None:
            await self._store.save_baselines(self._node, self.velocity.rows())

        if not self._rereading.closed:
            self._record(save(), once=True)
        self._rereading.close()
        return self.drained()

    def close(self) -> None:
        self._store.close()

    async def tend(self) -> None:
        """Every half minute or so."""
        if self._known:
            await self._store.end_pauses()
        now = self._clock.seconds()
        if now - self._saved >= _HOURLY:
            self._saved = now
            await self._store.save_baselines(self._node, self.velocity.rows())
            await self._store.forget()

    # --- lists

    def changed(self, payload: str) -> None:
        """A notification: the name of a table, "all" for lists that must be read as a whole, or empty for "anything"."""
        self._rereading.changed({payload} if payload else {"lists", _EVENTS})

    async def _read(self, wanted: set[str]) -> None:
        if "all" in wanted:
            await self._load()
        elif wanted - {_EVENTS}:
            changes = await self._store.changes(self._version, _MOST_CHANGES)
            if changes is None or self._checker.lists.changes > _OVERLAY:
                await self._load()
            else:
                self._apply(*changes)
        if _EVENTS in wanted:
            self._paused(await self._store.events(paused=True, limit=_MOST_PAUSES))
        self._set_busy()

    async def _load(self) -> None:
        self._checker.lists, self._version = await self._store.load()

    def _apply(self, barred: list[tuple[int, int, bool, bool]], opted: list[tuple[int, str, int, bool]], version: int) -> None:
        lists = self._checker.lists
        for customer, number, is_prefix, there in barred:
            lists.bar(customer, number, is_prefix, there)
        for customer, sender, number, out in opted:
            lists.opt(customer, sender, number, out)
        self._version = max(self._version, version)

    # --- keywords

    def heard(self, messages: Iterable[Mo]) -> None:
        """Messages from mobiles, after their commit."""
        rows = self._read_keywords((m.id, m.text) for m in messages)
        if rows:
            self._record(self._opt(rows))

    def _read_keywords(self, messages: Iterable[tuple[str, str | None]]) -> list[Row]:
        read = self._keywords.read
        return [{"m": id, "o": out} for id, text in messages if (out := read(text)) is not None]

    async def _opt(self, rows: list[Row]) -> None:
        await self._until_done(self._store.record_mobiles, rows, self._settings.opt_out_of == "sender")
        for row in rows:
            self.counts["stop" if row["o"] else "start"] += 1

    async def _catch_up(self) -> None:
        """What a process that ended had stored and not read. A message counts once."""
        after = "MO-" + ids.first_at(int((self._clock.seconds() - _LOOK_BACK) * 1000)).partition("-")[2]
        while True:
            page = await self._until_done(self._store.mobiles_since, after, _PAGE)
            rows = self._read_keywords(page)
            if rows:
                await self._until_done(self._store.record_mobiles, rows, self._settings.opt_out_of == "sender")
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    # --- velocity

    def _wanted(self, user_id: int) -> str:
        account = self._intake.accounts.get(user_id)
        own = account.velocity if account is not None else "node"
        return self._settings.velocity.mode if own == "node" else own

    def count(self, messages: list[Message]) -> None:
        """Messages that were accepted, a batch at a time."""
        excesses = self.velocity.count(messages, self._clock.seconds(), self._wanted)
        if not excesses:
            return
        found = [(e, self._wanted(e.user_id)) for e in excesses]
        for e, mode in found:
            self.counts[mode] += 1
            log.warn(
                "velocity guard: user {user} sent {n} messages to {target}{stars}, more than {most}: {what}",
                user=e.user_id, n=e.count, target=e.target, stars="" if e.target == e.region else "...", most=e.limit,
                what="paused" if mode == "pause" else "only told",
            )  # fmt: skip
        own = [Pause(0, e.user_id, e.kind, e.target) for e, mode in found if mode == "pause"]
        if own:
            self._own += own
            self._pause()
        self._record(self._tell(found, own))

    async def _tell(self, found: list[tuple[Excess, str]], own: list[Pause]) -> None:
        await self._until_done(self._store.found, found, self._node, self._settings.velocity.pause_minutes * 60.0)
        if own:
            self._paused(await self._until_done(lambda: self._store.events(paused=True, limit=_MOST_PAUSES)))
            self._own = [p for p in self._own if p not in own]
            self._pause()

    def _paused(self, events: Iterable[Event]) -> None:
        """These are in force; what was and is not any more was released."""
        known = {e.pause.pause_id: e.pause for e in events}
        now = self._clock.seconds()
        for number, p in self._known.items():
            if number not in known:
                self.velocity.released(p.user_id, p.kind, p.target, now)
        self._known = known
        self._pause()

    def _pause(self) -> None:
        self._checker.pause([*self._known.values(), *self._own])
        self._set_busy()

    @property
    def paused(self) -> int:
        return len(self._known) + len(self._own)

    # --- what must be done

    def _record(self, work: Any, *, once: bool = False) -> None:
        self._recording += 1

        def over(result: object) -> None:
            self._recording -= 1
            if not self._recording:
                waiting, self._idle = self._idle, []
                for d in waiting:
                    d.callback(None)

        d = Deferred.fromCoroutine(work)
        d.addErrback(lambda f: log.warn("guards: {why}", why=f.getErrorMessage()) if once else log.failure("guards", f))
        d.addBoth(over)

    def drained(self) -> Deferred[None]:
        d: Deferred[None] = Deferred()
        if self._recording:
            self._idle.append(d)
        else:
            d.callback(None)
        return d

    async def _until_done(self, f: Callable[..., Deferred[Any]], *arguments: Any) -> Any:
        n = 0
        while True:
            try:
                return await f(*arguments)
            except Exception as error:
                n += 1
                if n <= 3 or n % 30 == 0:
                    log.warn("guards, attempt {n}: {why}", n=n, why=str(error))
                over: Deferred[None] = Deferred()
                self._clock.callLater(_RETRY, over.callback, None)
                await over
