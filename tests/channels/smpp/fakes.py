"""An ESME's end of a session, and what a session needs around it."""

from __future__ import annotations

from struct import unpack
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from protei_bulk.access.service import AuthResult
from protei_bulk.channels.smpp.delivery import Delivery
from protei_bulk.channels.smpp.factory import SmppFactory
from protei_bulk.channels.smpp.session import EsmeSession
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.model.standing import Standing
from protei_bulk.settings import Smpp
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, decode, encode

RESP = commands.RESP
AHMAD = Account(user_id=7, username="ahmad", customer_id=1)


class Transport(StringTransport):
    """Notes aborts and counts pauses."""

    aborted = False
    paused = False

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        pass

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True
        super().abortConnection()

    def pauseProducing(self) -> None:  # noqa: N802
        self.paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        self.paused = False


class Auth:
    """Says yes to `secret`; `waiting` holds the answers back where it is a list."""

    def __init__(self) -> None:
        self.account = AHMAD
        self.code = "INVALID_CREDENTIALS"
        self.waiting: list[tuple[Deferred[Any], Any]] | None = None
        self.broken: Exception | None = None
        self.asked: list[dict[str, Any]] = []

    def authenticate_smpp(self, db: Any = None, **values: Any) -> Deferred[Any]:
        self.asked.append(values)
        if self.broken is not None:
            d: Deferred[Any] = Deferred()
            d.errback(self.broken)
            return d
        if values["password"] == "secret":
            result = AuthResult(True, self.account, f"token-{len(self.asked)}", None, "")
        else:
            result = AuthResult(False, None, None, "no", self.code)
        if self.waiting is None:
            return succeed(result)
        d = Deferred()
        self.waiting.append((d, result))
        return d


class Intake:
    """Stores at once, or when `answer` is called where `hold` is set."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.held: list[Message] = []
        self.hold = False

    def submit(self, account: Account, m: Message) -> None:
        self.messages.append(m)
        m.id = f"MSG-{len(self.messages):012d}"
        self.held.append(m)
        if not self.hold:
            self.answer()

    def answer(self) -> None:
        held, self.held = self.held, []
        for m in held:
            assert m.origin is not None
            m.origin.answered([m])


class Operations:
    """Answers from `found` and `status`; `waiting` holds the answers back where it is a list."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self.found: list[Standing] = []
        self.status = 0
        self.asked: list[Any] = []
        self.replacing: list[Message] = []
        self.broken = False

    def _answer(self, result: Any) -> Deferred[Any]:
        return fail(OSError("gone")) if self.broken else succeed(result)

    def query(self, user_id: int, id: str) -> Deferred[list[Standing]]:
        self.asked.append((user_id, id))
        return self._answer(self.found)

    def cancel(self, wanted: Any) -> Deferred[int]:
        self.asked.append(wanted)
        return self._answer(self.status)

    def replace(self, wanted: Any) -> Deferred[int]:
        self.asked.append(wanted)
        return self._answer(self.status)

    def submit(self, account: Account, m: Message) -> None:
        self.replacing.append(m)
        self._intake.submit(account, m)


class ShortIds:
    def __init__(self) -> None:
        self.number = 0xABC
        self.empty = False

    def next(self) -> str:
        self.number += 1
        return "" if self.empty else f"{self.number:08X}"


class Rows:
    def __init__(self) -> None:
        self.ended: list[str] = []
        self.activity: list[Any] = []
        self.broken = False
        self.disconnected: list[str] = []

    def ended_among(self, tokens: list[str]) -> Deferred[list[str]]:
        return succeed([t for t in tokens if t in self.disconnected])

    def closed_many(self, tokens: list[str]) -> Deferred[Any]:
        if self.broken:
            d: Deferred[Any] = Deferred()
            d.errback(OSError("gone"))
            return d
        self.ended += tokens
        return succeed(None)

    def update_activity(self, rows: list[tuple[str, float, int, int]]) -> Deferred[Any]:
        self.activity.append(rows)
        return succeed(None)


