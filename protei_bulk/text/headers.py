"""User data headers (3GPP TS 23.040 section 9.2.3.24): a length octet, then information elements.

A header whose last element does not end where the header does counts as no header at all, as the section says.
Of an element that comes twice the last one counts.
"""

from __future__ import annotations

CONCATENATION_8, CONCATENATION_16 = 0x00, 0x08
SINGLE_SHIFT, LOCKING_SHIFT = 0x24, 0x25

Elements = list[tuple[int, bytes]]


def elements(udh: bytes) -> Elements | None:
    """(identifier, data) of each; None for a header that is malformed. `udh` begins with its length octet."""
    found: Elements = []
    end = udh[0] + 1 if udh else 0
    if end > len(udh):
        return None
    at = 1
    while at < end:
        if at + 2 > end or at + 2 + udh[at + 1] > end:
            return None
        stop = at + 2 + udh[at + 1]
        found.append((udh[at], udh[at + 2 : stop]))
        at = stop
    return found


def element(identifier: int, data: bytes) -> bytes:
    return bytes((identifier, len(data))) + data


def header(content: bytes) -> bytes:
    """The header that holds these encoded elements; b"" where there are none."""
    return bytes((len(content),)) + content if content else b""


def without(udh: bytes, *identifiers: int) -> bytes:
    """The header less these elements; b"" where nothing is left. A malformed one stays as it is."""
    found = elements(udh)
    if found is None or not any(identifier in identifiers for identifier, _ in found):
        return udh
    return header(b"".join(element(i, data) for i, data in found if i not in identifiers))


def concatenation(udh: bytes) -> tuple[int, int, int] | None:
    """(reference, total, number) of a part; None where the header names none that can be (23.040 section 9.2.3.24.1)."""
    found = None
    for identifier, data in elements(udh) or ():
        if identifier == CONCATENATION_8 and len(data) == 3:
            found = data[0], data[1], data[2]
        elif identifier == CONCATENATION_16 and len(data) == 4:
            found = int.from_bytes(data[:2], "big"), data[2], data[3]
    return found if found is not None and 1 <= found[2] <= found[1] else None


def concatenation_element(reference: int, total: int, number: int, *, wide: bool = False) -> bytes:
    """The element that names a part; `wide` with a reference of 16 bits."""
    if wide:
        return b"\x08\x04" + (reference & 0xFFFF).to_bytes(2, "big") + bytes((total, number))
    return bytes((CONCATENATION_8, 3, reference & 0xFF, total, number))


def fill_bits(udh_octets: int) -> int:
    """Bits between a header (with its length octet) and the first septet, which begins on a septet boundary (figure 9.2.3.24)."""
    return -8 * udh_octets % 7
