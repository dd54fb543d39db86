"""One ESME's connection: SMPP server side."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.channels.smpp.delivery import first_words
from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.pacing.buckets import TokenBucket
from protei_bulk.receipts.outcomes import Forward
from protei_bulk.smpp import commands, fast, statuses, tags
from protei_bulk.smpp import session as states
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.smpp.framer import Framer
from protei_bulk.smpp.timers import Action, SessionTimers
from protei_bulk.smpp.window import Window
from protei_bulk.text.receipt import format_receipt

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.factory import SmppFactory

log = Logger()

_KINDS = {commands.BIND_TRANSMITTER: "TRANSMITTER", commands.BIND_RECEIVER: "RECEIVER", commands.BIND_TRANSCEIVER: "TRANSCEIVER"}
_BOUND_AS = {"TRANSMITTER": states.BOUND_TX, "RECEIVER": states.BOUND_RX, "TRANSCEIVER": states.BOUND_TRX}
_REFUSED = {
    "INVALID_CREDENTIALS": statuses.ESME_RINVPASWD,
    "NOT_PERMITTED": statuses.ESME_RBINDFAIL,
    "IP_NOT_ALLOWED": statuses.ESME_RBINDFAIL,
    "SUSPENDED": statuses.ESME_RBINDFAIL,
    "TOO_MANY_ATTEMPTS": statuses.ESME_RBINDFAIL,
}
#: message_state TLV (SMPP 3.4 section 5.2.28)
_STATES = {"ENROUTE": 1, "DELIVRD": 2, "EXPIRED": 3, "DELETED": 4, "UNDELIV": 5, "ACCEPTD": 6, "UNKNOWN": 7, "REJECTD": 8, "SKIPPED": 9}
_TLV = Struct(">HH")
_STATE_TLV = {name: _TLV.pack(tags.MESSAGE_STATE, 1) + bytes((n,)) for name, n in _STATES.items()}
_RECEIPT, _INTERMEDIATE = 0x04, 0x20
_CLOSE_AFTER_REFUSAL = 1.0  # seconds in which the ESME can read why


class EsmeSession(Protocol):
    """Answers PDUs; hands messages to the intake; sends receipts."""

    def __init__(self, factory: SmppFactory) -> None:
        self.factory: SmppFactory = factory
        s = factory.settings
        self._framer = Framer()
        self._state = states.OPEN
        self._authenticating = False
        self._out: list[bytes] = []
        self._reading = False
        self._paused = False
        self._held = b""  # read, and waiting for its turn
        self._unanswered = 0
        self._sequence = 0x70000000  # of enquire_link and unbind: a generic_nack for one is not taken for a deliver_sm's
        self._tlvs = True  # the peer speaks 3.4 or later
        self._deliveries: Window[Forward] = Window(s.deliver_window)
        self._delivered: list[tuple[Forward, int]] = []
        self._bucket = TokenBucket(0)
        self.account: Account | None = None
        self.token = ""
        self.kind = ""
        self.system_id = ""
        self.sent = self.received = self._sent_before = 0
        self.remote = ("", 0)
        now = factory.reactor.seconds()
        self._timers = SessionTimers(s.enquire_link_interval, s.response_timeout, s.inactivity_timeout, s.bind_timeout, now)

    # --- connection

    def connectionMade(self) -> None:  # noqa: N802
        peer = self.transport.getPeer()  # type: ignore[union-attr]
        self.remote = (getattr(peer, "host", ""), getattr(peer, "port", 0))
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        if not self.factory.admit(self):
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        bound = self._state in (states.BOUND_TX, states.BOUND_RX, states.BOUND_TRX)
        self._state = states.CLOSED
        if self.account is not None and bound and self.kind != "TRANSMITTER":
            self.factory.delivery.remove(self, self.account.user_id, self._deliveries.clear())
        self.factory.gone(self)

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Ends the session: unbind, then the connection."""
        if self._state == states.CLOSED:
            return
        if self.token:
            self._send(fast.header(commands.UNBIND, 0, self._next()))
        self._flush()
        self._leave()
        self._lose_when_answered()
        self.factory.reactor.callLater(5.0, self._abort_if_open)

    def _lose_when_answered(self) -> None:
        """An ESME whose stored messages stay without an answer sends them again: they are waited for."""
        if not self._unanswered:
            self.transport.loseConnection()  # type: ignore[union-attr]

    def _abort_if_open(self) -> None:
        if self._state != states.CLOSED:
            self._abort()

    def _next(self) -> int:
        self._sequence = self._sequence + 1 if self._sequence < 0x7FFFFFFF else 0x70000000
        return self._sequence

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        if not self._reading:
            self._flush()

    def _flush(self) -> None:
        if self._out and self.transport is not None:
            self.transport.write(b"".join(self._out))
            self._out.clear()

    # --- in

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self._state == states.CLOSED or self._framer.corrupt is not None:
            return
        if not self._held and self.factory.turns.begin(self):
            self._received(data)
            return
        if not self._held:
            self.transport.pauseProducing()  # type: ignore[union-attr]
        self._held += data

    def serve(self) -> None:
        """The turn of what was read earlier."""
        data, self._held = self._held, b""
        if self._state == states.CLOSED:
            return
        self._received(data)
        if not self._paused and self.transport is not None and self._state != states.CLOSED:
            self.transport.resumeProducing()  # type: ignore[attr-defined]

    def _received(self, data: bytes) -> None:
        now = self.factory.reactor.seconds()
        self._timers.seen(now)
        buf, frames = self._framer.feed(data)
        if any(f[0] & ~commands.RESP != commands.ENQUIRE_LINK for f in frames):
            self._timers.worked(now)
        self._reading = True
        try:
            for command, status, sequence, start, end in frames:
                if command == commands.SUBMIT_SM and self._state in (states.BOUND_TX, states.BOUND_TRX):
                    self._submit(sequence, buf, start, end, now)
                elif command == commands.DELIVER_SM | commands.RESP:
                    forward = self._deliveries.pop(sequence)
                    if forward is not None:
                        self._delivered.append((forward, status))
                else:
                    self._other(command, status, sequence, buf, start, end)
                    if self._state in (states.CLOSED, states.UNBOUND):
                        break
        except Exception:
            log.failure("a PDU of {peer}", peer=self.remote[0])
            self._flush()
            self._abort()
        finally:
            self._reading = False
        if self._delivered and self.account is not None:
            answers, self._delivered = self._delivered, []
            self.factory.delivery.acknowledged(self.account.user_id, answers)
        if self._framer.corrupt is not None and self._state != states.CLOSED:
            self._out.append(fast.header(commands.GENERIC_NACK, statuses.ESME_RINVCMDLEN, 0))
            self._flush()
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        self._flush()
        if self._unanswered > self.factory.settings.window and not self._paused:
            self._paused = True  # reads no more until the database has caught up with this ESME
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def _submit(self, sequence: int, buf: bytes, start: int, end: int, now: float) -> None:
        account = self.account
        assert account is not None
        try:
            m = message_of(fast.decode_sm(buf, start, end), now)
        except RejectPdu as error:
            self._out.append(fast.header(commands.SUBMIT_SM | commands.RESP, error.status, sequence))
            return
        if account.max_tps and self._bucket.take(m.segments, now) > 0:
            self._out.append(fast.header(commands.SUBMIT_SM | commands.RESP, statuses.ESME_RTHROTTLED, sequence))
            return
        m.origin = self
        m.sequence = sequence
        self._unanswered += 1
        self.factory.intake.submit(account, m)

    def answered(self, messages: list[Message]) -> None:
        """The intake has stored or refused these."""
        self._unanswered -= len(messages)
        if self._state == states.CLOSED:
            return
        out = self._out
        resp = fast.submit_resp
        stored = 0
        for m in messages:
            if m.refusal is None:
                stored += 1
                out.append(resp(m.sequence, m.id))
            else:
                out.append(fast.header(commands.SUBMIT_SM | commands.RESP, m.refusal.smpp_status, m.sequence))
        self.received += stored
        if not self._reading:
            self._flush()
        if self._state == states.UNBOUND and not self._unanswered:
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        if self._paused and self._unanswered <= self.factory.settings.window // 2:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def _other(self, command: int, status: int, sequence: int, buf: bytes, start: int, end: int) -> None:
        if command == commands.ENQUIRE_LINK:
            self._out.append(fast.header(commands.ENQUIRE_LINK | commands.RESP, 0, sequence))
            return
        if command == commands.GENERIC_NACK:
            nacked = self._deliveries.pop(sequence)  # else it would come again with every bind
            if nacked is not None:
                self._delivered.append((nacked, status))
            return
        if command & commands.RESP:
            return  # answers to our enquire_link and unbind, or to what we never asked
        if self._state == states.UNBOUND and command != commands.UNBIND:
            return  # we have said good-bye: without an answer an ESME keeps its message, an error might end it
        wrong = states.check(states.SERVER, self._state, command)
        if wrong == statuses.ESME_RINVCMDID:
            self._out.append(fast.header(commands.GENERIC_NACK, wrong, sequence))
        elif wrong or (self._authenticating and command != commands.UNBIND):
            self._out.append(fast.header(command | commands.RESP, wrong or statuses.ESME_RINVBNDSTS, sequence))
            if self._state == states.OPEN and not self._authenticating:
                self._flush()
                self.transport.loseConnection()  # type: ignore[union-attr]
        elif command in _KINDS:
            self._bind(command, sequence, fast.header(command, status, sequence) + buf[start:end])
        elif command == commands.UNBIND:
            self._out.append(fast.header(commands.UNBIND | commands.RESP, 0, sequence))
            self._flush()
            self._leave()
            self._lose_when_answered()
            self.factory.reactor.callLater(5.0, self._abort_if_open)
        else:
            self._out.append(fast.header(command | commands.RESP, statuses.ESME_RINVCMDID, sequence))

    def _leave(self) -> None:
        if self.account is not None and self.kind != "TRANSMITTER" and self._state in (states.BOUND_RX, states.BOUND_TRX):
            self._state = states.UNBOUND
            self.factory.delivery.remove(self, self.account.user_id, self._deliveries.clear())
        self._state = states.UNBOUND

    # --- bind

    def _bind(self, command: int, sequence: int, frame: bytes) -> None:
        length = len(frame).to_bytes(4, "big")
        try:
            fields = decode(length + frame[4:]).fields
        except RejectPdu as error:
            self._out.append(fast.header(command | commands.RESP, error.status, sequence))
            return
        self._authenticating = True
        self.kind = _KINDS[command]
        self.system_id = fields["system_id"]
        self._tlvs = fields["interface_version"] >= 0x34
        d = self.factory.auth.authenticate_smpp(
            system_id=self.system_id, password=fields["password"], bind_type=self.kind, remote_ip=self.remote[0], remote_port=self.remote[1]
        )
        d.addCallbacks(self._authenticated, self._not_checked, (command, sequence), {}, (command, sequence))
        d.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        log.failure("binding {who}", failure, who=self.system_id)
        self._abort()

    def _not_checked(self, failure: Failure, command: int, sequence: int) -> None:
        log.warn("bind of {who} not checked: {why}", who=self.system_id, why=failure.getErrorMessage())
        self._refuse_bind(command, sequence, statuses.ESME_RSYSERR)

    def _authenticated(self, result: Any, command: int, sequence: int) -> None:
        self._authenticating = False
        if self._state != states.OPEN:
            if result.success:
                self.factory.forget_session(result.token)
            return
        if not result.success:
            self._refuse_bind(command, sequence, _REFUSED.get(result.code, statuses.ESME_RBINDFAIL))
            return
        account = result.user
        if not self.factory.may_bind(account):
            self.factory.forget_session(result.token)
            self._refuse_bind(command, sequence, statuses.ESME_RBINDFAIL)
            return
        self.token = result.token
        self.account = account
        self._state = _BOUND_AS[self.kind]
        self._bucket = TokenBucket(account.max_tps, account.max_tps)
        self._timers.bound(self.factory.reactor.seconds())
        body = {"system_id": self.factory.settings.system_id}
        version = {tags.SC_INTERFACE_VERSION: b"\x34"} if self._tlvs else {}
        self._send(encode(Pdu(command | commands.RESP, 0, sequence, body, version)))
        self.factory.bound(self)
        if self.kind != "TRANSMITTER":
            self.factory.delivery.add(self, account.user_id)

    def _refuse_bind(self, command: int, sequence: int, status: int) -> None:
        self._authenticating = False
        if self._state != states.OPEN:
            return
        self._send(fast.header(command | commands.RESP, status, sequence))
        self._state = states.UNBOUND
        self.factory.reactor.callLater(_CLOSE_AFTER_REFUSAL, self._abort_if_open)
        self.transport.loseConnection()  # type: ignore[union-attr]

    def changed(self, account: Account | None) -> None:
        """The account was changed: new limits at once, or the end."""
        if account is None or not account.active or not account.may_smpp:
            log.info("{who}: the account may not bind any more", who=self.system_id)
            self.close()
            return
        if self.account is not None and account.max_tps != self.account.max_tps:
            self._bucket.change(account.max_tps, account.max_tps)
        self.account = account

    # --- out

    @property
    def deliver_room(self) -> int:
        """How many more deliver_sm may be outstanding."""
        if self._state not in (states.BOUND_RX, states.BOUND_TRX):
            return 0
        return self._deliveries.free

    def deliver(self, forwards: list[Forward]) -> None:
        """Writes receipts, in one go."""
        now = self.factory.reactor.seconds()
        out = self._out
        put = self._deliveries.put
        for f in forwards:
            m = f.message
            done = f.stat == "DELIVRD"
            text = format_receipt(m.id, f.stat, f.err, m.created, f.done_at, first_words(m), 1, 1 if done else 0)
            tlvs = b""
            if self._tlvs:
                tlvs = _TLV.pack(tags.RECEIPTED_MESSAGE_ID, len(m.id) + 1) + m.id.encode() + b"\0" + _STATE_TLV.get(f.stat, b"")
            esm_class = _INTERMEDIATE if f.stat in ("ENROUTE", "ACCEPTD", "SCHEDULED") else _RECEIPT
            out.append(
                fast.encode_sm(
                    commands.DELIVER_SM, put(f, now), b"", m.dest_ton, m.dest_npi, m.dest, m.source_ton, m.source_npi, m.source,
                    esm_class, 0, 0, b"", b"", 0, 0, 0, 0, text, tlvs,
                )
            )  # fmt: skip
        self.sent += len(forwards)
        if not self._reading:
            self._flush()

    # --- time

    def tick(self, now: float) -> None:
        """Once a second."""
        if self._paused:
            self._timers.seen(now)  # we do not read: its silence is ours
        action = self._timers.tick(now)
        if action is Action.ENQUIRE:
            self._send(fast.header(commands.ENQUIRE_LINK, 0, self._next()))
        elif action is not Action.OK:
            log.info("{who} at {peer}: {why}", who=self.system_id or "?", peer=self.remote[0], why=action.name)
            self._flush()
            self._abort()
            return
        late = self._deliveries.expired(now, self.factory.settings.response_timeout)
        if late and self.account is not None:
            log.info("{who}: {n} deliver_sm without an answer", who=self.system_id, n=len(late))
            self._abort()
            self.factory.delivery.remove(self, self.account.user_id, late + self._deliveries.clear())

    def rate(self, seconds: float) -> float:
        """Messages a second since the last call."""
        before, self._sent_before = self._sent_before, self.received
        return (self.received - before) / seconds
