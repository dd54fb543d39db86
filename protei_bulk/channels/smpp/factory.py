"""All ESME connections of a node: limits, the session table, account changes, forced disconnects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from protei_bulk.access.peers import TlsPeer
from protei_bulk.channels.smpp.checks import Checks
from protei_bulk.channels.smpp.delivery import Delivery
from protei_bulk.channels.smpp.session import EsmeSession
from protei_bulk.channels.smpp.short_ids import ShortIds
from protei_bulk.channels.smpp.turns import Turns
from protei_bulk.intake.accept import Intake
from protei_bulk.intake.operations import Operations
from protei_bulk.model.account import Account
from protei_bulk.settings import Smpp
from protei_bulk.smpp import session as states
from protei_bulk.smpp.trace import Trace

log = Logger()

_NONE: Any = None
_REPORT_EVERY = 5  # seconds between updates of tbl_smpp_sessions


class Authenticates(Protocol):
    def authenticate_smpp(self, db: Any = None, *, system_id: str, password: str, bind_type: str, remote_ip: str,
                          remote_port: int, peer: TlsPeer) -> Deferred[Any]: ...  # fmt: skip


class SessionRows(Protocol):
    """tbl_smpp_sessions."""

    def closed_many(self, tokens: list[str]) -> Deferred[Any]: ...

    def update_activity(self, rows: list[tuple[str, float, int, int]]) -> Deferred[Any]: ...

    def ended_among(self, tokens: list[str]) -> Deferred[list[str]]: ...


class Traced(Protocol):
    """What operators look at."""

    def get(self, kind: str, name: str) -> Trace | None: ...

    def subscribe(self, fn: Callable[[], None]) -> None: ...


class _Nothing:
    def get(self, kind: str, name: str) -> Trace | None:
        return None

    def subscribe(self, fn: Callable[[], None]) -> None:
        pass


class SmppFactory(Factory):
    """Builds sessions and ticks them once a second."""

    noisy = False

    def __init__(self, settings: Smpp, reactor: Any, auth: Authenticates, intake: Intake, delivery: Delivery, rows: SessionRows,
                 traces: Traced | None = None) -> None:  # fmt: skip
        self.settings, self.reactor, self.auth, self.intake, self.delivery = settings, reactor, auth, intake, delivery
        self._rows = rows
        self.traces: Traced = traces or _Nothing()
        self.traces.subscribe(self._retrace)
        self.turns = Turns(reactor)
        self.checks = Checks()
        # Given by whoever puts the gateway together:
        self.operations: Operations = _NONE
        self.short_ids: ShortIds = _NONE
        self.shared_id: Callable[[], str] = _NONE  # an id for several messages
        self.load: Callable[[], int] = lambda: 0  # how busy the gateway is, 0 to 100
        self._sessions: set[EsmeSession] = set()
        self._unbound: dict[EsmeSession, None] = {}  # in the order in which they came
        self._by_user: dict[int, set[EsmeSession]] = {}
        self._ended: list[str] = []
        self._ending: Any = None
        self._ticks = 0
        self._timer: Any = None
        self.closing = False

    def buildProtocol(self, addr: IAddress | None) -> EsmeSession:  # type: ignore[override]  # noqa: N802
        return EsmeSession(self)

    def start(self) -> None:
        self._timer = self.reactor.callLater(1.0, self._tick)

    # --- sessions

    def admit(self, session: EsmeSession) -> bool:
        """Whether one more connection is taken."""
        if self.closing or (len(self._sessions) >= self.settings.max_sessions and not self._make_room()):
            return False
        self._sessions.add(session)
        self._unbound[session] = None
        return True

    def _make_room(self) -> bool:
        """Whoever has waited longest without a bind goes: connections that never bind keep no customer out."""
        for session in self._unbound:
            if not session.binding.checking:
                session.abort()
                self._drop(session)
                return True
        return False

    def _drop(self, session: EsmeSession) -> None:
        self._sessions.discard(session)
        self._unbound.pop(session, None)

    def may_bind(self, account: Account) -> bool:
        most = account.max_binds or self.settings.max_binds_per_user
        return not self.closing and (not most or len(self._by_user.get(account.user_id, ())) < most)

    def bound(self, session: EsmeSession) -> None:
        assert session.account is not None
        self._unbound.pop(session, None)
        self._by_user.setdefault(session.account.user_id, set()).add(session)

    def gone(self, session: EsmeSession) -> None:
        self._drop(session)
        if session.account is not None:
            known = self._by_user.get(session.account.user_id)
            if known is not None:
                known.discard(session)
                if not known:
                    del self._by_user[session.account.user_id]
        if session.token:
            self.forget_session(session.token)

    def forget_session(self, token: str) -> None:
        """The row of a session that is over: written at the end of the turn, for its account may bind again at once."""
        self._ended.append(token)
        if self._ending is None or not self._ending.active():
            self._ending = self.reactor.callLater(0, self._write_ended)

    def receivers(self) -> list[EsmeSession]:
        """Sessions that take what we send, in no order."""
        return [s for s in self._sessions if s.state in (states.BOUND_RX, states.BOUND_TRX)]

    def account_changed(self, account: Account | None, user_id: int) -> None:
        for session in list(self._by_user.get(user_id, ())):
            session.changed(account)

    def disconnect(self, token: str) -> None:
        """Somebody asked for the end of a session; other nodes hear of it too and do not know it.

        "": some requests may have been missed.
        """
        if not token:
            self._catch_up()
            return
        for session in self._sessions:
            if session.token == token:
                log.info("{who}: disconnected by request", who=session.system_id)
                session.close()
                return

    def _catch_up(self) -> None:
        tokens = [s.token for s in self._sessions if s.token]
        if not tokens:
            return

        def ended(found: list[str]) -> None:
            for token in found:
                self.disconnect(token)

        self._rows.ended_among(tokens).addCallbacks(ended, lambda f: log.warn("session rows: {why}", why=f.getErrorMessage()))

    def _retrace(self) -> None:
        """What operators look at has changed."""
        for session in self._sessions:
            session.trace = self.traces.get("USER", session.system_id) if session.system_id else None

    @property
    def count(self) -> int:
        return len(self._sessions)

    # --- time

    def _tick(self) -> None:
        self._timer = self.reactor.callLater(1.0, self._tick)
        self._ticks += 1
        now = self.reactor.seconds()
        for session in list(self._sessions):
            session.tick(now)
        self._write_ended()
        if self._ticks % _REPORT_EVERY == 0:
            rows = [(s.token, s.rate(_REPORT_EVERY), s.received, s.sent) for s in self._sessions if s.token]
            if rows:
                self._rows.update_activity(rows).addErrback(lambda f: log.warn("session rows: {why}", why=f.getErrorMessage()))

    def _write_ended(self) -> Deferred[Any] | None:
        if not self._ended:
            return None
        ended, self._ended = self._ended, []
        d = self._rows.closed_many(ended)

        def failed(f: Any) -> None:
            log.warn("session rows: {why}", why=f.getErrorMessage())
            self._ended += ended

        return d.addErrback(failed)

    def close(self) -> None:
        """No more binds; every session is told to go."""
        self.closing = True
        for session in list(self._sessions):
            session.close()

    def stop(self) -> Deferred[Any] | None:
        """After the last session has gone."""
        for timer in (self._timer, self._ending):
            if timer is not None and timer.active():
                timer.cancel()
        return self._write_ended()
