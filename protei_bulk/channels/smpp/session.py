"""One ESME's connection: SMPP server side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from protei_bulk.access.limits import address_allowed
from protei_bulk.access.peers import PLAIN, refusal
from protei_bulk.channels.smpp.bind import Binding
from protei_bulk.channels.smpp.deliver_sm import receipt_pdu
from protei_bulk.channels.smpp.mo import mo_pdu
from protei_bulk.channels.smpp.requests import serve
from protei_bulk.channels.smpp.submission import AS_IT_IS, Reading, message_of, reading_of
from protei_bulk.channels.smpp.watch import Watch
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.pacing.buckets import TokenBucket
from protei_bulk.pacing.flow import TURN, WINDOW, Flow
from protei_bulk.receipts.outcomes import Forward
from protei_bulk.smpp import commands, fast, statuses
from protei_bulk.smpp import session as states
from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.smpp.framer import Frame, Framer
from protei_bulk.smpp.trace import Trace
from protei_bulk.smpp.window import Window

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.factory import SmppFactory

log = Logger()

_HELD = 16_384  # octets that may wait for their turn while more is read: to stop reading for a window of messages costs more
_CLOSE_AFTER = 5.0  # seconds for an ESME to take what it is still owed
_STORED = frozenset({commands.SUBMIT_SM, commands.SUBMIT_MULTI, commands.DATA_SM})  # answered after a commit


@implementer(IHalfCloseableProtocol)
class EsmeSession(Protocol):
    """Answers PDUs; hands messages to the intake; sends receipts."""

    def __init__(self, factory: SmppFactory) -> None:
        self.factory: SmppFactory = factory
        s = factory.settings
        self._framer = Framer()
        self.state = states.OPEN
        self.binding = Binding(self)
        self.out: list[bytes] = []
        self._reading = False
        self.flow = Flow(factory.reactor.seconds, self._drained)
        self._closing: Any = None  # the timer of an end
        self.trace: Trace | None = None
        self._held = b""  # read, and waiting for its turn
        self._unanswered = 0
        self._sequence = 0x70000000  # of enquire_link and unbind: a generic_nack for one is not taken for a deliver_sm's
        self.version = 0x34  # what both sides speak: 0x33, 0x34 or 0x50
        self.tlvs = True  # the peer speaks 3.4 or later
        self.deliveries: Window[Forward] = Window(s.deliver_window)
        self.delivered: list[tuple[Forward, int]] = []
        self.bucket = TokenBucket(0)
        self.account: Account | None = None
        self.reading: Reading = AS_IT_IS  # how its texts are to be understood
        self.token = ""
        self.kind = ""
        self.system_id = ""
        self.sent = self.received = self._sent_before = 0
        self.remote = ("", 0)
        self.peer = PLAIN
        self.watch = Watch(self, factory.reactor.seconds())
        self.timers = self.watch.timers

    # --- connection

    def connectionMade(self) -> None:  # noqa: N802
        peer = self.transport.getPeer()  # type: ignore[union-attr]
        self.remote = (getattr(peer, "host", ""), getattr(peer, "port", 0))
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.flow.attach(self.transport)
        if not self.factory.admit(self):
            self.abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        bound = self.state in (states.BOUND_TX, states.BOUND_RX, states.BOUND_TRX)
        self.state = states.CLOSED
        self._held = b""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        if self.account is not None and bound and self.kind != "TRANSMITTER":
            self.factory.delivery.remove(self, self.account.user_id, self.deliveries.clear())
        self.factory.gone(self)

    def abort(self) -> None:
        if self.transport is not None and self.state != states.CLOSED:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def close(self) -> None:
        """Ends the session: unbind, then the connection."""
        if self.state == states.CLOSED:
            return
        if self.token:
            self.send(fast.header(commands.UNBIND, 0, self.next_sequence()))
        self.flush()
        self.leave()
        self.lose_when_answered()

    def lose_when_answered(self) -> None:
        """An ESME whose stored messages stay without an answer sends them again: they are waited for."""
        self.abort_within(_CLOSE_AFTER)
        if not self._unanswered:
            self.end()

    def end(self, seconds: float = _CLOSE_AFTER) -> None:
        """Closes the connection once everything is written; after so many seconds it is cut off."""
        self.leave()
        self.flush()  # now: over TLS nothing can be written after it
        self.flow.detach()
        self.transport.loseConnection()  # type: ignore[union-attr]
        self.abort_within(seconds)

    def abort_within(self, seconds: float) -> None:
        if self._closing is None and self.state != states.CLOSED:
            self._closing = self.factory.reactor.callLater(seconds, self.abort)

    def readConnectionLost(self) -> None:  # noqa: N802
        """The ESME sends no more, but may still read: it gets its answers."""
        if self._held:
            self.serve()
        self.leave()
        self.lose_when_answered()

    def writeConnectionLost(self) -> None:  # noqa: N802
        """Never: we do not close one direction alone."""

    def next_sequence(self) -> int:
        """For a request of ours besides deliver_sm."""
        self._sequence = self._sequence + 1 if self._sequence < 0x7FFFFFFF else 0x70000000
        return self._sequence

    def send(self, data: bytes) -> None:
        self.out.append(data)
        if not self._reading:
            self.flush()

    def flush(self) -> None:
        if self.out and self.transport is not None:
            data = b"".join(self.out)
            self.out.clear()
            if self.trace is not None:
                self.trace.wrote(data, self.peer_name)
            self.transport.write(data)

    @property
    def peer_name(self) -> str:
        return f"{self.system_id}@{self.remote[0]}:{self.remote[1]}"

    # --- in

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self.state == states.CLOSED or self._framer.corrupt is not None:
            return
        if not self._held and self.factory.turns.begin(self, len(data)):
            self._received(data)
            return
        self._held += data
        if len(self._held) > _HELD:
            self.flow.hold(TURN)

    def serve(self) -> None:
        """The turn of what was read earlier."""
        data, self._held = self._held, b""
        if self.state == states.CLOSED:
            return
        self._received(data)
        self.flow.release(TURN)

    def _received(self, data: bytes) -> None:
        now = self.factory.reactor.seconds()
        buf, frames = self._framer.feed(data)
        if frames:  # an octet now and then is no sign of life
            self.timers.seen(now)
        if self.trace is not None:
            self.trace.read(buf, frames, self.peer_name)
        if self._unanswered + len(frames) > 2 * self.factory.settings.window:
            frames = self._spared(frames)
        if any(f[0] & ~commands.RESP != commands.ENQUIRE_LINK for f in frames):
            self.timers.worked(now)
        self._reading = True
        try:
            for command, status, sequence, start, end in frames:
                if command == commands.SUBMIT_SM and self.state in (states.BOUND_TX, states.BOUND_TRX):
                    self._submit(sequence, buf, start, end, now)
                elif command == commands.DELIVER_SM | commands.RESP:
                    forward = self.deliveries.pop(sequence)
                    if forward is not None:
                        self.delivered.append((forward, status))
                else:
                    serve(self, command, status, sequence, buf, start, end)
                    if self.state in (states.CLOSED, states.UNBOUND):
                        break
        except Exception:
            log.failure("a PDU of {peer}", peer=self.remote[0])
            self.flush()
            self.abort()
        finally:
            self._reading = False
        if self.delivered and self.account is not None:
            answers, self.delivered = self.delivered, []
            self.factory.delivery.acknowledged(self.account.user_id, answers)
        if self._framer.corrupt is not None and self.state != states.CLOSED:
            self.out.append(fast.header(commands.GENERIC_NACK, statuses.ESME_RINVCMDLEN, 0))
            self.flush()
            self.leave()
            self.lose_when_answered()
            return
        self.flush()
        if self._unanswered > self.factory.settings.window:
            self.flow.hold(WINDOW)  # reads no more until the database has caught up with this ESME

    def _spared(self, frames: list[Frame]) -> list[Frame]:
        """What is beyond twice the window is answered with "throttled": we read no more at once, but this came in one read."""
        room = 2 * self.factory.settings.window - self._unanswered
        spared = []
        for frame in frames:
            if frame[0] in _STORED and self.state in (states.BOUND_TX, states.BOUND_TRX):
                room -= 1
                if room < 0:
                    self.out.append(fast.header(frame[0] | commands.RESP, statuses.ESME_RTHROTTLED, frame[2]))
                    continue
            spared.append(frame)
        return spared

    def _submit(self, sequence: int, buf: bytes, start: int, end: int, now: float) -> None:
        account = self.account
        assert account is not None
        try:
            m = message_of(fast.decode_sm(buf, start, end), now, self.reading)
        except RejectPdu as error:
            self.out.append(fast.header(commands.SUBMIT_SM | commands.RESP, statuses.known_to(self.version, error.status), sequence))
            return
        if account.max_tps and self.bucket.take(m.segments, now) > 0:
            self.out.append(fast.header(commands.SUBMIT_SM | commands.RESP, statuses.ESME_RTHROTTLED, sequence))
            return
        if not self.tlvs:
            m.shown_id = self.factory.short_ids.next()
            if not m.shown_id:
                self.out.append(fast.header(commands.SUBMIT_SM | commands.RESP, statuses.ESME_RSYSERR, sequence))
                return
        m.origin = self
        m.sequence = sequence
        self._unanswered += 1
        if m.replaces:
            self.factory.operations.submit(account, m)
        else:
            self.factory.intake.submit(account, m)

    def answered(self, messages: list[Message]) -> None:
        """The intake has stored or refused these."""
        if self.state != states.CLOSED:
            out = self.out
            resp = fast.submit_resp if self.version < 0x50 else self._with_congestion()
            stored = 0
            for m in messages:
                if m.refusal is None:
                    stored += 1
                    out.append(resp(m.sequence, m.shown_id or m.id))
                else:
                    status = statuses.known_to(self.version, m.refusal.smpp_status)
                    out.append(fast.header(commands.SUBMIT_SM | commands.RESP, status, m.sequence))
            self.received += stored
        self._settled(len(messages))

    def _with_congestion(self) -> Callable[[int, str], bytes]:
        """How to write a submit_sm_resp of 5.0, as busy as we are now."""
        tail = b"\0" + self.congestion()
        return lambda sequence, id: fast.frame(commands.SUBMIT_SM | commands.RESP, 0, sequence, id.encode() + tail)

    def _settled(self, requests: int) -> None:
        """So many more are answered."""
        self._unanswered -= requests
        if self.state == states.CLOSED:
            return
        if not self._reading:
            self.flush()
        if self.state == states.UNBOUND and not self._unanswered:
            self.end()
            return
        if self.flow.reasons and self._unanswered <= self.factory.settings.window // 2:
            self.flow.release(WINDOW)

    # --- other requests, and what their handlers need

    def expect(self, requests: int) -> None:
        """So many requests will be answered by `reply`, later or now."""
        self._unanswered += requests

    def reply(self, data: bytes, requests: int = 1) -> None:
        """The answer to requests that were expected."""
        if self.state != states.CLOSED:
            self.out.append(data)
        self._settled(requests)

    def throttle(self, segments: int, now: float) -> None:
        """Raises RejectPdu where the account sends too much."""
        assert self.account is not None
        if self.account.max_tps and self.bucket.take(segments, now) > 0:
            raise RejectPdu(statuses.ESME_RTHROTTLED, "too many segments a second")

    def hand_in(self, m: Message) -> None:
        """A message whose origin answers by `reply`."""
        assert self.account is not None
        self._unanswered += 1
        if m.replaces:
            self.factory.operations.submit(self.account, m)
        else:
            self.factory.intake.submit(self.account, m)

    def own_id(self) -> str:
        """The id that a message is given where the peer cannot read ours; else "". Raises RejectPdu where none is at hand."""
        if self.tlvs:
            return ""
        id = self.factory.short_ids.next()
        if not id:
            raise RejectPdu(statuses.ESME_RSYSERR, "no short id yet")
        return id

    def congestion(self) -> bytes:
        """congestion_state for a peer of SMPP 5.0, as a TLV; nothing for others."""
        if self.version < 0x50:
            return b""
        own = 100 * self._unanswered // self.factory.settings.window
        return b"\4\x28\0\1%c" % min(100, max(own, self.factory.load()))

    def leave(self) -> None:
        """From here on it submits nothing and gets nothing but answers."""
        if self.state == states.CLOSED:
            return
        if self.account is not None and self.kind != "TRANSMITTER" and self.state in (states.BOUND_RX, states.BOUND_TRX):
            self.state = states.UNBOUND
            self.factory.delivery.remove(self, self.account.user_id, self.deliveries.clear())
        self.state = states.UNBOUND

    def bound(self, account: Account, token: str, state: str) -> None:
        """The bind is checked: from here on the account's limits hold."""
        self.account, self.token, self.state = account, token, state
        self.reading = reading_of(account)
        self.bucket = TokenBucket(account.max_tps, account.max_tps)
        self.timers.bound(self.factory.reactor.seconds())

    def changed(self, account: Account | None) -> None:
        """The account was changed: new limits at once, or the end."""
        if account is None or not account.active or not account.may_smpp or not self._admits(account):
            log.info("{who}: the account may not bind any more", who=self.system_id)
            self.close()
            return
        if self.account is not None and account.max_tps != self.account.max_tps:
            self.bucket.change(account.max_tps, account.max_tps)
        self.account = account
        self.reading = reading_of(account)

    def _admits(self, account: Account) -> bool:
        """Whether the account, as it is now, might bind over this connection."""
        return address_allowed(self.remote[0], account.allowed_ips) and refusal(account, self.peer) is None

    # --- out

    @property
    def deliver_room(self) -> int:
        """How many more deliver_sm may be outstanding."""
        if self.state not in (states.BOUND_RX, states.BOUND_TRX) or self.flow.choked:
            return 0
        return self.deliveries.free

    def _drained(self) -> None:
        """It has taken everything that waited to be written."""
        if self.account is not None and self.state in (states.BOUND_RX, states.BOUND_TRX):
            self.factory.delivery.ready(self.account.user_id)

    def deliver(self, forwards: list[Forward]) -> None:
        """Writes receipts and messages from mobiles, in one go."""
        now = self.factory.reactor.seconds()
        out = self.out
        put = self.deliveries.put
        for f in forwards:
            out.append(receipt_pdu(f, put(f, now), self.version) if f.mo is None else mo_pdu(f, put(f, now), self.tlvs))
        self.sent += len(forwards)
        if not self._reading:
            self.flush()

    # --- time

    def tick(self, now: float) -> None:
        """Once a second."""
        self.watch.tick(now)

    def rate(self, seconds: float) -> float:
        """Messages a second since the last call."""
        before, self._sent_before = self._sent_before, self.received
        return (self.received - before) / seconds
