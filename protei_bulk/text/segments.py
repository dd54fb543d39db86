"""Long messages: cut into segments, counted, put together (3GPP TS 23.040 section 9.2.3.24)."""

from __future__ import annotations

from struct import Struct

from attrs import frozen

from protei_bulk.text import alphabets, gsm

MAX_SEGMENTS = 255
_CODING = {"GSM7": 0, "LATIN1": 3, "UCS2": 8}
#: alphabet -> (octets of a single message, octets of a segment beside an 8-bit header, beside a 16-bit one)
_LIMITS = {"gsm7": (160, 153, 152), "octets": (140, 134, 133)}
_SAR = Struct(">HHHHHBHHB")


class TooLong(ValueError):  # noqa: N818
    """More than 255 segments."""


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


def _limits(data_coding: int) -> tuple[int, int, int]:
    return _LIMITS["gsm7" if alphabets.alphabet(data_coding) == alphabets.GSM7 else "octets"]


def split_body(body: bytes, data_coding: int, reference: int, *, wide: bool = False) -> Encoded:
    """Cuts a body, never within an escape pair or a surrogate pair. Raises TooLong."""
    single, narrow_most, wide_most = _limits(data_coding)
    if len(body) <= single:
        return Encoded(data_coding, (body,), (b"",))
    parts = _cut(body, data_coding, wide_most if wide else narrow_most)
    if len(parts) > MAX_SEGMENTS:
        raise TooLong(f"{len(parts)} segments are more than {MAX_SEGMENTS}")
    total = len(parts)
    if wide:
        udhs = tuple(
            b"\6\x08\4" + (reference & 0xFFFF).to_bytes(2, "big") + bytes((total, n))
            for n in range(1, total + 1)
        )
    else:
        udhs = tuple(bytes((5, 0, 3, reference & 0xFF, total, n)) for n in range(1, total + 1))
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
        parts.append(body[at:end])
        at = end
    return parts


def count_segments(body: bytes, data_coding: int, has_udh: bool) -> int:
    """How many short messages a submitted body becomes; at least 1."""
    single, narrow_most, _ = _limits(data_coding)
    if len(body) <= (narrow_most if has_udh else single):
        return 1
    return len(_cut(body, data_coding, narrow_most))


def sar_tlvs(reference: int, total: int, number: int) -> bytes:
    """sar_msg_ref_num, sar_total_segments, sar_segment_seqnum (SMPP 3.4 sections 5.3.2.22 to 24)."""
    return _SAR.pack(0x020C, 2, reference & 0xFFFF, 0x020E, 1, total, 0x020F, 1, number)


def concatenation(udh: bytes) -> tuple[int, int, int] | None:
    """(reference, total, number) of a user data header with its length octet; None where it names none."""
    at = 1
    while at + 2 <= len(udh):
        kind, length = udh[at], udh[at + 1]
        data = udh[at + 2 : at + 2 + length]
        if len(data) < length:
            return None
        if kind == 0 and length == 3:
            return data[0], data[1], data[2]
        if kind == 8 and length == 4:
            return int.from_bytes(data[:2], "big"), data[2], data[3]
        at += 2 + length
    return None
