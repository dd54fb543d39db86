"""From a message to the submit_sm PDUs that a connector sends for it. Pure."""

from __future__ import annotations

from protei_bulk.model.message import Message
from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands, fast, times
from protei_bulk.text import segments

_UDHI = 0x40


#: our lane -> priority_flag (SMPP 3.4 section 5.2.14): a normal message has none
_PRIORITY = (0, 0, 1, 2)


class Encoder:
    """Knows how one SMSC wants its submit_sm."""

    def __init__(self, settings: Smsc) -> None:
        self._s = settings
        self._reference = 0
        self.tlvs = settings.interface_version != "3.3"  # lowered by an SMSC that speaks 3.3

    def parts(self, m: Message) -> tuple[tuple[bytes, bytes], ...]:
        """(UDH, body) of each segment of a message that must be split here."""
        self._reference = self._reference + 1 & 0xFF
        split = segments.split_body(m.body, m.data_coding, self._reference)
        return tuple(zip(split.udhs, split.parts, strict=True))

    def submit_sm(self, m: Message, sequence: int, now: float, udh: bytes, body: bytes) -> bytes:
        """One PDU with its header."""
        s = self._s
        esm_class = m.esm_class | _UDHI if udh else m.esm_class
        validity = times.relative(m.valid_until - now) if m.valid_until else b""
        return fast.encode_sm(
            commands.SUBMIT_SM, sequence, m.service_type.encode("latin-1") if m.service_type else b"",
            m.source_ton if s.source_ton < 0 else s.source_ton, m.source_npi if s.source_npi < 0 else s.source_npi, m.source,
            m.dest_ton if s.dest_ton < 0 else s.dest_ton, m.dest_npi if s.dest_npi < 0 else s.dest_npi, m.dest,
            esm_class, m.protocol_id, _PRIORITY[m.priority], b"", validity, 1 if m.registered & 0x13 else 0, 0, m.data_coding, 0,
            udh + body if udh else body, fast.encode_tlvs(m.tlvs) if m.tlvs and self.tlvs else b"",
        )  # fmt: skip
