"""deliver_sm towards ESMEs: receipts and messages from mobiles, spread over an account's receiving binds, kept while it is away.

What is in the outbox is held by one node at a time: an ESME bound to two nodes is told once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.channels.smpp.mo import forwards_of
from protei_bulk.receipts.outcomes import Forward
from protei_bulk.text.forms import UDH, Style

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.session import EsmeSession

log = Logger()

_FETCH = 500
_MOST_WAITING = 20_000  # of one account in memory; more goes to the outbox
_SETTLE_EVERY = 0.5
_LOOK_EVERY = 5.0
_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # after an ESME has said "later" to what is in the outbox
#: what an ESME answers when it wants the receipt again later: RMSGQFUL, RTHROTTLED, RX_T_APPN, RSYSERR
_LATER = frozenset({0x14, 0x58, 0x64, 0x08})


class Store(Protocol):
    def forwarded(self, journal_ids: list[int]) -> Deferred[int]: ...

    def keep(self, rows: list[dict[str, Any]]) -> Deferred[int]: ...

    def outbox(self, user_id: int, most: int) -> Deferred[list[Any]]: ...

    def release(self, outbox_ids: list[int]) -> Deferred[int]: ...

    def release_others(self, user_id: int, outbox_ids: list[int]) -> Deferred[int]: ...

    def delivered(self, outbox_ids: list[int]) -> Deferred[int]: ...

    def told(self, rows: list[dict[str, int]]) -> Deferred[Any]: ...

    def waiting_users(self, user_ids: list[int]) -> Deferred[list[int]]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class _User:
    def __init__(self, user_id: int) -> None:
        self.id = user_id
        self.sessions: list[EsmeSession] = []
        self.waiting: deque[Forward] = deque()
        self.again: list[Forward] = []  # goes before `waiting` after the pause
        self.paused = False
        self.pause = 0.0
        self.feeding = False  # the outbox may hold more
        self.fetching = False
        self.woken = False  # something was stored during a fetch
        self.unsure = False  # the answer to a fetch was lost: its rows may be held
        self.from_outbox: set[int] = set()


class Delivery:
    """Knows who can be reached, and settles what was acknowledged twice a second in one statement."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._users: dict[int, _User] = {}
        self._done_journal: list[int] = []
        self._done_outbox: list[int] = []
        self._told: list[dict[str, int]] = []  # messages from mobiles: {o outbox_id, s command_status}
        self._answered: set[int] = set()  # rows of the outbox that are answered and not deleted yet
        self._timers: dict[str, Any] = {}
        self._releasing: set[Deferred[Any]] = set()
        self.absent: Callable[[list[int]], None] = lambda users: None  # told of what is in the outbox for users who are not bound here
        self.delivered = 0
        self.mo_delivered = 0

    def start(self) -> None:
        self._timers["settle"] = self._clock.callLater(_SETTLE_EVERY, self._settle)
        self._timers["look"] = self._clock.callLater(_LOOK_EVERY, self._look)

    def stop(self) -> Deferred[Any]:
        """Settles for the last time."""
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        for user in list(self._users.values()):
            self._set_aside(user)
        return DeferredList([self._write_settled(), *self._releasing])

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

    def ready(self, user_id: int) -> None:
        """A session of this account takes octets again."""
        user = self._users.get(user_id)
        if user is not None:
            self._pump(user)

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

    def wake(self, user_ids: Iterable[int]) -> None:
        """These have something new in the outbox."""
        absent = []
        for user_id in user_ids:
            user = self._users.get(user_id)
            if user is None or not user.sessions:
                absent.append(user_id)
                continue
            if user.feeding:
                user.woken = True
            else:
                self._feed(user)
        if absent:
            self.absent(absent)

    def heard(self, user_ids: Iterable[int]) -> None:
        """Another node says that these have something new in the outbox."""
        self.wake([u for u in user_ids if u in self._users])

    def settle(self, journal_id: int) -> None:
        """A journal row that holds no receipt goes with the next statement."""
        self._done_journal.append(journal_id)

    def _pump(self, user: _User) -> None:
        waiting = user.waiting
        while waiting and not user.paused:
            free = [s for s in user.sessions if s.deliver_room > 0]
            if not free:
                return
            share = -(-len(waiting) // len(free))
            for session in free:
                most = min(session.deliver_room, share, len(waiting))
                if most:
                    going = [waiting.popleft() for _ in range(most)]
                    while waiting and waiting[0].mo is not None and waiting[0].mo.number > 1:
                        going.append(waiting.popleft())  # the parts of one message go by one bind
                    session.deliver(going)
        if user.feeding and len(user.from_outbox) < _FETCH // 2:
            self._fetch(user)

    def acknowledged(self, user_id: int, answers: list[tuple[Forward, int]]) -> None:
        """deliver_sm_resp came: (receipt or part of a message, command_status)."""
        user = self._users.get(user_id)
        for f, status in answers:
            if status in _LATER:
                if f.outbox_id:
                    self._later(user, f)
                else:
                    self._keep([f])
                continue
            if status:
                log.info("{id} refused by its ESME with status {s}", id=f.message.id, s=status)
            if user is not None:
                user.pause = 0.0
            if f.mo is None:
                self.delivered += 1
                self._settled(f)
            elif not self._part_answered(f, status):
                continue
            if user is not None:
                user.from_outbox.discard(f.outbox_id)
        if user is not None:
            self._pump(user)

    def _part_answered(self, f: Forward, status: int) -> bool:
        """Whether it was the last part of its message."""
        whole = f.mo.whole
        whole.left -= 1
        whole.status = status or whole.status
        if whole.left:
            return False
        self.mo_delivered += 1
        self._told.append({"o": f.outbox_id, "s": whole.status})
        self._answered.add(f.outbox_id)
        return True

    def _later(self, user: _User | None, f: Forward) -> None:
        """In its old place, after a pause that grows while the ESME has no room."""
        if user is None:
            self._release({f.outbox_id})
            return
        user.again.append(f)
        if not user.paused:
            user.paused = True
            user.pause = min(_LONGEST_PAUSE, max(_PAUSE, user.pause * 2))
            self._clock.callLater(user.pause, self._resume, user)

    def _resume(self, user: _User) -> None:
        user.paused = False
        self._put_back(user)
        if user.sessions:
            self._pump(user)

    @staticmethod
    def _put_back(user: _User) -> None:
        again, user.again = user.again, []
        again.sort(key=lambda f: (f.outbox_id, f.mo.number if f.mo is not None else 0))
        user.waiting.extendleft(reversed(again))

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
        self._put_back(user)
        waiting = list(user.waiting)
        user.waiting.clear()
        self._keep([f for f in waiting if not f.outbox_id])  # the others are in the outbox already
        held, user.from_outbox = user.from_outbox, set()
        self._release(held)

    def _release(self, outbox_ids: set[int]) -> None:
        """Whoever has a bind of this ESME may take them."""
        ids = [i for i in outbox_ids if i not in self._answered]
        if not ids:
            return
        d = self._store.release(ids)
        self._releasing.add(d)
        # Where it fails, they are free once this node starts again, or has been silent for a while.
        d.addErrback(lambda f: log.warn("releasing {n} rows of the outbox: {why}", n=len(ids), why=f.getErrorMessage()))
        d.addBoth(lambda _: self._releasing.discard(d))

    def _keep(self, forwards: list[Forward]) -> None:
        fresh = [f for f in forwards if not f.outbox_id]
        if not fresh:
            return
        rows = [{"u": f.message.user_id, "i": f.message.id, "s": f.stat, "e": f.err} for f in fresh]
        for f, row in zip(fresh, rows, strict=True):
            if f.payload is not None:
                row["p"] = f.payload

        def kept(_: object) -> None:
            for f in fresh:
                self._settled(f)
            self.absent(list({f.message.user_id for f in fresh}))

        def failed(failure: Failure) -> None:
            # Their journal rows stay: a restart finds them there. Try once more meanwhile.
            log.warn("keeping {n} receipts: {why}", n=len(fresh), why=failure.getErrorMessage())
            self._clock.callLater(1.0, self._keep, fresh)

        self._store.keep(rows).addCallbacks(kept, failed)

    def _feed(self, user: _User) -> None:
        if not user.feeding:
            user.feeding = True
            self._fetch(user)

    def _fetch(self, user: _User) -> None:
        if user.fetching:
            return
        user.fetching = True
        if user.unsure:
            mine = [*user.from_outbox, *self._answered]
            d = self._store.release_others(user.id, mine).addCallback(lambda _: self._store.outbox(user.id, _FETCH))
        else:
            d = self._store.outbox(user.id, _FETCH)

        def got(rows: list[Any]) -> None:
            user.fetching = user.unsure = False
            if not user.sessions:
                user.feeding = user.woken = False
                self._release({r[0] for r in rows})
                return
            for row in rows:
                self._take(user, *row)
            if len(rows) < _FETCH:
                user.feeding, user.woken = user.woken, False
            self._pump(user)

        def failed(failure: Failure) -> None:
            user.fetching = user.feeding = user.woken = False  # the look every few seconds begins again
            user.unsure = True
            log.warn("reading the outbox of user {u}: {why}", u=user.id, why=failure.getErrorMessage())

        d.addCallbacks(got, failed).addErrback(lambda f: log.failure("feeding an ESME", f))

    def _take(self, user: _User, outbox_id: int, kind: str, stat: str, err: str, message: Any, payload: Any, created: float,
              id: str) -> None:  # fmt: skip
        if outbox_id in user.from_outbox or outbox_id in self._answered:
            return
        if kind == "MO":
            user.waiting.extend(forwards_of(outbox_id, user.id, id, payload, created, self._style(user)))
        elif message is None:
            self._done_outbox.append(outbox_id)  # its partition is gone: nothing is left to tell
            return
        else:
            f = Forward(message, stat, err, created)
            f.outbox_id, f.payload = outbox_id, payload
            user.waiting.append(f)
        user.from_outbox.add(outbox_id)

    @staticmethod
    def _style(user: _User) -> Style:
        """For all its binds: where one of them speaks 3.3, there are no TLVs."""
        account = user.sessions[0].account
        if account is None:
            return Style(long=UDH)
        return Style(account.smpp_alphabet, long=account.mo_form if all(s.tlvs for s in user.sessions) else UDH)

    def _look(self) -> None:
        """What came into the outbox by another node, or while an account was binding."""
        self._timers["look"] = self._clock.callLater(_LOOK_EVERY, self._look)
        idle = [u.id for u in self._users.values() if u.sessions and not u.feeding]
        if not idle:
            return
        d = self._store.waiting_users(idle)
        d.addCallbacks(self.wake, lambda f: log.warn("looking into the outbox: {why}", why=f.getErrorMessage()))

    def _settle(self) -> None:
        self._timers["settle"] = self._clock.callLater(_SETTLE_EVERY, self._settle)
        self._write_settled()

    def _write_settled(self) -> Deferred[None]:
        journal, self._done_journal = self._done_journal, []
        outbox, self._done_outbox = self._done_outbox, []
        told, self._told = self._told, []
        done: Deferred[Any] = Deferred()
        done.callback(None)
        if journal:
            done.addCallback(lambda _: self._store.forwarded(journal))
        if outbox:
            done.addCallback(lambda _: self._store.delivered(outbox))
            done.addCallback(lambda _: self._answered.difference_update(outbox))
        if told:
            done.addCallback(lambda _: self._store.told(told))
            done.addCallback(lambda _: self._answered.difference_update([row["o"] for row in told]))

        def failed(failure: Failure) -> None:
            log.warn("settling receipts: {why}", why=failure.getErrorMessage())
            self._done_journal += journal
            self._done_outbox += outbox
            self._told += told

        return done.addErrback(failed).addCallback(lambda _: None)
