"""GSM 03.38 (3GPP TS 23.038 section 6.2.1): default alphabet and extension table, one septet an octet."""

from __future__ import annotations

import codecs

ESC = 0x1B
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}

# ESC alone shows as a space (23.038 section 6.2.1); the high bit of an octet has no meaning: it is dropped.
_DECODE = BASIC.replace("\x1b", " ") * 2
_PLAIN = codecs.charmap_build(BASIC.replace("\x1b", "\ufffe"))
_WITH_ESC = codecs.charmap_build(BASIC)
_PAIRS = tuple((character, "\x1b" + BASIC[octet]) for octet, character in EXTENSION.items())
_EXTENDED = frozenset(EXTENSION.values())
_ALL = (frozenset(BASIC) | _EXTENDED) - {"\x1b"}


class NotGsm(ValueError):  # noqa: N818
    """A character that the alphabet lacks, at a position counted from 0."""

    def __init__(self, character: str, position: int) -> None:
        super().__init__(f"{character!r} at position {position + 1} is not in the GSM 7-bit alphabet")
        self.character = character
        self.position = position


def encode(text: str) -> bytes:
    """Septets, one an octet; a character of the extension table takes two. Raises NotGsm."""
    try:
        return codecs.charmap_encode(text, "strict", _PLAIN)[0]
    except UnicodeEncodeError as error:
        position = error.start
    if text[position] in _EXTENDED and "\x1b" not in text:
        escaped = text
        for character, pair in _PAIRS:
            escaped = escaped.replace(character, pair)
        try:
            return codecs.charmap_encode(escaped, "strict", _WITH_ESC)[0]
        except UnicodeEncodeError:
            pass
    position = next(i for i, c in enumerate(text) if c not in _ALL)
    raise NotGsm(text[position], position)


#: octets that are the same character in GSM 03.38, ASCII, Latin 1 and UTF-8
SAME_AS_ASCII = bytes(n for n in range(128) if BASIC[n] == chr(n) and n != ESC)


def decode(septets: bytes) -> str:
    """Text of septets, never an error: a phone shows something for everything."""
    if ESC not in septets:
        return codecs.charmap_decode(septets, "strict", _DECODE)[0]
    out = []
    pieces = septets.split(b"\x1b")
    out.append(codecs.charmap_decode(pieces[0], "strict", _DECODE)[0])
    for piece in pieces[1:]:
        if not piece:
            out.append(" ")  # ESC before ESC, or at the end
            continue
        extended = EXTENSION.get(piece[0] & 0x7F)
        if extended is None:
            out.append(codecs.charmap_decode(piece, "strict", _DECODE)[0])  # unknown: the basic character
        else:
            out.append(extended + codecs.charmap_decode(piece[1:], "strict", _DECODE)[0])
    return "".join(out)


def is_gsm(text: str) -> bool:
    return _ALL.issuperset(text)


def foreign(text: str) -> str:
    """The characters of a text that the alphabet lacks, each once."""
    return "".join(dict.fromkeys(c for c in text if c not in _ALL))


def septets(text: str) -> int:
    """Septets that a GSM text takes."""
    return len(text) + sum(1 for c in text if c in _EXTENDED)


def pack(unpacked: bytes, fill_bits: int = 0) -> bytes:
    """Eight septets into seven octets (23.038 section 6.1.2.1), after so many fill bits."""
    groups = []
    for at in range(0, len(unpacked), 8):
        bits = 0
        for septet in unpacked[at : at + 8][::-1]:
            bits = bits << 7 | septet & 0x7F
        groups.append(bits.to_bytes(7, "little"))
    octets = (fill_bits + 7 * len(unpacked) + 7) // 8
    packed = b"".join(groups)
    if fill_bits:
        packed = (int.from_bytes(packed, "little") << fill_bits).to_bytes(len(packed) + 1, "little")
    return packed[:octets]


def unpack(packed: bytes, count: int, fill_bits: int = 0) -> bytes:
    """`count` septets out of octets. Raises ValueError where there are not so many."""
    if fill_bits + 7 * count > 8 * len(packed):
        raise ValueError(f"{len(packed)} octets do not hold {count} septets")
    bits = int.from_bytes(packed, "little") >> fill_bits
    return bytes([(bits >> shift) & 0x7F for shift in range(0, 7 * count, 7)])


def pack_body(unpacked: bytes, fill_bits: int = 0) -> bytes:
    """A body for a peer that knows its octets only: seven bits left over hold CR, not an @ (23.038 section 6.1.2.3.1)."""
    if (fill_bits + 7 * len(unpacked)) % 8 == 1:
        unpacked += b"\r"
    return pack(unpacked, fill_bits)


def unpack_body(packed: bytes, fill_bits: int = 0) -> bytes:
    """All septets that octets hold. A last one of CR or zero bits that ends with its octet is taken for filling.

    So a text loses an @ (or CR) that stands just there: the form cannot tell, and zero bits are far more frequent.
    """
    bits = 8 * len(packed) - fill_bits
    if bits < 7:
        return b""
    septets = unpack(packed, bits // 7, fill_bits)
    return septets[:-1] if bits % 7 == 0 and septets[-1] in b"\0\r" else septets
