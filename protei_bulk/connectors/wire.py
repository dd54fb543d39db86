"""From a message to the submit_sm PDUs that a connector sends for it. Pure."""

from __future__ import annotations

from protei_bulk.model.message import Message
from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands, fast
from protei_bulk.text import segments

_UDHI = 0x40


def time_left(seconds: float) -> bytes:
    """A relative validity period, `YYMMDDhhmmss000R` (SMPP 3.4 section 7.1.1.2), of at most 63 days."""
    s = min(int(seconds), 63 * 86_400)
    days, s = divmod(s, 86_400)
    months, days = divmod(days, 30)
    return b"%02d%02d%02d%02d%02d%02d000R" % (0, months, days, s // 3600, s // 60 % 60, s % 60)


class Encoder:
    """Knows how one SMSC wants its submit_sm."""

    def __init__(self, settings: Smsc) -> None:
        self._s = settings
        self._reference = 0

    def is_single(self, m: Message) -> bool:
        return m.segments == 1 or bool(m.udh)

    def parts(self, m: Message) -> tuple[tuple[bytes, bytes], ...]:
        """(UDH, body) of each segment of a message that must be split here."""
        self._reference = self._reference + 1 & 0xFF
        split = segments.split_body(m.body, m.data_coding, self._reference)
        return tuple(zip(split.udhs, split.parts, strict=True))

    def submit_sm(self, m: Message, sequence: int, now: float, udh: bytes, body: bytes) -> bytes:
        """One PDU with its header."""
        s = self._s
        esm_class = m.esm_class | _UDHI if udh else m.esm_class
        validity = time_left(m.valid_until - now) if m.valid_until else b""
        return fast.encode_sm(
            commands.SUBMIT_SM, sequence, b"",
            m.source_ton if s.source_ton < 0 else s.source_ton, m.source_npi if s.source_npi < 0 else s.source_npi, m.source,
            m.dest_ton if s.dest_ton < 0 else s.dest_ton, m.dest_npi if s.dest_npi < 0 else s.dest_npi, m.dest,
            esm_class, m.protocol_id, m.priority, b"", validity, m.registered & 1, 0, m.data_coding, 0,
            udh + body if udh else body, fast.encode_tlvs(m.tlvs) if m.tlvs else b"",
        )  # fmt: skip
