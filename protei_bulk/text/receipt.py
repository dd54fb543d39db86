"""Delivery receipts: the text of SMPP 3.4 appendix B and the TLVs that win over it, in and out."""

from __future__ import annotations

import re
from time import gmtime, strftime
from typing import NamedTuple

_RECEIPTED_ID, _MESSAGE_STATE, _NETWORK_ERROR, _PAYLOAD = 0x001E, 0x0427, 0x0423, 0x0424
#: message types of esm_class (SMPP 3.4 section 5.2.12): receipt, delivery acknowledgement, notification
_INTERMEDIATE = 0x20
_KINDS = frozenset({0x04, 0x08, _INTERMEDIATE})
#: message_state (SMPP 3.4 section 5.2.28, 5.0 section 4.7.15)
STATES = (
    "SCHEDULED",
    "ENROUTE",
    "DELIVRD",
    "EXPIRED",
    "DELETED",
    "UNDELIV",
    "ACCEPTD",
    "UNKNOWN",
    "REJECTD",
    "SKIPPED",
)
#: what makers write -> the seven letters of the specification
_SPELLINGS = {
    "REJECTED": "REJECTD", "DELIVERED": "DELIVRD", "ACCEPTED": "ACCEPTD", "UNDELIVERABLE": "UNDELIV",
    "UNDELIVRD": "UNDELIV", "UNDELIVERED": "UNDELIV", "FAILED": "UNDELIV", "EN_ROUTE": "ENROUTE",
}  # fmt: skip
_KNOWN = frozenset(STATES)
#: of an SMSC's receipt, what means nothing to the ESME or is said anew: ids, addresses within the peer, places of parts, the payload,
#: and what tells of the SMSC itself
_NOT_CARRIED = frozenset({
    _RECEIPTED_ID, _MESSAGE_STATE, _PAYLOAD, 0x0202, 0x0203, 0x0204, 0x020A, 0x020B, 0x020C, 0x020E, 0x020F, 0x0210, 0x0304, 0x0426, 0x0428,
})  # fmt: skip
_CARRIED_OCTETS = 1024  # together; with more, the network's error alone

# Lengths are those that are worth keeping; a peer may send any octets, and NUL among them.
_USUAL = re.compile(
    rb"id:([!-~]{0,64}) sub:[^ ]* dlvrd:[^ ]* submit date:[!-~]{0,20} done date:[!-~]{0,20} stat:([A-Z]{1,20}) err:([!-~]{0,20})"
)
#: id, stat, err, wherever they stand
_FIELDS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rb"(?:^|[^a-z])id\s*:\s*(?!sub:)([!-~]{1,64})",
        rb"(?:^|[^a-z])stat\s*:\s*([a-z_]{1,20})",
        rb"(?:^|[^a-z])err\s*:\s*(?!text:)([!-~]{1,20})",
    )
)


class ReceiptText(NamedTuple):
    """What a receipt says. Its dates and its text are nobody's: the message has its own."""

    id: str
    stat: str
    err: str = ""


def parse_receipt(body: bytes, tlvs: dict[int, bytes] | None, esm_class: int) -> ReceiptText | None:
    """The receipt in a deliver_sm or data_sm, or None where it is something else.

    esm_class says what it is; without that, only receipted_message_id together with a state makes a receipt:
    an MO may hold any text, and there are SMSCs that send that parameter with every message. The text may come
    as message_payload. A receipt by its esm_class that names no state is ENROUTE where it is intermediate, else
    UNKNOWN; a state outside the specification stays as written, in upper case.
    """
    kind = esm_class & 0x3C
    if kind not in _KINDS and not (tlvs and _RECEIPTED_ID in tlvs):
        return None
    if tlvs and not body:
        body = tlvs.get(_PAYLOAD, b"")
    usual = _USUAL.match(body)
    if usual is not None:
        id_, stat_, err_ = usual.groups()
        id, stat, err = id_.decode("latin-1"), stat_.decode("latin-1"), err_.decode("latin-1")
    else:
        id, stat, err = ((m.group(1).decode("latin-1") if (m := pattern.search(body)) else "") for pattern in _FIELDS)
        stat = stat.upper()
    if tlvs:
        named = tlvs.get(_RECEIPTED_ID)
        if named:
            id = named.partition(b"\0")[0][:64].decode("latin-1") or id
        state = tlvs.get(_MESSAGE_STATE)
        if state and state[0] < len(STATES):
            stat = STATES[state[0]]
        if not err:
            network = tlvs.get(_NETWORK_ERROR)
            if network is not None and len(network) == 3:
                err = f"{int.from_bytes(network[1:], 'big'):03d}"
    if not id:
        return None
    if stat not in _KNOWN:
        if not stat and kind not in _KINDS:
            return None
        stat = _SPELLINGS.get(stat, stat) or ("ENROUTE" if kind == _INTERMEDIATE else "UNKNOWN")
    return ReceiptText(id, stat, err)


def carried(tlvs: dict[int, bytes] | None) -> dict[int, bytes] | None:
    """What an SMSC's receipt says beside id and state that its ESME should hear: the network's error, makers' own parameters."""
    if not tlvs or tlvs.keys() <= _NOT_CARRIED:
        return None
    found = {tag: value for tag, value in tlvs.items() if tag not in _NOT_CARRIED}
    if sum(map(len, found.values())) + 4 * len(found) > _CARRIED_OCTETS:
        found = {_NETWORK_ERROR: found[_NETWORK_ERROR][:3]} if _NETWORK_ERROR in found else {}
    return found or None


#: control characters would end the line that a receipt is to many who read it
_PRINTABLE = bytes(32 if n < 32 or n == 127 else n for n in range(256))
_minutes: dict[int, bytes] = {}


def _minute(unix: float) -> bytes:
    minute = int(unix // 60)
    known = _minutes.get(minute)
    if known is None:
        if len(_minutes) > 4096:
            _minutes.clear()
        known = _minutes[minute] = strftime("%y%m%d%H%M", gmtime(minute * 60)).encode()
    return known


#: all between id and text, by what it is made of: few of them make up a batch
_middles: dict[tuple[str, str, float, float, int, int], bytes] = {}


def _middle(stat: str, err: str, submitted: float, done: float, sub: int, dlvrd: int) -> bytes:
    if len(_middles) > 4096:
        _middles.clear()
    written = f"{int(err):03d}" if len(err) != 3 and err.isascii() and err.isdigit() else err or "000"
    middle = b" sub:%03d dlvrd:%03d submit date:%b done date:%b stat:%b err:%b text:" % (
        sub, dlvrd, _minute(submitted), _minute(done), stat.encode("ascii", "replace"), written.encode("ascii", "replace"),
    )  # fmt: skip
    _middles[stat, err, submitted // 60, done // 60, sub, dlvrd] = middle
    return middle


def format_receipt(
    id: str, stat: str, err: str, submitted: float, done: float, text: str = "", sub: int = 1, dlvrd: int = 0
) -> bytes:
    """The text of appendix B; times are Unix seconds, written in UTC to the minute.

    At most 20 characters of the message; what is not ASCII becomes a question mark, and a line's end a space.
    A numeric error has three digits at least.
    """
    middle = _middles.get((stat, err, submitted // 60, done // 60, sub, dlvrd)) or _middle(stat, err, submitted, done, sub, dlvrd)
    return id.encode("ascii", "replace").join((b"id:", middle)) + text[:20].encode("ascii", "replace").translate(_PRINTABLE)
