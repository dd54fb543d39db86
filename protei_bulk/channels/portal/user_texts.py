"""What is said beside a user's field that is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from protei_bulk.channels.portal.visit import Visit


def _n(text: str) -> str:
    """Marks a text for the catalogues."""
    return text


_CHOOSE = _n("Choose one of these.")
_LIMIT = _n("Write a whole number; 0 is no limit.")
_WRONG = {
    "role": _CHOOSE, "bind_type": _CHOOSE, "smpp_alphabet": _CHOOSE, "mo_form": _CHOOSE, "receipts": _CHOOSE, "velocity": _CHOOSE,
    "max_msg_per_day": _LIMIT, "max_tps": _LIMIT,
    "max_binds": _n("Write a whole number; 0 is the setting of the node."),
    "max_parts": _n("Write a whole number up to 255; 0 is the setting of the node."),
    "duplicate_seconds": _n("Write seconds from 0 (off) to 86400 (a day)."),
    "allowed_ips": _n("Write IP addresses, or networks such as 192.168.1.0/24, one a line."),
    "tags": _n("Write words of at most 64 characters, one a line."),
    "allowed_smsc": _n("Write ids of SMSCs, one a line."),
    "allowed_sender_ids": _n("Write senders of at most 21 characters, one a line."),
    "email": _n("Write an e-mail address."),
    "timezone": _n("Write a time zone such as Asia/Amman."),
    "dlr_callback_url": _n("Write a public http or https address of at most 500 characters."),
    "smpp_tls_identity": _n("Write a name of at most 255 characters."),
    "outbind_host": _n("Write a host name or an address."),
    "outbind_port": _n("Write a port from 1 to 65535."),
    "outbind_password": _n("Write at most 8 characters."),
    "status": _CHOOSE, "charge_on": _CHOOSE,
    "name": _n("Write a name of at most 100 characters."),
    "credit_limit": _n("Write an amount from 0, with at most 6 decimals."),
    "balance": _n("Write an amount such as 25000.50, with at most 6 decimals."),
    "currency": _n("Write three letters such as JOD."),
    "weight": _n("Write a number from 0.001 to 10000."),
    "allowed_countries": _n("Write codes of countries such as JO, one a line."),
    "blocked_countries": _n("Write codes of countries such as JO, one a line."),
    "default_country": _n("Write the code of a country such as JO, or leave it empty."),
}  # fmt: skip


def wrong_texts(visit: Visit, names: Iterable[str]) -> dict[str, str]:
    return {name: visit._(_WRONG[name]) for name in names}