class Outbox:
    """The store of Delivery: rows are (outbox_id, kind, stat, err, message, payload, created, message_id)."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.kept: list[dict[str, Any]] = []
        self.journal: list[int] = []
        self.gone: list[int] = []
        self.statuses: list[dict[str, int]] = []
        self.held: set[int] = set()
        self.broken = False
        self.hold: list[Deferred[Any]] | None = None

    def _answer(self, result: Any) -> Deferred[Any]:
        d: Deferred[Any] = Deferred()
        if self.broken:
            d.errback(OSError("gone"))
        elif self.hold is not None:
            self.hold.append(d)
            d.addCallback(lambda _: result)
        else:
            d.callback(result)
        return d

    def forwarded(self, journal_ids: list[int]) -> Deferred[int]:
        if not self.broken:
            self.journal += journal_ids
        return self._answer(len(journal_ids))

    def keep(self, rows: list[dict[str, Any]]) -> Deferred[int]:
        if not self.broken:
            self.kept += rows
        return self._answer(len(rows))

    def outbox(self, user_id: int, most: int) -> Deferred[list[Any]]:
        free = [] if self.broken else [r for r in self.rows if r[0] not in self.held][:most]
        self.held.update(r[0] for r in free)
        return self._answer(free)

    def release(self, outbox_ids: list[int]) -> Deferred[int]:
        if not self.broken:
            self.held.difference_update(outbox_ids)
        return self._answer(len(outbox_ids))

    def release_others(self, user_id: int, outbox_ids: list[int]) -> Deferred[int]:
        if not self.broken:
            self.held.intersection_update(outbox_ids)
        return self._answer(0)

    def told(self, rows: list[dict[str, int]]) -> Deferred[Any]:
        if not self.broken:
            self.statuses += rows
            self.rows = [r for r in self.rows if r[0] not in [t["o"] for t in rows]]
        return self._answer(len(rows))

    def delivered(self, outbox_ids: list[int]) -> Deferred[int]:
        if not self.broken:
            self.gone += outbox_ids
            self.rows = [r for r in self.rows if r[0] not in outbox_ids]
        return self._answer(len(outbox_ids))

    def waiting_users(self, user_ids: list[int]) -> Deferred[list[int]]:
        return self._answer(user_ids if any(r[0] not in self.held for r in self.rows) else [])


class World:
    """A factory with fakes all around it."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.auth, self.intake, self.rows, self.outbox = Auth(), Intake(), Rows(), Outbox()
        self.delivery = Delivery(self.outbox, self.clock)
        self.factory = SmppFactory(Smpp(**settings), self.clock, self.auth, self.intake, self.delivery, self.rows)  # type: ignore[arg-type]

        self.factory.operations = self.operations = Operations(self.intake)  # type: ignore[assignment]
        self.factory.short_ids = self.short_ids = ShortIds()  # type: ignore[assignment]
        self.factory.shared_id = lambda: "MSG-SHARED000000"

    def start(self) -> None:
        self.factory.start()
        self.delivery.start()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)

    def connect(self) -> Peer:
        return Peer(self)

    def bound(self, command: int = commands.BIND_TRANSCEIVER, **values: Any) -> Peer:
        peer = self.connect()
        peer.bind(command, **values)
        peer.read()
        return peer


class Peer:
    """An ESME."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.session: EsmeSession = world.factory.buildProtocol(None)
        self.transport = Transport()
        self.session.makeConnection(self.transport)
        self.sequence = 0

    @property
    def ended(self) -> bool:
        return self.transport.aborted or self.transport.disconnecting

    def send(self, data: bytes) -> None:
        """Gives octets to the session and lets everybody have their turn."""
        self.session.dataReceived(data)
        self.world.clock.advance(0)
        self.world.clock.advance(0)

    def next(self) -> int:
        self.sequence += 1
        return self.sequence

    def bind(self, command: int = commands.BIND_TRANSCEIVER, password: str = "secret", version: int = 0x34) -> None:
        self.send(bind(self.next(), command, password, version))

    def submit(self, text: bytes = b"Hello", **values: Any) -> None:
        self.send(submit(self.next(), text, **values))

    def request(self, command: int, sequence: int = 0, status: int = 0) -> None:
        self.send(fast.header(command, status, sequence or self.next()))

    def read(self) -> list[Pdu]:
        """What came since the last call."""
        found = pdus(self.transport.value())
        self.transport.clear()
        return found

    def answers(self) -> list[tuple[int, int]]:
        return [(p.command_id, p.status) for p in self.read()]

    def lose(self) -> None:
        self.session.connectionLost(Failure(ConnectionAborted() if self.transport.aborted else ConnectionDone()))


def bind(sequence: int, command: int = commands.BIND_TRANSCEIVER, password: str = "secret", version: int = 0x34) -> bytes:
    fields = {
        "system_id": "ahmad", "password": password, "system_type": "", "interface_version": version,
        "addr_ton": 0, "addr_npi": 0, "address_range": "",
    }  # fmt: skip
    return encode(Pdu(command, 0, sequence, fields))


def submit(sequence: int, body: bytes = b"Hello", *, esm_class: int = 0, data_coding: int = 0, priority: int = 0,
           dest: str = "962788123456", schedule: bytes = b"", validity: bytes = b"",
           tlvs: dict[int, bytes] | None = None) -> bytes:  # fmt: skip
    return fast.encode_sm(
        commands.SUBMIT_SM, sequence, b"", 5, 0, "Shop", 1, 1, dest, esm_class, 0, priority, schedule, validity, 1, 0, data_coding, 0,
        body, fast.encode_tlvs(tlvs or {}),
    )  # fmt: skip


def pdus(data: bytes) -> list[Pdu]:
    found = []
    while data:
        (length,) = unpack(">I", data[:4])
        found.append(decode(data[:length]))
        data = data[length:]
    return found
