"""An SMSC for demos and tests: takes every bind, answers submit_sm, sends receipts and MO messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from struct import Struct
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from protei_bulk.simulator import operations
from protei_bulk.simulator.behaviour import Behaviour
from protei_bulk.simulator.mobiles import Mobiles, acknowledgement
from protei_bulk.smpp import commands, fast, session, statuses, tags
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.errors import CorruptStream, RejectPdu
from protei_bulk.smpp.framer import Framer
from protei_bulk.text.receipt import STATES, format_receipt

_BINDS = {
    commands.BIND_RECEIVER: session.BOUND_RX,
    commands.BIND_TRANSMITTER: session.BOUND_TX,
    commands.BIND_TRANSCEIVER: session.BOUND_TRX,
}
_RECEIVES = (session.BOUND_RX, session.BOUND_TRX)
_DELIVERED = (commands.DELIVER_SM | commands.RESP, commands.DATA_SM | commands.RESP)
_TLV = Struct(">HH")
_TICK = 0.01  # seconds between looks at what is due
_PARKED = 1_000_000  # deliver_sm kept for a system_id that nobody receives for; then the oldest are forgotten
_RETRY = 1.0  # seconds until what the ESME wants later comes again
#: an ESME that answers with one of these wants the deliver_sm again: RSYSERR, RMSGQFUL, RTHROTTLED, RX_T_APPN
_LATER = frozenset({0x08, 0x14, 0x58, 0x64})

Entry = tuple[float, "Peer", int, tuple[Any, ...], float]
"""A receipt to come: when, the bind that asked, id, fields of the submit_sm, when that came."""


class Peer(Protocol):
    """One connection of an ESME (here: of the gateway)."""

    def __init__(self, smsc: Smsc) -> None:
        self._smsc = smsc
        self._framer = Framer()
        self._sequence = 0
        self.system_id = ""
        self.state = session.OPEN
        self.unacknowledged: dict[int, bytes] = {}  # deliver_sm, by sequence_number

    @property
    def receives(self) -> bool:
        return self.state in _RECEIVES

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self._smsc.peers.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        self.state = session.CLOSED
        self._smsc.peers.discard(self)
        left, self.unacknowledged = list(self.unacknowledged.values()), {}
        for pdu in left:  # written is not arrived
            self._smsc.deliver_to(self.system_id, pdu)

    def next_sequence(self) -> int:
        self._sequence = self._sequence + 1 if self._sequence < 0x7FFFFFFF else 1
        return self._sequence

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def numbered(self, pdu: bytes) -> bytes:
        """A deliver_sm with a number of this connection; kept until it is answered."""
        sequence = self.next_sequence()
        pdu = self.unacknowledged[sequence] = pdu[:12] + sequence.to_bytes(4, "big") + pdu[16:]
        return pdu

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        buf, frames = self._framer.feed(data)
        out: list[bytes] = []
        submit, drops = self._smsc.submit, self._smsc.behaviour.drops
        for command, status, sequence, start, end in frames:
            if command == commands.SUBMIT_SM and self.state in (session.BOUND_TX, session.BOUND_TRX):
                answer = submit(self, sequence, buf, start, end)
                if answer:
                    out.append(answer)
                if drops():
                    # As a line that breaks: what is answered in this turn does not arrive either.
                    self.state = session.CLOSED
                    self.transport.abortConnection()  # type: ignore[union-attr]
                    return
            elif command & commands.RESP:
                if command in _DELIVERED:
                    pdu = self.unacknowledged.pop(sequence, None)
                    if status in _LATER and pdu is not None:
                        self._smsc.deliver_later(self.system_id, pdu)
                    else:
                        self._smsc.acknowledged += 1
            else:
                out.append(self._request(command, status, sequence, buf, start, end))
                if self.state == session.UNBOUND:
                    self.write(b"".join(out))
                    self.transport.loseConnection()  # type: ignore[union-attr]
                    return
        if out:
            self.write(b"".join(out))
        if self._framer.corrupt is not None:
            self.transport.abortConnection()  # type: ignore[union-attr]

    def _request(self, command: int, status: int, sequence: int, buf: bytes, start: int, end: int) -> bytes:
        """The answer to anything but a submit_sm that may come."""
        wrong = session.check(session.SERVER, self.state, command)
        if wrong == statuses.ESME_RINVCMDID:
            return fast.header(commands.GENERIC_NACK, wrong, sequence)
        if wrong:
            return fast.header(command | commands.RESP, wrong, sequence)
        if command in _BINDS:
            return self._bind(command, status, sequence, buf, start, end)
        if command == commands.UNBIND:
            self.state = session.UNBOUND
        elif command in operations.OFFERED:
            return operations.answer(self._smsc, self, fast.frame(command, status, sequence, buf[start:end]), command, sequence)
        elif command != commands.ENQUIRE_LINK:  # of SMPP, but this SMSC cannot do it
            return fast.header(commands.GENERIC_NACK, statuses.ESME_RINVCMDID, sequence)
        return fast.header(command | commands.RESP, 0, sequence)

    def _bind(self, command: int, status: int, sequence: int, buf: bytes, start: int, end: int) -> bytes:
        frame = (end - start + 16).to_bytes(4, "big") + fast.header(command, status, sequence)[4:] + buf[start:end]
        try:
            self.system_id = decode(frame).fields["system_id"]
        except (RejectPdu, CorruptStream) as error:
            return fast.header(command | commands.RESP, getattr(error, "status", statuses.ESME_RBINDFAIL), sequence)
        self.state = _BINDS[command]
        if self.receives:
            self._smsc.receiver_came(self.system_id)
        version = {} if self._smsc.version < 0x34 else {tags.SC_INTERFACE_VERSION: bytes((self._smsc.version,))}
        return encode(Pdu(command | commands.RESP, 0, sequence, {"system_id": "smsc"}, version))


class Smsc(Factory):
    """`note(line)` writes the ledger: `S <message_id> <dest>` for each submit_sm taken.

    With `octets` there follows `O <message_id> <body of the PDU in hexadecimal>`.

    `version` is its interface_version; with `congestion` each submit_sm_resp says so (SMPP 5.0).

    A deliver_sm is kept until it is answered: one whose connection breaks first comes again.
    """

    noisy = False

    def __init__(
        self, behaviour: Behaviour, reactor: Any, note: Callable[[str], object] | None = None, *, octets: bool = False,
        version: int = 0x34, congestion: int = 0,
    ) -> None:  # fmt: skip
        self.behaviour, self._reactor, self._note, self._octets = behaviour, reactor, note, octets
        self.version, self.congestion = version, congestion
        self.peers: set[Peer] = set()
        self.cancelled: set[int] = set()
        self.receipts = self.acknowledged = 0
        self._due: deque[Entry] = deque()
        self._again: deque[tuple[str, bytes]] = deque()  # system_id, deliver_sm: at the next look
        self._later: deque[tuple[float, str, bytes]] = deque()  # the same, with its time
        self._parked: dict[str, deque[bytes]] = {}
        self._answers: deque[tuple[float, Peer, bytes]] = deque()
        self._timer: Any = None
        self._mobiles: Mobiles | None = None
        self._next_mo = 0.0
        self._mo_sent = 0
        self._mo_due: list[tuple[float, int, bytes]] = []  # when, in which order, what
        self._mo_parts = 0

    def buildProtocol(self, addr: IAddress | None) -> Peer:  # noqa: N802
        return Peer(self)

    def startFactory(self) -> None:  # noqa: N802
        self._tick()

    def stopFactory(self) -> None:  # noqa: N802
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def send_mo(self, mobiles: Mobiles) -> None:
        """From now on mobiles send messages."""
        self._mobiles = mobiles
        self._next_mo = self._reactor.seconds() + mobiles.every

    def receiver_came(self, system_id: str) -> None:
        """What had nobody to go to is due again."""
        self._again.extend((system_id, pdu) for pdu in self._parked.pop(system_id, ()))

    def deliver_to(self, system_id: str, pdu: bytes) -> None:
        """A deliver_sm that did not arrive, for whoever receives for this system_id."""
        self._again.append((system_id, pdu))

    def deliver_later(self, system_id: str, pdu: bytes) -> None:
        """A deliver_sm that was refused for now."""
        self._later.append((self._reactor.seconds() + _RETRY, system_id, pdu))

    # --- submit_sm

    def submit(self, peer: Peer, sequence: int, buf: bytes, start: int, end: int) -> bytes | None:
        """The answer to write now, if any."""
        b = self.behaviour
        now = self._reactor.seconds()
        try:
            fields = fast.decode_sm(buf, start, end)
        except RejectPdu as error:
            return fast.header(commands.SUBMIT_SM | commands.RESP, error.status, sequence)
        status = b.status(now)
        if status:
            return fast.header(commands.SUBMIT_SM | commands.RESP, status, sequence)
        number = self.take(peer, fields)
        if self._octets:
            self.write_down(f"O {number} {buf[start:end].hex()}\n")
        if b.happens(b.faults.lose):
            return None
        answer = fast.submit_resp(sequence, str(number))
        if self.congestion:
            answer = fast.frame(commands.SUBMIT_SM | commands.RESP, 0, sequence, b"%d\0\4\x28\0\1%c" % (number, self.congestion))
        if b.faults.late:
            self._answers.append((now + b.faults.late, peer, answer))
            return None
        return answer

    def take(self, peer: Peer, fields: tuple[Any, ...]) -> int:
        """The number of a message that is taken now."""
        b = self.behaviour
        now = self._reactor.seconds()
        number = b.next_id()
        if self._note is not None:
            self._note(f"S {number} {fields[6]}\n")
        if fields[12] & 3:
            entry = (now + b.faults.delay, peer, number, fields, now)
            if b.happens(b.faults.receipt_first):
                self._receipt(entry)
            else:
                self._due.append(entry)
        return number

    # --- what operations.py asks

    def now(self) -> float:
        return float(self._reactor.seconds())

    def write_down(self, line: str) -> None:
        if self._note is not None:
            self._note(line)

    def waiting(self, number: int) -> Entry | None:
        """The message, where its receipt is still to come."""
        return next((e for e in self._due if e[2] == number), None)

    def cancel(self, number: int) -> bool:
        """It gets the receipt DELETED."""
        entry = self.waiting(number)
        if entry is None:
            return False
        self._due.remove(entry)
        self.cancelled.add(number)
        _, peer, _, fields, submitted = entry
        pdu = self._pdu(number, fields, "DELETED", "000", submitted, 0x04)
        self._again.append((peer.system_id, pdu))
        return True

    def _tick(self) -> None:
        self._timer = self._reactor.callLater(_TICK, self._tick)
        now = self._reactor.seconds()
        while self._answers and self._answers[0][0] <= now:
            _, peer, answer = self._answers.popleft()
            peer.write(answer)
        out: dict[Peer, list[bytes]] = {}
        while self._later and self._later[0][0] <= now:
            self._again.append(self._later.popleft()[1:])
        again, self._again = self._again, deque()
        for system_id, pdu in again:
            self._deliver(self._receiver(None, system_id), system_id, [pdu], out)
        due = self._due
        while due and due[0][0] <= now:
            self._receipt(due.popleft(), out)
        for peer, pdus in out.items():
            peer.write(b"".join(pdus))
        if self._mobiles is not None:
            self._send_mo(self._mobiles, now)

    def _receiver(self, wanted: Peer | None, system_id: str) -> Peer | None:
        if wanted is not None and wanted.receives:
            return wanted
        return next((p for p in self.peers if p.receives and p.system_id == system_id), None)

    def _deliver(self, peer: Peer | None, system_id: str, pdus: list[bytes], out: dict[Peer, list[bytes]] | None) -> None:
        """Adds to `out`, or writes at once; a real SMSC keeps it until somebody binds."""
        if peer is None:
            self._parked.setdefault(system_id, deque(maxlen=_PARKED)).extend(pdus)
            return
        numbered = [peer.numbered(pdu) for pdu in pdus]
        if out is None:
            peer.write(b"".join(numbered))
        else:
            out.setdefault(peer, []).extend(numbered)

    def _receipt(self, entry: Entry, out: dict[Peer, list[bytes]] | None = None) -> None:
        _, wanted, number, f, submitted = entry
        b = self.behaviour
        stat, err = b.receipt_state()
        if f[12] & 3 == 2 and stat == "DELIVRD":
            return
        pdus = []
        if b.faults.intermediate:
            pdus.append(self._pdu(number, f, "ENROUTE", "000", submitted, 0x20))
        pdus.append(self._pdu(number, f, stat, err, submitted, 0x04))
        if b.happens(b.faults.duplicate):
            pdus.append(pdus[-1])
        self.receipts += len(pdus)
        if b.faults.acknowledge:
            reference = (f[17] or {}).get(tags.USER_MESSAGE_REFERENCE)
            pdus.append(acknowledgement(b.faults.acknowledge, f[1:4], f[4:7], b.receipt_id(number), reference))
        self._deliver(self._receiver(wanted, wanted.system_id), wanted.system_id, pdus, out)

    def _pdu(self, number: int, f: tuple[Any, ...], stat: str, err: str, submitted: float, esm_class: int) -> bytes:
        id = self.behaviour.receipt_id(number)
        text = format_receipt(id, stat, err, submitted, self._reactor.seconds(), "", 1, 1 if stat == "DELIVRD" else 0)
        named = id.encode() + b"\0"
        tlvs = b"%b%b%b%c" % (
            _TLV.pack(tags.RECEIPTED_MESSAGE_ID, len(named)), named,
            _TLV.pack(tags.MESSAGE_STATE, 1), STATES.index(stat),
        )  # fmt: skip
        if err != "000":
            tlvs += _TLV.pack(tags.NETWORK_ERROR_CODE, 3) + b"\3" + int(err).to_bytes(2, "big")
        return fast.encode_sm(
            commands.DELIVER_SM, 0, b"", f[4], f[5], f[6], f[1], f[2], f[3],
            esm_class, 0, 0, b"", b"", 0, 0, 0, 0, text, tlvs,
        )  # fmt: skip

    def _send_mo(self, m: Mobiles, now: float) -> None:
        """Nothing new while nobody receives; parts go to whoever does."""
        peer = next((p for p in self.peers if p.receives), None)
        if peer is None:
            return
        if now >= self._next_mo and not (m.count and self._mo_sent >= m.count):
            self._next_mo = now + m.every
            for _ in range(m.at_once):
                self._mo_sent += 1
                for i, pdu in enumerate(m.pdus(self._mo_sent, self.behaviour.chance)):
                    self._mo_parts += 1
                    heappush(self._mo_due, (now + i * m.gap, self._mo_parts, pdu))
        going = []
        while self._mo_due and self._mo_due[0][0] <= now:
            going.append(heappop(self._mo_due)[2])
        if going:
            self._deliver(peer, peer.system_id, going, None)
