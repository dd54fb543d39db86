"""What may be set on customers and users, and in which form: one table for the CLI and the HTTP API.

Values come as text (``max_tps=50``) or as JSON has them; out come the columns' own types.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo

from protei_bulk.access.password_policy import fault
from protei_bulk.guards.countries import REGIONS
from protei_bulk.model.charging import POLICIES
from protei_bulk.model.permissions import ROLES
from protei_bulk.model.urls import url_fault
from protei_bulk.text.alphabets import DEFAULTS
from protei_bulk.text.segments import MAX_SEGMENTS

STATUSES = ("ACTIVE", "SUSPENDED")
BIND_TYPES = ("SMPP", "HTTP", "BOTH", "WEB_ONLY")
ALPHABETS = tuple(DEFAULTS)
MO_FORMS = ("udh", "sar", "payload")
RECEIPTS = ("part", "message")
VELOCITY = ("node", "off", "alert", "pause")

_MAX_INTEGER = 2**31 - 1
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class FieldError(ValueError):
    """A field that there is not, or a value that it does not take. The text names both."""


def username(value: object) -> str:
    """Raises FieldError. No colon: HTTP's Basic scheme has it end the name."""
    text = _text(100)(value)
    if not text or ":" in text or text != text.strip():
        raise FieldError("expected a name without ':' and without spaces around it")
    if text != unicodedata.normalize("NFKC", text):  # a second spelling of what looks like another's name
        raise FieldError("expected a name in letters of their usual form (Unicode NFKC)")
    return text


def customer_name(value: object) -> str:
    """Raises FieldError."""
    text = _text(100)(value)
    if not text or text != text.strip():
        raise FieldError("expected a name without spaces around it")
    return text


def password(value: object) -> str:
    """A new one. Raises FieldError for one that is not good enough."""
    if not isinstance(value, str):
        raise FieldError("expected text")
    why = fault(value)
    if why:
        raise FieldError(why)
    return value


def user_fields(values: Mapping[str, object]) -> dict[str, Any]:
    """Columns of users (and ``password``, still to be hashed). Raises FieldError for the first mistake."""
    return _read(values, USER_FIELDS)


def customer_fields(values: Mapping[str, object]) -> dict[str, Any]:
    """Columns of customers. Raises FieldError for the first mistake."""
    return _read(values, CUSTOMER_FIELDS)


