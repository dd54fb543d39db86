"""data_coding (SMPP 3.4 section 5.2.19, 3GPP TS 23.038 section 4): which alphabet a body is in."""

from __future__ import annotations

from protei_bulk.text import gsm, shifts

GSM7, ASCII, LATIN1, UCS2, BINARY = "gsm7", "ascii", "latin1", "ucs2", "binary"
PACKED, UTF8 = "gsm7-packed", "utf8"
#: what data_coding 0 may mean to a peer, as settings and accounts name it
DEFAULTS = (GSM7, PACKED, LATIN1, ASCII, UTF8)

_BY_CODING = {
    0: "", 1: ASCII, 2: BINARY, 3: LATIN1, 4: BINARY, 5: "shift_jis", 6: "iso8859-5", 7: "iso8859-8", 8: UCS2,
    9: BINARY, 10: "iso2022_jp", 13: "iso2022_jp_1", 14: "euc_kr",
}  # fmt: skip
_CODECS = {ASCII: "ascii", LATIN1: "latin-1", UCS2: "utf-16-be", UTF8: "utf-8"}


def alphabet(data_coding: int, default: str = GSM7) -> str:
    """The alphabet of a data_coding; `default` is what 0 means to this peer.

    What is unknown, reserved or compressed counts as binary.
    """
    known = _BY_CODING.get(data_coding)
    if known is not None:
        return known or default
    group = data_coding >> 4
    if group == 0xF:  # message class
        return BINARY if data_coding & 0x04 else GSM7
    if group in (0xC, 0xD):  # message waiting, GSM
        return GSM7
    if group == 0xE:
        return UCS2
    if 1 <= group < 8 and not data_coding & 0x20:  # general data coding, with a class or to be deleted; not compressed
        return (GSM7, BINARY, UCS2, BINARY)[data_coding >> 2 & 3]
    return BINARY


def decode_body(body: bytes, data_coding: int, default: str = GSM7, udh: bytes = b"") -> str | None:
    """The text of a body under the shifts of its header; None for binary.

    What cannot be decoded is replaced, never an error.
    """
    if data_coding == 0 and default == GSM7 and not udh:
        return gsm.decode(body)
    name = alphabet(data_coding, default)
    if name == GSM7:
        return shifts.decode(body, udh)
    if name == BINARY:
        return None
    if name == PACKED:
        return shifts.decode(gsm.unpack_body(body, -8 * len(udh) % 7), udh)
    return body.decode(_CODECS.get(name, name), "replace")


def encode_body(text: str, data_coding: int, default: str = GSM7) -> bytes:
    """The octets of a text.

    Raises ValueError (NotGsm, UnicodeEncodeError) where the alphabet lacks a character.
    """
    name = alphabet(data_coding, default)
    if name == GSM7:
        return gsm.encode(text)
    if name == BINARY:
        return text.encode("latin-1")
    if name == PACKED:
        return gsm.pack_body(gsm.encode(text))
    return text.encode(_CODECS.get(name, name))
