"""One gateway for all clients, over TCP and TLS, with the SMSCs behind it; what a client has seen."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import fast
from tests.interop import messages
from tests.interop.far_end import NODE_SMPP, NodeSmsc
from tests.interop.messages import Arrived
from tests.support import programs
from tests.support.certificates import self_signed
from tests.support.gateway import Gateway, Outside, eventually, free_port
from tests.support.once import Once

SENDER = "MyCompany"
ANSWERED = 30.0  # seconds that a client gets for all it has to do
PEERS = Path(__file__).with_name("peers")
#: an account each, so that nobody's receipts go to somebody else, with the number that mobiles dial for it
USERS = {
    "smpplib": "1001", "smpplib-tls": "1002", "node": "1003", "node-tls": "1004", "perl": "1005", "kannel": "1006", "kannel-tls": "1007",
}  # fmt: skip
#: SMSCs on node's library: how the numbers of each begin, and what its [[smsc]] has beside
FAR_ENDS = {
    "NODE": ("96271", ""),
    "NODE-TLS": ("96272", "tls = true\ntls_ca = {certificate}"),
    "NODE-SAR": ("96273", 'long_messages = "sar"'),
    "NODE-PAYLOAD": ("96274", 'long_messages = "payload"'),
    "NODE-TEXT": ("96275", ""),  # its receipts have no TLVs
}
#: Kannel's drive_smpp, which knows no transceiver: one SMSC to the gateway for each direction
DRIVE_USER, DRIVE_NUMBER, DRIVE_MOBILE = "kannel-drive", "123", "456"


@frozen
class Shared:
    gateway: Gateway
    tls_port: int
    certificate: Path
    far_end: NodeSmsc | None  # None where there is no node
    drive_port: int


_numbers = itertools.count(1000001)


def _started() -> Shared:
    tls_port, drive_port = free_port(), free_port()
    gateway = Gateway()
    atexit.register(gateway.stop)
    certificate, key = self_signed(gateway.folder)
    gateway.settings += f"""
[smpp.tls]
listen = ["tcp:{tls_port}:interface=127.0.0.1"]
certificate = {json.dumps(str(certificate))}
private_key = {json.dumps(str(key))}
"""
    gateway.simulate("SMSC1", "--octets")
    far_end = None
    with contextlib.suppress(SkipTest):
        far_end = NodeSmsc(gateway.folder, list(FAR_ENDS), ["NODE-TLS"], certificate, key)
        atexit.register(far_end.stop)
        for name, (prefix, settings) in FAR_ENDS.items():
            gateway.attach(name, far_end.outside(name), settings=settings.format(certificate=json.dumps(str(certificate))))
            gateway.settings += _route(name, prefix)
    for name, bind in (("DRIVE-TX", "transmitter"), ("DRIVE-RX", "receiver")):
        gateway.attach(name, Outside(drive_port), settings=f'bind = "{bind}"')
    gateway.settings += _route("DRIVE-TX", DRIVE_MOBILE)
    for user, number in [*USERS.items(), (DRIVE_USER, DRIVE_NUMBER)]:
        gateway.settings += f"""
[[mo]]
name = "{user}"
match = {{ dest = ["{number}"] }}
to = {{ user = "{user}" }}
"""
    users = dict.fromkeys(USERS, ("--sender", SENDER))
    gateway.accounts({**users, DRIVE_USER: ("--sender", DRIVE_NUMBER)})
    gateway.start()
    return Shared(gateway, tls_port, certificate, far_end, drive_port)


def _route(smsc: str, prefix: str) -> str:
    return f"""
[[route]]
name = "{smsc}"
order = 10
to = ["{smsc}"]
match = {{ prefix = ["{prefix}"] }}
"""


#: started with the first test, ends with the process
shared = Once(_started)


@frozen
class Answer:
    """A submit_sm_resp."""

    status: int
    id: str


@frozen
class Delivered:
    """A deliver_sm, as the client's library has read it: a text, or octets."""

    esm_class: int
    source: str
    dest: str
    coding: int
    text: str
    octets: bytes
    udh: bytes
    id: str  # receipted_message_id; "" where there is none
    state: int  # message_state; -1 where there is none


@frozen
class Conversation:
    """What a client saw. Statuses are command_status, None where nothing came."""

    bound: int | None
    answers: tuple[Answer, ...]
    delivered: tuple[Delivered, ...]
    enquired: int | None
    unbound: int | None


class Interop(SynchronousTestCase):
    user: ClassVar[str]
    tls: ClassVar[bool] = False
    far_end: ClassVar[str] = ""  # of FAR_ENDS: which SMSC the messages go to; "": ours

    def setUp(self) -> None:
        self.shared = shared()
        self.gateway = self.shared.gateway
        self.port = self.shared.tls_port if self.tls else self.gateway.smpp_port
        if self.far_end and self.shared.far_end is None:
            programs.node(NODE_SMPP)  # says why

    def number(self) -> str:
        """A recipient that nobody else has."""
        prefix = FAR_ENDS[self.far_end][0] if self.far_end else "96278"
        return f"{prefix}{next(_numbers)}"

    def arrived(self, dest: str) -> list[Arrived]:
        """The submit_sm that the SMSC has got for this recipient until now."""
        if self.far_end:
            assert self.shared.far_end is not None
            return self.shared.far_end.submitted(dest)
        return submitted(self.gateway.simulators["SMSC1"].ledger, dest)

    def whole(self, dest: str) -> list[Arrived]:
        """The same, once all parts of the message are there."""
        eventually(lambda: messages.whole(self.arrived(dest)) is not None, f"all of {dest}", ANSWERED)
        return self.arrived(dest)

    def delivered(self, ids: Sequence[str]) -> list[str]:
        """The stored texts of these messages, in this order, when all are delivered."""
        sql = "SELECT message_id, message_text FROM messages WHERE message_id = ANY(%s) AND status = 'DELIVERED'"
        eventually(lambda: len(self.gateway.query(sql, (list(ids),))) == len(ids), f"{ids} delivered", ANSWERED)
        texts = dict(self.gateway.query(sql, (list(ids),)))
        return [texts[id] for id in ids]


def submitted(ledger: Path, dest: str) -> list[Arrived]:
    """What a simulator with --octets has written down for this recipient."""
    found = []
    text = ledger.read_text()
    for line in text[: text.rfind("\n") + 1].splitlines():  # the last one may be half written
        kind, _, octets = line.split(" ")
        if kind == "O":
            body = bytes.fromhex(octets)
            f = fast.decode_sm(body, 0, len(body))
            if f[6] == dest:
                found.append(Arrived(f[3], f[6], f[7], f[12], f[14], f[16], f[17] or {}))
    return found
