"""command_id values (SMPP 3.4 section 5.1.2.1, 5.0 section 4.7.5)."""

from __future__ import annotations

RESP = 0x80000000
GENERIC_NACK = 0x80000000
BIND_RECEIVER = 0x00000001
BIND_TRANSMITTER = 0x00000002
QUERY_SM = 0x00000003
SUBMIT_SM = 0x00000004
DELIVER_SM = 0x00000005
UNBIND = 0x00000006
REPLACE_SM = 0x00000007
CANCEL_SM = 0x00000008
BIND_TRANSCEIVER = 0x00000009
OUTBIND = 0x0000000B
ENQUIRE_LINK = 0x00000015
SUBMIT_MULTI = 0x00000021
ALERT_NOTIFICATION = 0x00000102
DATA_SM = 0x00000103
BROADCAST_SM = 0x00000111
QUERY_BROADCAST_SM = 0x00000112
CANCEL_BROADCAST_SM = 0x00000113

_NAMES = {
    value: key.lower()
    for key, value in list(globals().items())
    if key.isupper() and isinstance(value, int) and key != "RESP"
}


def name(command_id: int) -> str:
    """The name as the specification writes it; hexadecimal where it has none."""
    known = _NAMES.get(command_id)
    if known is not None:
        return known
    if command_id & RESP and command_id & ~RESP in _NAMES:
        return _NAMES[command_id & ~RESP] + "_resp"
    return f"0x{command_id:08x}"
