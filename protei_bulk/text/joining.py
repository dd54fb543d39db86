"""The parts of a long message as one body, in the alphabets of canonical.py."""

from __future__ import annotations

from collections.abc import Sequence

from protei_bulk.text import alphabets, gsm, headers, shifts
from protei_bulk.text.canonical import UCS2_CODING, Body


def join(parts: Sequence[Body]) -> Body | None:
    """One body without a header, of parts in their order; None where they do not make one.

    Parts in one alphabet are laid together as they are. Of texts that mix GSM 03.38 and UCS-2, or use national language
    shifts, the text is kept: in GSM 03.38 where all of it fits, else in UCS-2. Headers may say where a part belongs and
    how to read it; one that says more (a port, say) cannot be laid together.
    """
    if not parts:
        return None
    shifted = False
    for part in parts:
        shifted = shifted or shifts.shift_of(part.udh) is not None
        place = (headers.CONCATENATION_8, headers.CONCATENATION_16, headers.SINGLE_SHIFT, headers.LOCKING_SHIFT)
        if headers.without(part.udh, *place):
            return None
    codings = {part.data_coding for part in parts}
    if len(codings) == 1 and not shifted:
        return Body(parts[0].data_coding, b"", b"".join(part.octets for part in parts))
    if not codings <= {0, UCS2_CODING}:
        return None
    texts = [alphabets.decode_body(p.octets, p.data_coding, udh=p.udh) or "" for p in parts]
    text = "".join(texts)
    if gsm.is_gsm(text):
        return Body(0, b"", gsm.encode(text), text)
    return Body(UCS2_CODING, b"", text.encode("utf-16-be", "replace"), text)
