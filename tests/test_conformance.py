"""The conformance tables of docs/smpp.md, held against the code: complete, and each line true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.connectors.verdicts import Verdict, verdict
from protei_bulk.connectors.wire import Encoder
from protei_bulk.model import message as refusals
from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands as c
from protei_bulk.smpp import fast, statuses, tags
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.store.messages import row_of
from tests.channels.smpp.fakes import Peer, World, bind, pdus, submit

ROOT = Path(__file__).resolve().parents[1]
WORDS = {"PAUSE": "pause", "RETRY": "again", "NEXT": "elsewhere", "REJECT": "ends"}


def table(title: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = (ROOT / "docs" / "smpp.md").read_text().split(f"### {title}\n", 1)[1]
    rows = []
    for line in section.splitlines():
        if line.startswith("#"):
            break
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[2:]


class Operations(SynchronousTestCase):
    def test_all_are_there_with_their_tests(self) -> None:
        rows = table("Operations")
        named = {name for row in rows for name in row[0].split(", ")}
        self.assertEqual(set(c._NAMES.values()), named)
        for row in rows:
            for file in row[3].split(", "):
                self.assertTrue((ROOT / "tests" / file).is_file(), file)


class Tlvs(SynchronousTestCase):
    def test_all_are_there(self) -> None:
        found = {}
        for tag, name, octets, since, _ in table("TLVs"):
            least, _, most = octets.partition(" to ")
            found[int(tag, 16)] = (name, int(least), int(most or least), since)
        self.assertEqual({t: (tags.name(t), r.least, r.most, r.since) for t, r in tags.RULES.items()}, found)

    def test_what_is_carried_arrives_whatever_its_length(self) -> None:
        encoder = Encoder(Smsc(id="a", host="h", port=1))
        carried = [int(row[0], 16) for row in table("TLVs") if "carried" in row[4]] + [0x1400, 0x3FFF, 0x0003, 0xFFFF]
        self.assertGreater(len(carried), 50)
        for tag in carried:
            for value in (b"", b"\1", b"any \0 octets at all"):
                frame = submit(1, b"hi", tlvs={tag: value})
                m = message_of(fast.decode_sm(frame, 16, len(frame)), 0.0)
                self.assertEqual({str(tag): value.hex()}, row_of(m, "")["m"]["tl"])
                [sent] = pdus(encoder.submit_sm(m, 1, 0.0, b"", m.body))
                self.assertEqual({tag: value}, sent.tlvs, tags.name(tag))


class Statuses(SynchronousTestCase):
    def test_all_are_there(self) -> None:
        rows = table("Statuses")
        self.assertEqual(["any other", "", "", "ends"], rows[-1])
        self.assertEqual({f"0x{n:02X}": name for n, name in statuses._NAMES.items()}, {row[0]: row[1] for row in rows[:-1]})

    def test_what_an_smsc_says(self) -> None:
        for number, _, _, told in table("Statuses")[1:-1]:
            self.assertEqual(WORDS[verdict(int(number, 16)).name], told, number)
        self.assertIs(Verdict.REJECT, verdict(0x400))

    def test_each_that_an_esme_is_told_has_its_case(self) -> None:
        told = {int(row[0], 16) for row in table("Statuses")[:-1] if row[2]}
        self.assertEqual(told, set(CASES))
        for status, case in CASES.items():
            world = World()
            self.assertEqual(statuses.name(status), statuses.name(case(world)), case)


def ask(pdu: Pdu | bytes, *, version: int = 0x34, kind: int = c.BIND_TRANSCEIVER) -> Callable[[World], int]:
    """The status of the answer to a request of a bound ESME."""

    def run(world: World) -> int:
        peer = world.connect()
        peer.bind(kind, version=version)
        peer.read()
        peer.send(pdu if isinstance(pdu, bytes) else encode(pdu))
        return peer.read()[0].status

    return run


def raw(command: int, body: bytes) -> bytes:
    return fast.frame(command, 0, 9, body)


def unbound(data: bytes) -> Callable[[World], int]:
    def run(world: World) -> int:
        peer = world.connect()
        peer.send(data)
        return peer.read()[0].status

    return run


def refused(code: str, **fields: Any) -> Callable[[World], int]:
    def run(world: World) -> int:
        world.auth.code = code
        return unbound(bind(1, password="wrong"))(world)

    return run


def intake(refusal: refusals.Refusal) -> Callable[[World], int]:
    """What the intake refuses, as submit_sm_resp says it."""

    def run(world: World) -> int:
        peer: Peer = world.bound()
        world.intake.hold = True
        peer.submit()
        world.intake.messages[0].refusal = refusal
        world.intake.answer()
        return peer.read()[0].status

    return run


def operation(pdu: Pdu, status: int = 0, *, broken: bool = False) -> Callable[[World], int]:
    def run(world: World) -> int:
        world.operations.status, world.operations.broken = status, broken
        return ask(pdu)(world)

    return run


def _busy(world: World) -> int:
    world.auth.account = type(world.auth.account)(user_id=7, username="ahmad", customer_id=1, max_tps=1)
    peer = world.bound()
    peer.submit()
    peer.submit()
    return peer.read()[1].status


def _multi(*destinations: Any) -> Pdu:
    return Pdu(c.SUBMIT_MULTI, 0, 9, {"destinations": list(destinations), "short_message": b"x"})


CASES: dict[int, Callable[[World], int]] = {
    statuses.ESME_ROK: ask(submit(3)),
    statuses.ESME_RINVMSGLEN: ask(raw(c.SUBMIT_SM, submit(3)[16:-3])),
    statuses.ESME_RINVCMDLEN: ask(b"\0\0\0\1" + bytes(12)),
    statuses.ESME_RINVCMDID: ask(raw(0x7777, b"")),
    statuses.ESME_RINVBNDSTS: ask(submit(3), kind=c.BIND_RECEIVER),
    statuses.ESME_RALYBND: ask(bind(3)),
    statuses.ESME_RSYSERR: intake(refusals.SYSTEM_ERROR),
    statuses.ESME_RINVSRCADR: intake(refusals.SENDER_NOT_ALLOWED),
    statuses.ESME_RINVDSTADR: intake(refusals.INVALID_DESTINATION),
    statuses.ESME_RINVMSGID: operation(Pdu(c.QUERY_SM, 0, 9, {"message_id": "x"})),
    statuses.ESME_RBINDFAIL: refused("NOT_PERMITTED"),
    statuses.ESME_RINVPASWD: refused("INVALID_CREDENTIALS"),
    statuses.ESME_RINVSYSID: unbound(raw(c.BIND_RECEIVER, b"x" * 16 + b"\0")),
    statuses.ESME_RCANCELFAIL: operation(Pdu(c.CANCEL_SM, 0, 9, {"message_id": "x"}), statuses.ESME_RCANCELFAIL),
    statuses.ESME_RREPLACEFAIL: operation(Pdu(c.REPLACE_SM, 0, 9, {"message_id": "x"}), statuses.ESME_RREPLACEFAIL),
    statuses.ESME_RMSGQFUL: intake(refusals.QUEUE_FULL),
    statuses.ESME_RINVSERTYP: ask(raw(c.SUBMIT_SM, b"sixsix\0" + submit(3)[17:])),
    statuses.ESME_RINVNUMDESTS: ask(_multi()),
    statuses.ESME_RINVDLNAME: ask(_multi("friends")),
    statuses.ESME_RINVDESTFLAG: ask(raw(c.SUBMIT_MULTI, b"\0\0\0\0\1\7")),
    statuses.ESME_RINVESMCLASS: ask(submit(3, b"", esm_class=0x40)),
    statuses.ESME_RSUBMITFAIL: intake(refusals.QUOTA_EXCEEDED),
    statuses.ESME_RINVSYSTYP: unbound(raw(c.BIND_RECEIVER, b"me\0pw\0" + b"x" * 13 + b"\0")),
    statuses.ESME_RTHROTTLED: _busy,
    statuses.ESME_RINVSCHED: ask(submit(3, schedule=b"soon")),
    statuses.ESME_RINVEXPIRY: ask(submit(3, validity=b"soon")),
    statuses.ESME_RINVDFTMSGID: ask(Pdu(c.SUBMIT_SM, 0, 9, {"sm_default_msg_id": 1})),
    statuses.ESME_RQUERYFAIL: operation(Pdu(c.QUERY_SM, 0, 9, {"message_id": "x"}), broken=True),
    statuses.ESME_RINVOPTPARSTREAM: ask(raw(c.SUBMIT_SM, submit(3)[16:] + b"\0\1\0\5x")),
    statuses.ESME_ROPTPARNOTALLWD: ask(submit(3, tlvs={tags.MESSAGE_PAYLOAD: b"x"})),
    statuses.ESME_RPROHIBITED: ask(Pdu(c.BROADCAST_SM, 0, 9), version=0x50),
}
