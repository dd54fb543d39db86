"""An SMSC's message id: an opaque string, which some write one way in the answer and another in the receipt. Pure."""

from __future__ import annotations

from collections.abc import Callable

_LONGEST = 64  # characters that the tables hold


def _same(text: str) -> str:
    return text


def _hex_to_decimal(text: str) -> str:
    try:
        return str(int(text, 16))[:_LONGEST]  # the other base may be longer
    except ValueError:
        return text


def _decimal_to_hex(text: str) -> str:
    try:
        return format(int(text), "x")
    except ValueError:
        return text


def _plain_hex(text: str) -> str:
    return text.lower().lstrip("0") or "0"


def _plain_decimal(text: str) -> str:
    return text.lstrip("0") or "0"


#: setting `message_id` -> (how to read the id of a submit_sm_resp, how to read that of a receipt)
FORMS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "text": (_same, _same),
    "hex": (_plain_hex, _plain_hex),
    "decimal": (_plain_decimal, _plain_decimal),
    "hex-to-decimal": (_hex_to_decimal, _plain_decimal),
    "decimal-to-hex": (_decimal_to_hex, _plain_hex),
}


def as_answered(form: str, id: str) -> str:
    """An id as the submit_sm_resp wrote it, made from the form that the database holds.

    Letters that were upper case and leading zeros are lost where the setting is `hex` or `decimal`.
    """
    if form == "hex-to-decimal":
        return _decimal_to_hex(id)
    return _hex_to_decimal(id) if form == "decimal-to-hex" else id


def variants(text: str) -> list[str]:
    """Other ways to write an id, most likely first: case, leading zeros, the other base."""
    bare = text.lstrip("0") or "0"
    found = [text.lower(), text.upper(), bare, bare.lower(), bare.upper()]
    if text.isascii() and text.isdigit():  # a superscript two is a digit, but no number
        value = int(text)
        found += [format(value, "x"), format(value, "X"), format(value, "08x"), format(value, "08X")]
    found.append(_hex_to_decimal(text))
    return [v for v in dict.fromkeys(found) if v != text]
