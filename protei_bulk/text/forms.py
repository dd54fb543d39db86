"""From a message as the gateway keeps it to the short messages of one peer: its alphabet, its form of long messages.

Pure; canonical.py is the way in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from attrs import frozen

from protei_bulk.text import alphabets, gsm, headers, segments, shifts, smart
from protei_bulk.text.canonical import UCS2_CODING

AS_SUBMITTED, UDH, SAR, PAYLOAD = LONG = ("as-submitted", "udh", "sar", "payload")

_CODECS = {alphabets.LATIN1: "latin-1", alphabets.ASCII: "ascii", alphabets.UTF8: "utf-8"}
_CONCATENATION = 6  # octets of a header that holds it: what the air needs, whoever writes it
Sar = tuple[int, int, int]


@frozen
class Style:
    """How a peer wants text.

    alphabet: what its data_coding 0 is (alphabets.DEFAULTS). shifts: National Language Identifiers that may be used to
    say in septets what came as UCS-2, where that is an alphabet of septets; such a text always has headers. wide:
    references of 16 bits. long: one of LONG; as submitted, a long text without a header of its own goes in parts with
    headers.
    """

    alphabet: str = alphabets.GSM7
    shifts: tuple[int, ...] = ()
    wide: bool = False
    long: str = AS_SUBMITTED


class Form(NamedTuple):
    """One PDU's text. sar: (reference, total, number) for its TLVs; payload: the octets go into message_payload."""

    data_coding: int
    udh: bytes
    octets: bytes
    sar: Sar | None = None
    payload: bool = False


def forms(style: Style, data_coding: int, udh: bytes, octets: bytes, sar: Sar | None, reference: int) -> list[Form]:
    """What goes out for a message, or for one part of it where it has a header or `sar` already.

    `reference` names the parts that are made here. Raises TooLong for more than 255 of them.
    """
    septets = alphabets.alphabet(data_coding) == alphabets.GSM7
    finish: Callable[[bytes, bytes], bytes] = _packed if style.alphabet == alphabets.PACKED else _as_it_is
    if septets and data_coding == 0 and style.alphabet in _CODECS:
        codec = _CODECS[style.alphabet]
        text = shifts.decode(octets, udh)
        udh = headers.without(udh, headers.SINGLE_SHIFT, headers.LOCKING_SHIFT)
        if udh or sar:
            udh, sar = _place(style, 0, udh, octets, sar)
            if not _all_in(text, codec):
                wide = text.encode("utf-16-be")
                if len(wide) <= segments.room(UCS2_CODING, len(udh) or _CONCATENATION):
                    return [Form(UCS2_CODING, udh, wide, sar)]
                text = smart.closest(text, codec)
            return [Form(0, udh, text.encode(codec), sar)]
        if _all_in(text, codec):
            finish = _recoded(codec)
        else:
            data_coding, octets, septets = UCS2_CODING, text.encode("utf-16-be"), False
    elif udh or sar:
        udh, sar = _place(style, data_coding, udh, octets, sar)
        return [Form(data_coding, udh, finish(octets, udh) if septets else octets, sar)]
    elif style.shifts and data_coding == UCS2_CODING and style.alphabet not in _CODECS:
        shifted = _shifted(style, octets, reference)
        if shifted is not None:
            return [Form(0, u, finish(o, u)) for u, o in zip(shifted.udhs, shifted.parts, strict=True)]
    if not septets:
        finish = _as_it_is
    if len(octets) <= segments.room(data_coding):
        return [Form(data_coding, b"", finish(octets, b""))]
    if style.long == PAYLOAD:
        return [Form(data_coding, b"", finish(octets, b""), None, True)]
    split = segments.split_body(octets, data_coding, reference, wide=style.wide)
    if style.long == SAR:
        total = split.segments
        return [Form(data_coding, b"", finish(o, b""), (reference, total, n)) for n, o in enumerate(split.parts, 1)]
    return [Form(data_coding, u, finish(o, u)) for u, o in zip(split.udhs, split.parts, strict=True)]


def _as_it_is(octets: bytes, udh: bytes) -> bytes:
    return octets


def _packed(octets: bytes, udh: bytes) -> bytes:
    return gsm.pack_body(octets, headers.fill_bits(len(udh)))


def _recoded(codec: str) -> Callable[[bytes, bytes], bytes]:
    return lambda octets, udh: gsm.decode(octets).encode(codec)


def _all_in(text: str, codec: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _place(style: Style, data_coding: int, udh: bytes, octets: bytes, sar: Sar | None) -> tuple[bytes, Sar | None]:
    """How one part that its sender made says which it is, as the peer wants it: (header, sar)."""
    if style.long == UDH and sar is not None and not udh:
        reference, total, number = sar
        content = headers.concatenation_element(reference, total, number, wide=style.wide)
        if style.wide and len(octets) > segments.room(data_coding, len(content) + 1):
            content = headers.concatenation_element(reference, total, number)
        return headers.header(content), None
    if style.long == SAR and udh and sar is None:
        place = headers.concatenation(udh)
        if place is not None and not headers.without(udh, headers.CONCATENATION_8, headers.CONCATENATION_16):
            return b"", place  # with another element beside it, it has to stay: never both
    return udh, sar


def _shifted(style: Style, octets: bytes, reference: int) -> segments.Encoded | None:
    """A UCS-2 text in septets of a national language, where that makes fewer parts."""
    before = segments.count_segments(octets, UCS2_CODING)
    if before == 1:
        return None
    try:
        text = octets.decode("utf-16-be")
    except UnicodeDecodeError:
        return None
    best: segments.Encoded | None = None
    for shift in shifts.candidates(style.shifts)[1:]:
        table = shifts.table(shift)
        if table.septets(text) < 0:
            continue
        made = segments.split_body(table.encode(text), 0, reference, wide=style.wide, elements=shift.elements)
        fewest = before if best is None else best.segments
        if made.segments < fewest or (best is not None and made.segments == fewest and len(made.body) < len(best.body)):
            best = made
    return best
