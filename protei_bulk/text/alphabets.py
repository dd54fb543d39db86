"""data_coding (SMPP 3.4 section 5.2.19, 3GPP TS 23.038 section 4): which alphabet a body is in."""

from __future__ import annotations

from protei_bulk.text import gsm

GSM7, ASCII, LATIN1, UCS2, BINARY = "gsm7", "ascii", "latin1", "ucs2", "binary"

_BY_CODING = {0: "", 1: ASCII, 2: BINARY, 3: LATIN1, 4: BINARY, 6: "iso8859-5", 7: "iso8859-8", 8: UCS2}
_CODECS = {ASCII: "ascii", LATIN1: "latin-1", UCS2: "utf-16-be"}


def alphabet(data_coding: int, default: str = GSM7) -> str:
    """The alphabet of a data_coding; `default` is what 0 means to this peer.

    What is unknown counts as binary.
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
    if group < 4 and not data_coding & 0x20:  # general data coding, not compressed
        return (GSM7, BINARY, UCS2, BINARY)[data_coding >> 2 & 3] if data_coding & 0x10 else BINARY
    return BINARY


def decode_body(body: bytes, data_coding: int, default: str = GSM7) -> str | None:
    """The text of a body; None for binary. What cannot be decoded is replaced, never an error."""
    if data_coding == 0 and default == GSM7:
        return gsm.decode(body)
    name = alphabet(data_coding, default)
    if name == GSM7:
        return gsm.decode(body)
    if name == BINARY:
        return None
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
    return text.encode(_CODECS.get(name, name))
