"""From the recipients of a bulk order to messages, one by one. Pure but for the Message it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from protei_bulk.channels.http import fields
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.order import MAX_TEXT, BulkOrder
from protei_bulk.model.message import Message
from protei_bulk.text.gsm import NotGsm
from protei_bulk.text.segments import Encoded, TooLong, encode_text
from protei_bulk.text.smart import smart
from protei_bulk.text.variables import Missing, Wording

SHORTEST, LONGEST = 10, 15  # digits of a recipient
_DIGITS = re.compile(r"[0-9]+\Z")


@frozen
class Rejection:
    """A recipient that is not taken, as the response's `errors` lists it."""

    index: int
    msisdn: str
    code: str
    error: str

    def as_json(self) -> dict[str, Any]:
        return {"msisdn": self.msisdn, "error": self.error, "code": self.code, "index": self.index}


class _Refused(Exception):
    def __init__(self, code: str, error: str) -> None:
        super().__init__(error)
        self.code, self.error = code, error


def check_shape(index: int, recipient: object) -> None:
    """The types of one recipient. Raises Problem: a request of another shape is refused as a whole."""
    path = f"$.recipients[{index}]"
    if type(recipient) is not dict:
        raise invalid(path, f"expected an object, got {fields.kind(recipient)}")
    msisdn = recipient.get("msisdn")
    if type(msisdn) is not str and type(msisdn) is not int:
        fault = "is required" if msisdn is None else f"expected a string, got {fields.kind(msisdn)}"
        raise invalid(f"{path}.msisdn", fault)
    message = recipient.get("message")
    if message is not None and type(message) is not str:
        raise invalid(f"{path}.message", f"expected a string, got {fields.kind(message)}")
    variables = recipient.get("variables")
    if variables is None:
        return
    if type(variables) is not dict:
        raise invalid(f"{path}.variables", f"expected an object, got {fields.kind(variables)}")
    for name, value in variables.items():
        if type(value) not in (str, int, float):
            raise invalid(f"{path}.variables.{name}", f"expected a string or a number, got {fields.kind(value)}")


class MessageMaker:
    """Makes the messages of one order. Recipients with the same text are encoded once."""

    def __init__(self, order: BulkOrder) -> None:
        self._order = order
        self._last: tuple[str, str, Encoded] | None = None  # as given, as it goes out, encoded
        self._template: Wording | None = None

    def make(self, index: int, recipient: Mapping[str, Any]) -> Message | Rejection:
        """`recipient` has passed check_shape."""
        order = self._order
        given = str(recipient["msisdn"])
        try:
            dest = _destination(given)
            text, encoded = self._encode(self._text(recipient))
        except _Refused as refused:
            return Rejection(index, given[:40], refused.code, refused.error)
        m = Message()
        m.channel = "HTTP_API"
        m.source, m.source_ton, m.source_npi = order.sender, order.source_ton, order.source_npi
        m.dest = dest
        m.text = text
        m.body = encoded.body
        m.data_coding = encoded.data_coding
        m.segments = encoded.segments
        m.registered = 1
        m.dlr_url = order.dlr_url
        m.priority = order.priority
        m.tags = order.tags
        m.not_before = order.not_before
        m.sequence = index
        return m

    def _text(self, recipient: Mapping[str, Any]) -> str:
        template = recipient.get("message") or self._order.template
        if not template:
            raise _Refused("NO_MESSAGE", "There is no message text")
        if "%" in template:
            try:
                text = self._compiled(template).render(recipient.get("variables"))
            except Missing as error:
                raise _Refused("MISSING_VARIABLE", f"The variable {error.name} has no value") from None
        else:
            text = template
        if not text:
            raise _Refused("NO_MESSAGE", "The message text is empty")
        if len(text) > MAX_TEXT:
            raise _Refused("MESSAGE_TOO_LONG", "The message is too long")
        if "\0" in text:
            raise _Refused("INVALID_TEXT", "The text must not hold the character U+0000")
        return text

    def _compiled(self, template: str) -> Wording:
        if self._template is None or self._template.text != template:
            self._template = Wording(template)
        return self._template

    def _encode(self, given: str) -> tuple[str, Encoded]:
        if self._last is not None and self._last[0] == given:
            return self._last[1:]
        encoding, text = self._order.encoding, given
        if self._order.smart:
            better = smart(given)
            if not better.foreign:
                encoding, text = "GSM7", better.text
        try:
            encoded = encode_text(text, encoding)
        except NotGsm as error:
            raise _unencodable(error.character, error.position, encoding) from None
        except UnicodeEncodeError as error:
            raise _unencodable(text[error.start], error.start, encoding) from None
        except TooLong as error:
            raise _Refused("MESSAGE_TOO_LONG", f"The message is too long: {error}") from None
        self._last = (given, text, encoded)
        return text, encoded


def _destination(given: str) -> str:
    digits = given.removeprefix("+")
    if not _DIGITS.match(digits):
        raise _Refused("INVALID_MSISDN", "The recipient must be digits, with an optional leading +")
    if not SHORTEST <= len(digits) <= LONGEST:
        raise _Refused("INVALID_MSISDN", f"The recipient must have {SHORTEST} to {LONGEST} digits")
    return digits


def _unencodable(character: str, position: int, encoding: str) -> _Refused:
    return _Refused(
        "INVALID_TEXT",
        f"{character!r} (U+{ord(character):04X}) at position {position + 1} cannot be encoded in {encoding}",
    )
