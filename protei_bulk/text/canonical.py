"""What a peer submits, as the gateway keeps it: data_coding 0 is GSM 03.38, a septet an octet.

A peer may mean something else by data_coding 0. Its text becomes GSM 03.38 where the whole of it fits, else UCS-2
with data_coding 8. Every other data_coding says itself what it means and stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple

from protei_bulk.text import alphabets, gsm, headers, segments

UCS2_CODING, LATIN1_CODING = 8, 3


class Body(NamedTuple):
    """`udh` with its length octet, b"" for none; `text` where it is known already."""

    data_coding: int
    udh: bytes
    octets: bytes
    text: str | None = None


def canonical(octets: bytes, data_coding: int, udh: bytes, default: str) -> Body:
    """`default` is one of alphabets.DEFAULTS: what data_coding 0 means to the peer.

    Octets that are no character there become question marks. Raises TooLong for a part (with a header) that fits into
    one short message as the peer writes it, but in no alphabet that says the same everywhere.
    """
    if default == alphabets.GSM7:
        return Body(data_coding, udh, octets)
    if default == alphabets.PACKED:  # all that is in the GSM alphabet comes packed
        if alphabets.alphabet(data_coding) == alphabets.GSM7:
            octets = gsm.unpack_body(octets, headers.fill_bits(len(udh)))
        return Body(data_coding, udh, octets)
    if data_coding:
        return Body(data_coding, udh, octets)
    text = (alphabets.decode_body(octets, 0, default) or "").replace("\ufffd", "?")
    if udh:
        udh = headers.without(udh, headers.SINGLE_SHIFT, headers.LOCKING_SHIFT)  # shifts of an alphabet that it is not in
    for coding in (0, UCS2_CODING):
        try:
            body = alphabets.encode_body(text, coding)
        except ValueError:
            continue
        if not udh or len(body) <= segments.room(coding, len(udh)):
            return Body(coding, udh, body, text)
    if default == alphabets.LATIN1 and len(octets) <= segments.room(LATIN1_CODING, len(udh)):
        return Body(LATIN1_CODING, udh, octets, text)
    raise segments.TooLong("a part with a header does not fit into one short message")
