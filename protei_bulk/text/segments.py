"""Long messages: cut into segments and counted (3GPP TS 23.040 sections 9.2.3.16 and 9.2.3.24)."""

from __future__ import annotations

from struct import Struct

from attrs import frozen

from protei_bulk.text import alphabets, gsm, headers
from protei_bulk.text.headers import concatenation

__all__ = [
    "MAX_SEGMENTS", "Encoded", "TooLong", "concatenation", "count_segments", "encode_text", "room", "sar_tlvs", "split_body",
]  # fmt: skip

MAX_SEGMENTS = 255
_CODING = {"GSM7": 0, "LATIN1": 3, "UCS2": 8}
_SAR = Struct(">HHHHHBHHB")
#: octets of a header that holds a concatenation element of 8 bits and nothing else
_HEADER = 6
_HIGH_SURROGATES = bytes(range(0xD8, 0xDC))
#: alphabets of which some characters take two octets and some one
_DOUBLE = ("shift_jis", "euc_kr")


class TooLong(ValueError):  # noqa: N818
    """More than 255 segments, or a part with more than its short message holds."""


@frozen
class Encoded:
    """A text ready to send: the user data headers carry their length octet; one b"" for a single message."""

    data_coding: int
    parts: tuple[bytes, ...]
    udhs: tuple[bytes, ...]

    @property
    def segments(self) -> int:
        return len(self.parts)

    @property
    def body(self) -> bytes:
        """All parts as one."""
        return b"".join(self.parts)


def encode_text(text: str, encoding: str, reference: int = 0, *, wide: bool = False) -> Encoded:
    """`encoding` is GSM7, LATIN1, UCS2 or AUTO (GSM7 where it suffices); `wide` takes 16-bit references.

    Raises NotGsm, UnicodeEncodeError, TooLong.
    """
    if encoding == "AUTO":
        encoding = "GSM7" if gsm.is_gsm(text) else "UCS2"
    coding = _CODING[encoding]
    return split_body(alphabets.encode_body(text, coding), coding, reference, wide=wide)


def room(data_coding: int, udh_octets: int = 0) -> int:
    """Septets (of the GSM alphabet) or octets of one short message beside a header of so many octets.

    140 octets hold both; septets begin at the next septet boundary behind the header.
    """
    if alphabets.alphabet(data_coding) == alphabets.GSM7:
        return (1120 - 8 * udh_octets) // 7
    return 140 - udh_octets


def split_body(body: bytes, data_coding: int, reference: int, *, wide: bool = False, elements: bytes = b"") -> Encoded:
    """Cuts a body, never within an escape pair or a surrogate pair. Raises TooLong.

    `elements` are information elements that every part's header must have, such as those of a shift.
    """
    alone = headers.header(elements)
    if len(body) <= room(data_coding, len(alone)):
        return Encoded(data_coding, (body,), (alone,))
    parts = _cut(body, data_coding, room(data_coding, _HEADER + wide + len(elements)))
    total = len(parts)
    if total > MAX_SEGMENTS:
        raise TooLong(f"{total} segments are more than {MAX_SEGMENTS}")
    udhs = tuple(
        headers.header(headers.concatenation_element(reference, total, n, wide=wide) + elements) for n in range(1, total + 1)
    )
    return Encoded(data_coding, tuple(parts), udhs)


def _cut(body: bytes, data_coding: int, most: int) -> list[bytes]:
    name = alphabets.alphabet(data_coding)
    parts = []
    at = 0
    while at < len(body):
        end = min(at + most, len(body))
        if end < len(body):
            if name == alphabets.GSM7:
                escapes = 0  # an odd run of ESC at the end: the last one belongs to what follows
                while end - escapes > at and body[end - escapes - 1] == gsm.ESC:
                    escapes += 1
                end -= escapes & 1
            elif name == alphabets.UCS2:
                end -= (end - at) & 1
                if 0xD8 <= body[end - 2] <= 0xDB:
                    end -= 2
            elif name in _DOUBLE and not _whole(body[at:end], name):
                end -= 1
        parts.append(body[at:end])
        at = end
    return parts


def _whole(part: bytes, codec: str) -> bool:
    """False where the last octet is half a character."""
    try:
        part.decode(codec)
    except UnicodeDecodeError as error:
        return error.end < len(part) or error.reason != "incomplete multibyte sequence"
    return True


def count_segments(body: bytes, data_coding: int) -> int:
    """How many short messages a submitted body without a header becomes; at least 1."""
    name = alphabets.alphabet(data_coding)
    length = len(body)
    if name == alphabets.GSM7:
        if length <= 160:
            return 1
        if gsm.ESC not in body:
            return -(-length // 153)
        return len(_cut(body, data_coding, 153))
    if length <= 140:
        return 1
    if name in _DOUBLE or (name == alphabets.UCS2 and len(body[::2].translate(None, _HIGH_SURROGATES)) != (length + 1) // 2):
        return len(_cut(body, data_coding, 134))
    return -(-length // 134)


def sar_tlvs(reference: int, total: int, number: int) -> bytes:
    """sar_msg_ref_num, sar_total_segments, sar_segment_seqnum (SMPP 3.4 sections 5.3.2.22 to 24)."""
    return _SAR.pack(0x020C, 2, reference & 0xFFFF, 0x020E, 1, total, 0x020F, 1, number)