def _read(values: Mapping[str, object], known: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for given, value in values.items():
        name = given.strip().lower().replace("-", "_")
        name = _ALIASES.get(name, name)
        if name not in known:
            raise FieldError(f"{given}: no such field; there are {', '.join(known)}")
        if name in found:
            raise FieldError(f"{given}: given twice")
        try:
            found[name] = known[name](value)
        except FieldError as error:
            shown = "" if name.endswith("password") else f", got {str(value)[:60]!r}"
            raise FieldError(f"{given}: {error}{shown}") from None
    return found


def _text(longest: int) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            raise FieldError(f"expected text of at most {longest} printable characters")
        return value

    return read


def _one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value.upper() not in choices:
            raise FieldError(f"expected one of {', '.join(choices)}")
        return value.upper()

    return read


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word not in _TRUE + _FALSE:
        raise FieldError("expected true or false")
    return word in _TRUE


def _limit(value: object) -> int:
    """0 stands for no limit."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_INTEGER:
        raise FieldError(f"expected a whole number from 0 (no limit) to {_MAX_INTEGER}")
    return value


def _alphabet(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in DEFAULTS:
        raise FieldError(f"expected one of {', '.join(DEFAULTS)}")
    return value.lower()


def _parts(value: object) -> int:
    """0 stands for the node's setting."""
    parts = _limit(value)
    if parts > MAX_SEGMENTS:
        raise FieldError(f"expected a whole number from 0 (as the node's setting) to {MAX_SEGMENTS}")
    return parts


def _words(longest: int, check: Callable[[str], object] | None = None) -> Callable[[object], list[str]]:
    """A list, or text: a JSON list, or words with commas between them. Empty restricts nothing."""

    def read(value: object) -> list[str]:
        if isinstance(value, str):
            value = _listed(value)
        if isinstance(value, tuple):
            value = list(value)
        if not isinstance(value, list):
            raise FieldError("expected a list")
        for word in value:
            if not isinstance(word, str) or not 0 < len(word) <= longest or not word.isprintable():
                raise FieldError(f"expected words of at most {longest} characters")
            if check is not None:
                check(word)
        return list(dict.fromkeys(value))

    return read


def _listed(text: str) -> object:
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            raise FieldError("expected a JSON list") from None
    return [word.strip() for word in text.split(",") if word.strip()]


def _network(word: str) -> None:
    try:
        ip_network(word, strict=False)
    except ValueError:
        raise FieldError(
            f"expected IP addresses or networks such as 192.168.1.0/24 ({word} is none)"
        ) from None


def _timezone(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_+\-/]{1,64}", value):
        raise FieldError("expected a time zone such as Asia/Amman")
    try:
        ZoneInfo(value)
    except (OSError, ValueError):  # a folder's name, an absolute path
        raise FieldError("expected a time zone such as Asia/Amman") from None
    except KeyError:
        raise FieldError("expected a time zone such as Asia/Amman (this one is not known)") from None
    return value


def _url(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise FieldError("expected an http or https address of at most 500 characters")
    wrong = url_fault(value)
    if wrong:
        raise FieldError(f"expected an http or https address of at most 500 characters (it {wrong})")
    return value


def _email(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 255 or not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        raise FieldError("expected an e-mail address")
    return value


def _currency(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]{3}", value):
        raise FieldError("expected three letters, such as JOD")
    return value.upper()


def money(value: object) -> Decimal:
    """An amount with at most six decimals, possibly negative. Raises FieldError."""
    expected = "expected an amount such as 25000.50, with at most 6 decimals"
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise FieldError(expected)
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise FieldError(expected) from None
    if not amount.is_finite() or abs(amount) >= 10**12 or amount != round(amount, 6):
        raise FieldError(expected)
    return amount


def _credit(value: object) -> Decimal:
    amount = money(value)
    if amount < 0:
        raise FieldError("expected an amount from 0")
    return amount


def _weight(value: object) -> Decimal:
    weight = money(value)
    if not Decimal("0.001") <= weight <= 10_000:
        raise FieldError("expected a number from 0.001 to 10000")
    return weight.quantize(Decimal("0.001"))


def _port(value: object) -> int:
    port = _limit(value)
    if not 1 <= port <= 65535:
        raise FieldError("expected a port from 1 to 65535")
    return port


def _mo_form(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in MO_FORMS:
        raise FieldError(f"expected one of {', '.join(MO_FORMS)}")
    return value.lower()


def _countries(value: object) -> list[str]:
    """A list as that of _words, of ISO 3166-1 alpha-2 codes."""
    found = [word.upper() for word in _words(2)(value)]
    for word in found:
        if word not in REGIONS:
            raise FieldError(f"expected countries such as JO ({word} is none)")
    return found


def _country(value: object) -> str:
    """An ISO 3166-1 alpha-2 code, or nothing."""
    word = value.upper() if isinstance(value, str) else " "
    if word and word not in REGIONS:
        raise FieldError("expected a country such as JO, or nothing")
    return word


def _seconds(value: object) -> int:
    seconds = _limit(value)
    if seconds > 86_400:
        raise FieldError("expected a whole number from 0 (off) to 86400 seconds")
    return seconds


def _velocity(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in VELOCITY:
        raise FieldError(f"expected one of {', '.join(VELOCITY)}")
    return value.lower()


def _receipts(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in RECEIPTS:
        raise FieldError(f"expected one of {', '.join(RECEIPTS)}")
    return value.lower()


USER_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "password": password,
    "email": _email,
    "role": _one_of(*ROLES),
    "status": _one_of(*STATUSES),
    "bind_type": _one_of(*BIND_TYPES),
    "can_use_smpp": _flag,
    "can_use_http": _flag,
    "can_use_api_bulk": _flag,
    "max_msg_per_day": _limit,
    "max_tps": _limit,
    "max_binds": _limit,
    "smpp_require_tls": _flag,
    "smpp_tls_identity": _text(255),
    "smpp_alphabet": _alphabet,
    "smart_encoding": _flag,
    "max_parts": _parts,
    "mo_form": _mo_form,
    "receipts": _receipts,
    "outbind_host": _text(255),
    "outbind_port": _port,
    "outbind_password": _text(8),
    "duplicate_seconds": _seconds,
    "transactional": _flag,
    "velocity": _velocity,
    "tags": _words(64),
    "allowed_smsc": _words(64),
    "allowed_sender_ids": _words(21),
    "allowed_ips": _words(64, _network),
    "timezone": _timezone,
    "dlr_callback_url": _url,
}
CUSTOMER_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "name": customer_name,
    "status": _one_of(*STATUSES),
    "balance": money,
    "credit_limit": _credit,
    "currency": _currency,
    "timezone": _timezone,
    "allowed_countries": _countries,
    "blocked_countries": _countries,
    "charge_on": _one_of(*POLICIES),
    "weight": _weight,
    "campaign_approval": _flag,
    "default_country": _country,
}
_ALIASES = {"max_per_day": "max_msg_per_day", "allowed_ip": "allowed_ips"}
