"""From a message to the submit_sm PDUs that a connector sends for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from protei_bulk.connectors.rewriting import rewritten
from protei_bulk.model.long import OWN_RECEIPT
from protei_bulk.model.message import Message
from protei_bulk.settings import Rewrite, Smsc
from protei_bulk.smpp import commands, fast, tags, times
from protei_bulk.text import alphabets, gsm
from protei_bulk.text.forms import AS_SUBMITTED, PAYLOAD, UDH, Form, Sar, Style, forms
from protei_bulk.text.shifts import identifiers

_UDHI = 0x40
_SAR = (tags.SAR_MSG_REF_NUM, tags.SAR_TOTAL_SEGMENTS, tags.SAR_SEGMENT_SEQNUM)
#: our lane -> priority_flag (SMPP 3.4 section 5.2.14): a normal message has none
_PRIORITY = (0, 0, 1, 2)
#: registered_delivery as its sender asked for it (SMPP 3.4 section 5.2.17) -> what an SMSC is asked for. A receipt of every final
#: state where anybody wants any, for that is how the gateway knows it; intermediate notifications and SME acknowledgements as asked.
ASKED = tuple((1 if r & (0x13 | OWN_RECEIPT) else 0) | r & 0x1C for r in range(256))


class Encoder:
    """Knows how one SMSC wants its submit_sm."""

    def __init__(self, settings: Smsc) -> None:
        self._s = s = settings
        self._reference = 0
        self.rewrites: Mapping[str, Rewrite] = {}  # by the rule of a message
        self._style = Style(s.alphabet, identifiers(s.national_shifts), s.reference_bits == 16, s.long_messages)
        #: whether all goes out as it is, but for texts that must be split
        self.plain = s.alphabet == alphabets.GSM7 and not s.national_shifts and s.long_messages == AS_SUBMITTED
        self.tlvs = settings.interface_version != "3.3"  # lowered by an SMSC that speaks 3.3

    def as_it_is(self, m: Message) -> bool:
        """Whether a message of one segment goes out as `submit_sm` has it. Asked where the encoder is not plain."""
        style = self._style
        if m.udh or (m.tlvs is not None and tags.SAR_TOTAL_SEGMENTS in m.tlvs):
            return style.alphabet == alphabets.GSM7 and style.long in (AS_SUBMITTED, PAYLOAD) and (self.tlvs or bool(m.udh))
        if style.alphabet == alphabets.GSM7:
            return True
        if style.alphabet == alphabets.PACKED:
            return alphabets.alphabet(m.data_coding) != alphabets.GSM7
        return m.data_coding != 0 or not m.body.translate(None, gsm.SAME_AS_ASCII)

    def forms(self, m: Message) -> list[Form]:
        """What this SMSC gets for a message, a PDU each. Raises TooLong where it would be more than 255."""
        self._reference = self._reference + 1 & 0xFFFF
        style = self._style
        if not self.tlvs and style.long != UDH:
            style = evolve(style, long=UDH)
        return forms(style, m.data_coding, m.udh, m.body, _sar(m.tlvs), self._reference)

    def submit_form(self, m: Message, sequence: int, now: float, form: Form) -> bytes:
        """One PDU of a message in another form than it has."""
        s = self._s
        tlvs = {tag: value for tag, value in m.tlvs.items() if tag not in _SAR} if m.tlvs else {}
        if form.sar is not None:
            reference, total, number = form.sar
            values = ((reference & 0xFFFF).to_bytes(2, "big"), bytes((total,)), bytes((number,)))
            tlvs.update(zip(_SAR, values, strict=True))
        octets = form.udh + form.octets
        if form.payload:
            tlvs[tags.MESSAGE_PAYLOAD], octets = octets, b""
        a = rewritten(m, self.rewrites[m.route]) if self.rewrites and m.route in self.rewrites else m
        return fast.encode_sm(
            commands.SUBMIT_SM, sequence, m.service_type.encode("latin-1") if m.service_type else b"",
            a.source_ton if s.source_ton < 0 else s.source_ton, a.source_npi if s.source_npi < 0 else s.source_npi, a.source,
            a.dest_ton if s.dest_ton < 0 else s.dest_ton, a.dest_npi if s.dest_npi < 0 else s.dest_npi, a.dest,
            m.esm_class | _UDHI if form.udh else m.esm_class, m.protocol_id, _PRIORITY[m.priority], b"",
            times.relative(m.valid_until - now) if m.valid_until else b"", ASKED[m.registered], 0, form.data_coding, 0,
            octets, fast.encode_tlvs(tlvs) if tlvs and self.tlvs else b"",
        )  # fmt: skip

    def submit_sm(self, m: Message, sequence: int, now: float, udh: bytes, body: bytes) -> bytes:
        """One PDU with its header."""
        s = self._s
        esm_class = m.esm_class | _UDHI if udh else m.esm_class
        validity = times.relative(m.valid_until - now) if m.valid_until else b""
        a = rewritten(m, self.rewrites[m.route]) if self.rewrites and m.route in self.rewrites else m
        return fast.encode_sm(
            commands.SUBMIT_SM, sequence, m.service_type.encode("latin-1") if m.service_type else b"",
            a.source_ton if s.source_ton < 0 else s.source_ton, a.source_npi if s.source_npi < 0 else s.source_npi, a.source,
            a.dest_ton if s.dest_ton < 0 else s.dest_ton, a.dest_npi if s.dest_npi < 0 else s.dest_npi, a.dest,
            esm_class, m.protocol_id, _PRIORITY[m.priority], b"", validity, ASKED[m.registered], 0, m.data_coding, 0,
            udh + body if udh else body, fast.encode_tlvs(m.tlvs) if m.tlvs and self.tlvs else b"",
        )  # fmt: skip


def _sar(tlvs: dict[int, bytes] | None) -> Sar | None:
    """The place that sar_* parameters give a part (SMPP 3.4 sections 5.3.2.22 to 24); None where they are not all right."""
    if tlvs is None:
        return None
    reference, total, number = (tlvs.get(tag, b"") for tag in _SAR)
    if len(reference) != 2 or len(total) != 1 or len(number) != 1 or not 1 <= number[0] <= total[0]:
        return None
    return int.from_bytes(reference, "big"), total[0], number[0]
