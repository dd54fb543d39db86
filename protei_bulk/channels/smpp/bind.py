"""How an ESME's connection becomes a session: the bind, checked and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.channels.tls import peer_of
from protei_bulk.smpp import commands, fast, statuses, tags
from protei_bulk.smpp import session as states
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.errors import RejectPdu

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.session import EsmeSession

log = Logger()

KINDS = {commands.BIND_TRANSMITTER: "TRANSMITTER", commands.BIND_RECEIVER: "RECEIVER", commands.BIND_TRANSCEIVER: "TRANSCEIVER"}
_BOUND_AS = {"TRANSMITTER": states.BOUND_TX, "RECEIVER": states.BOUND_RX, "TRANSCEIVER": states.BOUND_TRX}
_REFUSED = {
    "INVALID_CREDENTIALS": statuses.ESME_RINVPASWD,
    "NOT_PERMITTED": statuses.ESME_RBINDFAIL,
    "IP_NOT_ALLOWED": statuses.ESME_RBINDFAIL,
    "SUSPENDED": statuses.ESME_RBINDFAIL,
    "TOO_MANY_ATTEMPTS": statuses.ESME_RBINDFAIL,
    "BUSY": statuses.ESME_RSYSERR,  # not checked: try again
}
_CLOSE_AFTER_REFUSAL = 1.0  # seconds in which the ESME can read why


def negotiated(interface_version: int) -> int:
    """What is spoken with a peer that names this version: 0x33, 0x34 or 0x50."""
    if interface_version < 0x34:
        return 0x33
    return 0x34 if interface_version < 0x50 else 0x50


class Binding:
    """The bind of one session, from its request to its answer."""

    def __init__(self, session: EsmeSession) -> None:
        self._session = session
        self.checking = False

    def begin(self, command: int, sequence: int, frame: bytes) -> None:
        """A bind_* request came; `frame` is the whole PDU."""
        s = self._session
        length = len(frame).to_bytes(4, "big")
        try:
            fields = decode(length + frame[4:]).fields
        except RejectPdu as error:
            self._refuse(command, sequence, error.status)
            return
        self.checking = True
        s.kind = KINDS[command]
        s.system_id = fields["system_id"]
        s.version = negotiated(fields["interface_version"])
        s.tlvs = s.version >= 0x34
        s.peer = peer_of(s.transport)
        s.trace = s.factory.traces.get("USER", s.system_id)
        if s.trace is not None:
            s.trace.read(frame, [(command, 0, sequence, 16, len(frame))], s.peer_name)
        s.factory.checks.add(lambda: self._check(command, sequence, fields["password"]))

    def _check(self, command: int, sequence: int, password: str) -> Deferred[None] | None:
        s = self._session
        if s.state != states.OPEN:
            return None  # it has gone meanwhile
        d: Deferred[Any] = s.factory.auth.authenticate_smpp(
            system_id=s.system_id, password=password, bind_type=s.kind, remote_ip=s.remote[0], remote_port=s.remote[1], peer=s.peer
        )
        d.addCallbacks(self._checked, self._not_checked, (command, sequence), {}, (command, sequence))
        return d.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        log.failure("binding {who}", failure, who=self._session.system_id)
        self._session.abort()

    def _not_checked(self, failure: Failure, command: int, sequence: int) -> None:
        log.warn("bind of {who} not checked: {why}", who=self._session.system_id, why=failure.getErrorMessage())
        self._refuse(command, sequence, statuses.ESME_RSYSERR)

    def _checked(self, result: Any, command: int, sequence: int) -> None:
        s = self._session
        self.checking = False
        if s.state != states.OPEN:
            if result.success:
                s.factory.forget_session(result.token)
            return
        if not result.success:
            self._refuse(command, sequence, _REFUSED.get(result.code, statuses.ESME_RBINDFAIL))
            return
        account = result.user
        if not s.factory.may_bind(account):
            s.factory.forget_session(result.token)
            self._refuse(command, sequence, statuses.ESME_RBINDFAIL)
            return
        s.bound(account, result.token, _BOUND_AS[s.kind])
        version = {tags.SC_INTERFACE_VERSION: bytes((s.version,))} if s.tlvs else {}
        s.send(encode(Pdu(command | commands.RESP, 0, sequence, {"system_id": s.factory.settings.system_id}, version)))
        s.factory.bound(s)
        if s.kind != "TRANSMITTER":
            s.factory.delivery.add(s, account.user_id)

    def _refuse(self, command: int, sequence: int, status: int) -> None:
        s = self._session
        self.checking = False
        if s.state != states.OPEN:
            return
        s.send(fast.header(command | commands.RESP, status, sequence))
        s.end(_CLOSE_AFTER_REFUSAL)
