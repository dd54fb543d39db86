"""deliver_sm towards ESMEs: receipts spread over an account's receiving binds, kept while it is away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.receipts.outcomes import Forward

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.session import EsmeSession

log = Logger()

_FETCH = 500
_MOST_WAITING = 20_000  # of one account in memory; more goes to the outbox
_SETTLE_EVERY = 0.5
_LOOK_EVERY = 5.0
#: what an ESME answers when it wants the receipt again later: RMSGQFUL, RTHROTTLED, RX_T_APPN, RSYSERR
_LATER = frozenset({0x14, 0x58, 0x64, 0x08})


class Store(Protocol):
    def forwarded(self, journal_ids: list[int]) -> Deferred[int]: ...

    def keep(self, rows: list[dict[str, Any]]) -> Deferred[int]: ...

    def outbox(self, user_id: int, after: int, most: int) -> Deferred[list[Any]]: ...

    def delivered(self, outbox_ids: list[int]) -> Deferred[int]: ...

    def waiting_users(self, user_ids: list[int]) -> Deferred[list[int]]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class _User:
    def __init__(self, user_id: int) -> None:
        self.id = user_id
        self.sessions: list[EsmeSession] = []
        self.waiting: deque[Forward] = deque()
        self.feeding = False  # the outbox may hold more
        self.fetching = False
        self.after = 0
        self.from_outbox: set[int] = set()


class Delivery:
    """Knows who can be reached, and settles what was acknowledged twice a second in one statement."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._users: dict[int, _User] = {}
        self._done_journal: list[int] = []
        self._done_outbox: list[int] = []
        self._answered: set[int] = set()  # outbox rows that a page may still show: not deleted, or just now
        self._deleted: list[int] = []  # by the last statement that deleted any
        self._timers: dict[str, Any] = {}
        self.delivered = 0

    def start(self) -> None:
        self._timers["settle"] = self._clock.callLater(_SETTLE_EVERY, self._settle)
        self._timers["look"] = self._clock.callLater(_LOOK_EVERY, self._look)

    def stop(self) -> Deferred[None]:
        """Settles for the last time."""
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        for user in list(self._users.values()):
            self._set_aside(user)
        return self._write_settled()

    # --- who is there

    def reachable(self, user_id: int) -> bool:
        user = self._users.get(user_id)
        return user is not None and bool(user.sessions) and len(user.waiting) < _MOST_WAITING

    def add(self, session: EsmeSession, user_id: int) -> None:
        """A receiver or transceiver is bound."""
        user = self._users.setdefault(user_id, _User(user_id))
        user.sessions.append(session)
        self._pump(user)
        self._feed(user)

    def remove(self, session: EsmeSession, user_id: int, unanswered: list[Forward]) -> None:
        user = self._users.get(user_id)
        if user is None or session not in user.sessions:
            return
        user.sessions.remove(session)
        user.waiting.extendleft(reversed(unanswered))
        if user.sessions:
            self._pump(user)
        else:
            self._set_aside(user)
            del self._users[user_id]

    # --- what to send

    def forward(self, receipts: list[Forward]) -> None:
        touched: dict[int, _User] = {}
        for f in receipts:
            user_id = f.message.user_id
            user = touched.get(user_id)
            if user is None:
                user = touched[user_id] = self._users.get(user_id) or _User(user_id)
            user.waiting.append(f)
        for user in touched.values():
            if user.sessions:
                self._pump(user)
            else:
                self._set_aside(user)

    def settle(self, journal_id: int) -> None:
        """A journal row that holds no receipt goes with the next statement."""
        self._done_journal.append(journal_id)

    def _pump(self, user: _User) -> None:
        waiting = user.waiting
        while waiting:
            free = [s for s in user.sessions if s.deliver_room > 0]
            if not free:
                return
            share = -(-len(waiting) // len(free))
            for session in free:
                most = min(session.deliver_room, share, len(waiting))
                if most:
                    session.deliver([waiting.popleft() for _ in range(most)])
        if user.feeding and len(user.from_outbox) < _FETCH // 2:
            self._fetch(user)

    def acknowledged(self, user_id: int, answers: list[tuple[Forward, int]]) -> None:
        """deliver_sm_resp came: (receipt, command_status)."""
        user = self._users.get(user_id)
        for f, status in answers:
            if status in _LATER:
                self._keep([f])
            else:
                if status:
                    log.info("receipt of {id} refused by its ESME with status {s}", id=f.message.id, s=status)
                self._settled(f)
            if user is not None:
                user.from_outbox.discard(f.outbox_id)
        self.delivered += len(answers)
        if user is not None:
            self._pump(user)

    # --- the outbox

    def _settled(self, f: Forward) -> None:
        entry = f.journal
        if entry is not None:
            entry.left -= 1
            if entry.left == 0:
                self._done_journal.append(entry.id)
        if f.outbox_id:
            self._done_outbox.append(f.outbox_id)
            self._answered.add(f.outbox_id)

    def _set_aside(self, user: _User) -> None:
        waiting = list(user.waiting)
        user.waiting.clear()
        self._keep([f for f in waiting if not f.outbox_id])  # the others are in the outbox already

    def _keep(self, forwards: list[Forward]) -> None:
        fresh = [f for f in forwards if not f.outbox_id]
        if not fresh:
            return
        rows = [{"u": f.message.user_id, "i": f.message.id, "s": f.stat, "e": f.err} for f in fresh]

        def kept(_: object) -> None:
            for f in fresh:
                self._settled(f)

        def failed(failure: Failure) -> None:
            # Their journal rows stay: a restart finds them there. Try once more meanwhile.
            log.warn("keeping {n} receipts: {why}", n=len(fresh), why=failure.getErrorMessage())
            self._clock.callLater(1.0, self._keep, fresh)

        self._store.keep(rows).addCallbacks(kept, failed)

    def _feed(self, user: _User) -> None:
        if not user.feeding:
            user.feeding = True
            user.after = 0
            self._fetch(user)

    def _fetch(self, user: _User) -> None:
        if user.fetching:
            return
        user.fetching = True

        def got(rows: list[Any]) -> None:
            user.fetching = False
            for outbox_id, _kind, stat, err, message, payload, created in rows:
                user.after = outbox_id
                if outbox_id in user.from_outbox or outbox_id in self._answered:
                    continue
                if message is None:
                    self._done_outbox.append(outbox_id)  # its partition is gone: nothing is left to tell
                    continue
                f = Forward(message, stat, err, created)
                f.outbox_id, f.payload = outbox_id, payload
                user.from_outbox.add(outbox_id)
                user.waiting.append(f)
            if len(rows) < _FETCH:
                user.feeding = False
            self._pump(user)

        def failed(failure: Failure) -> None:
            user.fetching = False
            user.feeding = False  # the look every few seconds begins again
            log.warn("reading the outbox of user {u}: {why}", u=user.id, why=failure.getErrorMessage())

        self._store.outbox(user.id, user.after, _FETCH).addCallbacks(got, failed).addErrback(lambda f: log.failure("feeding an ESME", f))

    def _look(self) -> None:
        """What came into the outbox while an account was binding."""
        self._timers["look"] = self._clock.callLater(_LOOK_EVERY, self._look)
        idle = [u.id for u in self._users.values() if u.sessions and not u.feeding and not u.from_outbox]
        if not idle:
            return

        def found(ids: list[int]) -> None:
            for user_id in ids:
                user = self._users.get(user_id)
                if user is not None:
                    self._feed(user)

        d = self._store.waiting_users(idle)
        d.addCallbacks(found, lambda f: log.warn("looking into the outbox: {why}", why=f.getErrorMessage()))

    def _settle(self) -> None:
        self._timers["settle"] = self._clock.callLater(_SETTLE_EVERY, self._settle)
        self._write_settled()

    def _write_settled(self) -> Deferred[None]:
        journal, self._done_journal = self._done_journal, []
        outbox, self._done_outbox = self._done_outbox, []
        done: Deferred[Any] = Deferred()
        done.callback(None)

        def gone(_: object) -> None:
            self._answered.difference_update(self._deleted)
            self._deleted = outbox

        if journal:
            done.addCallback(lambda _: self._store.forwarded(journal))
        if outbox:
            done.addCallback(lambda _: self._store.delivered(outbox)).addCallback(gone)

        def failed(failure: Failure) -> None:
            log.warn("settling receipts: {why}", why=failure.getErrorMessage())
            self._done_journal += journal
            self._done_outbox += outbox

        return done.addErrback(failed).addCallback(lambda _: None)


