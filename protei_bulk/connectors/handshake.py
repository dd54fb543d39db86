"""How a connection to an SMSC becomes a bind: the outbind that is waited for, the request, and what version is spoken then."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands
from protei_bulk.smpp.codec import Pdu, encode

_BINDS = {
    "transceiver": commands.BIND_TRANSCEIVER,
    "transmitter": commands.BIND_TRANSMITTER,
    "receiver": commands.BIND_RECEIVER,
}
_VERSIONS = {"3.3": 0x33, "3.4": 0x34, "5.0": 0x50}


class Handshake:
    """`outbind` waits for the SMSC's outbind, and then binds as a receiver (SMPP 3.4 section 2.2.1)."""

    def __init__(self, settings: Smsc, write: Callable[[bytes], None], *, outbind: bool) -> None:
        self._s, self._write, self._waits = settings, write, outbind
        self.command = commands.BIND_RECEIVER if outbind else _BINDS[settings.bind]
        self.kind = "receiver" if outbind else settings.bind
        self.version = _VERSIONS[settings.interface_version]

    def begin(self) -> None:
        """The connection stands."""
        if not self._waits:
            self._send()

    def _send(self) -> None:
        s = self._s
        fields = {
            "system_id": s.system_id, "password": s.password, "system_type": s.system_type, "interface_version": self.version,
            "addr_ton": 0, "addr_npi": 0, "address_range": "",
        }  # fmt: skip
        self._write(encode(Pdu(self.command, 0, 1, fields)))

    def outbind(self, pdu: Pdu) -> str:
        """The SMSC names itself: binds, or says why not. One that nobody waits for means nothing."""
        if not self._waits:
            return ""
        self._waits = False
        system_id, password = pdu.fields["system_id"].encode("latin-1"), pdu.fields["password"].encode("latin-1")
        if self._s.outbind_system_id and not compare_digest(system_id, self._s.outbind_system_id.encode()):
            return "an outbind of another system_id"
        if not compare_digest(password, self._s.outbind_password.encode()):
            return "an outbind with a wrong password"
        self._send()
        return ""

    def agreed(self, theirs: int) -> int:
        """What both sides speak; `theirs` is 0 where the SMSC does not say."""
        if theirs:
            self.version = min(self.version, max(0x33, theirs))
        return self.version
