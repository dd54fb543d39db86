"""One bind to an SMSC: shovels octets between the transport and the connector."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.connectors.asking import Asking, NotAsked
from protei_bulk.connectors.handshake import Handshake
from protei_bulk.connectors.pressure import Pressure
from protei_bulk.inbound.answers import is_answer
from protei_bulk.model.message import Message
from protei_bulk.pacing.buckets import TokenBucket
from protei_bulk.receipts.outcomes import Part, stale
from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands, fast, statuses, tags
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.smpp.framer import Framer
from protei_bulk.smpp.timers import Action, SessionTimers
from protei_bulk.smpp.window import Window
from protei_bulk.text.receipt import carried, parse_receipt
from protei_bulk.text.segments import TooLong

if TYPE_CHECKING:
    from protei_bulk.connectors.connector import Connector

log = Logger()

_SUBMIT_RESP = commands.SUBMIT_SM | commands.RESP
_CLOSE_AFTER = 5.0  # seconds for an SMSC to take what is still written
_BUSY = 90  # congestion_state from which an SMSC gets less (SMPP 5.0 section 4.8.4.18)


_ENDED = frozenset({"UNDELIV", "EXPIRED", "DELETED", "REJECTD", "UNKNOWN", "SKIPPED"})  # receipts of what was not delivered


def _pace(tps: int) -> TokenBucket | None:
    return TokenBucket(tps, max(1.0, tps / 10)) if tps else None


class DataLink:
    """Answers data_sm where the Link itself answers deliver_sm."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def alive(self) -> bool:
        return self._link.alive

    def acknowledge(self, sequences: list[int]) -> None:
        self._link.answer(commands.DATA_SM, sequences)

    def refuse(self, sequence: int, status: int) -> None:
        self._link.answer(commands.DATA_SM, [sequence], status)


class BindRefused(Exception):
    """The SMSC answered a bind with a status other than ESME_ROK."""


class Link(Protocol):
    """SMPP client side of one connection. `bound` fires once the SMSC has accepted the bind; `outbind`: see Handshake."""

    def __init__(self, connector: Connector, reactor: Any, *, outbind: bool = False) -> None:
        s = connector.settings
        self._connector = connector
        self._reactor = reactor
        self._framer = Framer()
        self._window: Window[Message | Part] = Window(s.window)
        self.pace = _pace(s.max_tps_per_bind)  # where the bind has a limit of its own
        self._handshake = Handshake(s, self._write, outbind=outbind)
        self.sends = self._handshake.command != commands.BIND_RECEIVER
        self._congestion = False  # the SMSC's answers may tell how busy it is
        self._asking = Asking(self._write, self._next)
        self._again: list[Part] = []
        self.bound: Deferred[Link] = Deferred(lambda _: self._abort())
        self.gone: Callable[[Failure], object] = lambda _: None  # told last
        self._is_bound = False
        self._unbinding = False
        self._data = DataLink(self)
        self._empty: list[Deferred[None]] = []
        self.since = 0.0  # when it was bound
        self.draining = False  # it ends once everything is answered
        self._probe, self._probed_at = 0, 0.0  # the submit_sm whose answer is measured, one at a time
        self._sequence = 0x40000000  # of PDUs other than submit_sm: apart from the window's numbers
        now = reactor.seconds()
        self._pressure = Pressure(reactor.seconds, connector.pump)
        self._closing: Any = None
        self._over = self._unread = False
        self._timers = SessionTimers(s.enquire_link_interval, s.response_timeout, 0.0, s.response_timeout, now)

    # --- connection

    def connectionMade(self) -> None:  # noqa: N802
        s = self._connector.settings
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self._pressure.flow.attach(self.transport)
        # Our own port tells the binds of one connector apart.
        self._named = f"{s.id}:{getattr(self.transport.getHost(), 'port', 0)}"  # type: ignore[union-attr]
        self._bind_timer = self._reactor.callLater(s.response_timeout, self._no_answer_to_bind)
        self._handshake.begin()

    @property
    def kind(self) -> str:
        """transceiver, transmitter or receiver."""
        return self._handshake.kind

    @property
    def version(self) -> int:
        """What both sides speak, once bound: 0x33, 0x34 or 0x50."""
        return self._handshake.version

    def _no_answer_to_bind(self) -> None:
        self._fail_bind("no answer to the bind")

    def _fail_bind(self, why: str) -> None:
        log.error("{smsc}: bind refused: {why}", smsc=self._connector.id, why=why)
        self._connector.vitals.note(f"bind: {why}", self._reactor.seconds())
        if not self.bound.called:
            self.bound.errback(Failure(BindRefused(why)))
        self._abort()

    def _abort(self) -> None:
        if self.transport is not None and not self._over:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        self._over = True
        for timer in (self._bind_timer, self._closing):
            if timer is not None and timer.active():
                timer.cancel()
        if not self._is_bound:
            if not self.bound.called:
                log.warn("{smsc}: the connection ended before its bind: {why}", smsc=self._connector.id, why=reason.getErrorMessage())
                self._connector.vitals.note(f"bind: {reason.getErrorMessage()}", self._reactor.seconds())
                self.bound.errback(reason)
            return
        self._is_bound = False
        self._asking.lost()
        entries = self._window.clear() + list(self._again)
        self._again = []
        self._connector.lost(self, entries)
        self._tell_empty()
        self.gone(reason)

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            if self._connector.trace is not None:
                self._connector.trace.wrote(data, self._named)
            self._pressure.wrote(len(data))
            self.transport.write(data)

    def _lose(self) -> None:
        """Closes the connection once everything is written."""
        self._pressure.lose(self.transport)
        self._abort_soon()

    def _abort_soon(self) -> None:
        if self._closing is None:
            self._closing = self._reactor.callLater(_CLOSE_AFTER, self._abort)

    # --- out

    @property
    def free(self) -> int:
        """How many more submit_sm may be outstanding."""
        may = self.sends and self._is_bound and not self._unbinding and self._pressure.free
        return self._window.free if may else 0

    @property
    def outstanding(self) -> int:
        """How many submit_sm have no answer."""
        return len(self._window)

    def change(self, settings: Smsc) -> None:
        """Other limits."""
        self._window.size = settings.window
        if self.pace is not None and settings.max_tps_per_bind:
            self.pace.change(settings.max_tps_per_bind, max(1.0, settings.max_tps_per_bind / 10))
        else:
            self.pace = _pace(settings.max_tps_per_bind)

    @property
    def repeats(self) -> int:
        """Parts that wait to be sent once more."""
        return len(self._again)

    def again(self, part: Part) -> None:
        """Send one part of a message once more, before anything else."""
        self._again.append(part)

    def submit(self, messages: list[Message], now: float, room: int) -> int:
        """Writes messages; the segments written, which are `room` or one message more. Those too late are not."""
        out: list[bytes] = []
        put = self._window.put
        encoder = self._connector.encoder
        submit_sm, plain = encoder.submit_sm, encoder.plain and encoder.tlvs
        again, self._again = self._again, []
        for part in again:
            if stale(part):
                continue
            if part.form is None:
                out.append(submit_sm(part.message, put(part, now), now, part.udh, part.body))
            else:
                out.append(encoder.submit_form(part.message, put(part, now), now, part.form))
        for m in messages:
            if m.valid_until and m.valid_until <= now:
                self._connector.expired(m)
            elif (m.segments == 1 or m.udh) and (plain or encoder.as_it_is(m)):
                if m.parts:
                    m.parts = 1  # another SMSC had wanted it otherwise
                out.append(submit_sm(m, put(m, now), now, m.udh, m.body))
            else:
                self._submit_forms(m, messages, out, now, room)
        if out:
            self._write(b"".join(out))
            if not self._probe:
                self._probe, self._probed_at = self._window.newest, now
            if self.pace is not None:
                self.pace.charge(len(out), now)
        return len(out)

    def _submit_forms(self, m: Message, messages: list[Message], out: list[bytes], now: float, room: int) -> None:
        """A message in the form in which the SMSC wants it: several parts, as a rule. Those behind it may have to give their places."""
        encoder, put = self._connector.encoder, self._window.put
        try:
            forms = encoder.forms(m)
        except TooLong:
            self._connector.too_long(m)
            return
        total = len(forms)
        if total == 1:
            if m.parts or m.segments != 1:
                m.parts = 1
            out.append(encoder.submit_form(m, put(m, now), now, forms[0]))
            return
        m.part_results = None
        m.parts = total if m.parts or total != m.segments else 0
        behind = len(messages) - messages.index(m) - 1
        fewer = min(behind, len(out) + total + behind - room)
        if fewer > 0:  # its other parts take the places of the last ones
            for last in messages[-fewer:]:
                self._connector.give_back(last)
            del messages[-fewer:]
        for n, form in enumerate(forms, 1):
            out.append(encoder.submit_form(m, put(Part(m, n, form.udh, form.octets, form), now), now, form))

    def acknowledge(self, sequences: list[int]) -> None:
        """deliver_sm_resp for receipts that are committed."""
        self._pressure.paid(len(sequences))
        if self._is_bound:
            resp = fast.deliver_resp
            self._write(b"".join([resp(s) for s in sequences]))

    def answer(self, command: int, sequences: list[int], status: int = 0) -> None:
        """A deliver_sm_resp or data_sm_resp to each, with an empty message_id."""
        self._pressure.paid(len(sequences))
        if self._is_bound:
            self._write(b"".join([encode(Pdu(command | commands.RESP, status, s, {"message_id": ""})) for s in sequences]))

    def refuse(self, sequence: int, status: int) -> None:
        """A deliver_sm that is not taken."""
        self.answer(commands.DELIVER_SM, [sequence], status)

    @property
    def alive(self) -> bool:
        """Whether what is written still goes out."""
        return self._is_bound

    def ask(self, pdu: Pdu) -> Deferred[Pdu]:
        """A request besides submit_sm: see Asking."""
        if not self._is_bound or self._unbinding:
            return fail(NotAsked("not bound"))
        return self._asking.ask(pdu, self._reactor.seconds())

    def unbind(self) -> None:
        if self._is_bound and not self._unbinding:
            self._unbinding = True
            self._write(fast.header(commands.UNBIND, 0, self._next()))
            self._abort_soon()  # it may not even read that
        elif not self._is_bound:
            self._abort()

    def emptied(self) -> Deferred[None]:
        """Fires once no submit_sm is outstanding."""
        if not len(self._window):
            return succeed(None)
        d: Deferred[None] = Deferred()
        self._empty.append(d)
        return d

    def _tell_empty(self) -> None:
        if self._empty and not len(self._window):
            waiting, self._empty = self._empty, []
            for d in waiting:
                d.callback(None)

    def unanswered_ids(self) -> list[str]:
        entries = [*self._window.items(), *self._again]
        return [e.message.id if isinstance(e, Part) else e.id for e in entries]  # of joined ones, that of the oldest

    def _next(self) -> int:
        self._sequence = self._sequence + 1 if self._sequence < 0x7FFFFFFF else 0x40000000
        return self._sequence

    # --- in

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        now = self._reactor.seconds()
        buf, frames = self._framer.feed(data)
        if frames:  # an octet now and then is no sign of life
            self._timers.seen(now)
        if self._connector.trace is not None:
            self._connector.trace.read(buf, frames, self._named)
        taken: list[tuple[Message | Part, str]] = []
        refused: list[tuple[Message | Part, int]] = []
        receipts: list[tuple[int, int, int, int]] = []
        pop = self._pop_timed if self._connector.settings.breaker_latency else self._window.pop
        busy = 0
        for command, status, sequence, start, end in frames:
            if command == _SUBMIT_RESP:
                entry = pop(sequence)
                if entry is None:
                    continue  # timed out long ago, or never asked for
                if status == 0:
                    taken.append((entry, fast.response_id(buf, start, end)))
                    if self._congestion:
                        busy = max(busy, fast.congestion(buf, start, end))
                else:
                    refused.append((entry, status))
            elif command == commands.DELIVER_SM and self._is_bound:
                receipts.append((sequence, start, end, status))
            else:
                self._other(command, status, sequence, buf, start, end)
        if taken:
            try:
                self._connector.taken(taken)
            except OSError as error:
                log.critical("{smsc}: cannot note what was sent: {why}", smsc=self._connector.id, why=str(error))
                self._abort()
        for entry, status in refused:
            self._connector.refused(entry, status)
        if receipts:
            self._pressure.owes(len(receipts))
            self._receipts(buf, receipts)
        if self._framer.corrupt is not None:
            log.error("{smsc}: {why}; the connection is closed", smsc=self._connector.id, why=str(self._framer.corrupt))
            self._abort()
        if self._empty:
            self._tell_empty()
        if busy >= _BUSY:
            self._connector.ease(busy)
        if taken or refused:
            if self._probe and not self._window.holds(self._probe):
                self._connector.vitals.answered(now - self._probed_at)
                self._probe = 0
            self._connector.pump()

    def _pop_timed(self, sequence: int) -> Message | Part | None:
        if self._reactor.seconds() - self._window.sent_at(sequence) > self._connector.settings.breaker_latency:
            self._connector.health.slow += 1
        return self._window.pop(sequence)

    def _receipts(self, buf: bytes, receipts: list[tuple[int, int, int, int]]) -> None:
        smsc = self._connector.id
        matched = self._connector.receipt
        delivered = undelivered = 0
        for sequence, start, end, _ in receipts:
            try:
                found = fast.decode_receipt(buf, start, end)
                f: tuple[Any, ...] = () if found is not None else fast.decode_sm(buf, start, end)
            except RejectPdu as error:
                self.refuse(sequence, error.status)
                continue
            esm_class, body, tlvs = found or (f[7], f[16], f[17])
            if tlvs and not body and tags.MESSAGE_PAYLOAD in tlvs:
                body = tlvs[tags.MESSAGE_PAYLOAD]
            r = parse_receipt(body, tlvs, esm_class)
            if r is None or (esm_class & 0x18 and is_answer(esm_class, body)):
                self._from_mobile(f or fast.decode_sm(buf, start, end), body, self, sequence)
                continue
            if r.stat == "DELIVRD":
                delivered += 1
            elif r.stat in _ENDED:
                undelivered += 1
            matched(smsc, r.id, r.stat, r.err, self, sequence, carried(tlvs) if tlvs else None)
        vitals = self._connector.vitals
        vitals.delivered += delivered
        vitals.undelivered += undelivered

    def _from_mobile(self, f: tuple[Any, ...], body: bytes, link: Link | DataLink, sequence: int) -> None:
        inbound = self._connector.inbound
        if inbound is None or f[7] & 0x3C == 0x04:  # a receipt that names no message is nobody's
            status = statuses.ESME_RX_P_APPN
        else:
            status = inbound.receive(self._connector.settings, f, body, link, sequence)
        if status:
            link.refuse(sequence, status)

    def _data_sm(self, sequence: int, frame: bytes) -> None:
        """A receipt or a message from a mobile, as in a deliver_sm."""
        self._pressure.owes(1)
        try:
            pdu = decode(frame)
        except RejectPdu as error:
            self._data.refuse(sequence, error.status)
            return
        p, tlvs = pdu.fields, pdu.tlvs or None
        body = pdu.tlvs.get(tags.MESSAGE_PAYLOAD, b"")
        r = parse_receipt(body, tlvs, p["esm_class"])
        if r is not None and not is_answer(p["esm_class"], body):
            self._connector.receipt(self._connector.id, r.id, r.stat, r.err, self._data, sequence, carried(tlvs))
            return
        f = (
            p["service_type"], p["source_addr_ton"], p["source_addr_npi"], p["source_addr"], p["dest_addr_ton"], p["dest_addr_npi"],
            p["destination_addr"], p["esm_class"], 0, 0, "", "", p["registered_delivery"], 0, p["data_coding"], 0, b"", tlvs,
        )  # fmt: skip
        self._from_mobile(f, body, self._data, sequence)

    def _other(self, command: int, status: int, sequence: int, buf: bytes, start: int, end: int) -> None:
        if command == commands.ENQUIRE_LINK:
            self._write(fast.header(commands.ENQUIRE_LINK | commands.RESP, 0, sequence))
        elif command == self._handshake.command | commands.RESP or (command == commands.GENERIC_NACK and not self._is_bound):
            self._bind_answered(status, fast.version_of(buf, start, end))
        elif command == commands.UNBIND:
            self._write(fast.header(commands.UNBIND | commands.RESP, 0, sequence))
            self._lose()
        elif command == commands.UNBIND | commands.RESP:
            self._lose()
        elif command == commands.GENERIC_NACK:
            if self._asking.answered(Pdu(command, status, sequence)):
                return
            entry = self._window.pop(sequence)
            if entry is not None:
                self._connector.refused(entry, status or statuses.ESME_RSYSERR)
                self._connector.pump()
        elif command & commands.RESP or command in (commands.ALERT_NOTIFICATION, commands.OUTBIND):
            self._unanswered(command, status, sequence, buf[start:end])
        elif command == commands.DATA_SM and self._is_bound:
            self._data_sm(sequence, (end - start + 16).to_bytes(4, "big") + fast.header(command, status, sequence)[4:] + buf[start:end])
        else:
            self._write(fast.header(commands.GENERIC_NACK, statuses.ESME_RINVCMDID, sequence))

    def _unanswered(self, command: int, status: int, sequence: int, body: bytes) -> None:
        """What gets no answer: responses to what `ask` sent, outbind, alert_notification."""
        try:
            pdu = decode(fast.frame(command, status, sequence, body))
        except RejectPdu as error:
            pdu = Pdu(command, status or error.status, sequence)  # a response counts as one without its body
            if not command & commands.RESP:
                return
        if command & commands.RESP:
            self._asking.answered(pdu)
        elif command == commands.OUTBIND:
            why = self._handshake.outbind(pdu)
            if why:
                self._fail_bind(why)
        elif self._is_bound and not self._connector.alerted(pdu):
            log.info("{smsc}: an alert_notification that nobody takes", smsc=self._connector.id)

    def _bind_answered(self, status: int, version: int) -> None:
        if self._bind_timer.active():
            self._bind_timer.cancel()
        if self._is_bound or self.bound.called:
            return
        if status != 0:
            self._fail_bind(statuses.name(status))
            return
        self._is_bound = True
        self.since = self._reactor.seconds()
        self._congestion = self._handshake.agreed(version) >= 0x50
        self._timers.bound(self._reactor.seconds())
        self._connector.bound(self)
        self.bound.callback(self)

    # --- time

    def tick(self, now: float) -> None:
        """Once a second while bound."""
        if self._pressure.dead(now, self._connector.settings.response_timeout):
            log.warn("{smsc}: does not read what is written to it; the connection is closed", smsc=self._connector.id)
            self._abort()
            return
        if self._pressure.flow.reasons:
            self._timers.seen(now)  # we do not read: silence is ours, and so are answers that we have not seen
            self._unread = True
            return
        if self._unread:
            self._unread = False  # what has come meanwhile is read before the next time
            return
        late = self._window.expired(now, self._connector.settings.response_timeout)
        if late:
            log.warn("{smsc}: {n} submit_sm without an answer", smsc=self._connector.id, n=len(late))
            self._connector.unanswered(late)
            self._tell_empty()
        self._asking.expire(now, self._connector.settings.response_timeout)
        action = self._timers.tick(now)
        if action is Action.ENQUIRE:
            self._write(fast.header(commands.ENQUIRE_LINK, 0, self._next()))
        elif action is Action.DEAD:
            log.warn("{smsc}: silent; the connection is closed", smsc=self._connector.id)
            self._abort()
