"""What a value in a request may be: read and described by the same object, so that the document cannot lie. Pure.

`read` raises Problem 422 with the path of the fault; `schema` is JSON Schema 2020-12, as OpenAPI 3.1 has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any, Protocol

from attrs import define, field

from protei_bulk.channels.http.fields import invalid, kind

#: no control characters: they are in no name, and they make a mess of logs and terminals
PRINTABLE = r"[^\x00-\x1f\x7f-\x9f]*"
_BIGGEST = 2**63 - 1
_MOST_MONEY = 999_999_999_999
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class Shape(Protocol):
    @property
    def schema(self) -> dict[str, Any]: ...

    def read(self, value: object, path: str) -> Any:
        """The value. Raises Problem."""


@define
class Text:
    """A string of low to high characters that the pattern matches as a whole; without one, of printable characters."""

    high: int
    low: int = 0
    pattern: str = PRINTABLE
    about: str = ""
    secret: bool = False
    expected: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "string", "maxLength": self.high}
        if self.low:
            found["minLength"] = self.low
        if self.pattern:
            found["pattern"] = f"^(?:{self.pattern})$" if "|" in self.pattern else f"^{self.pattern}$"
        if self.secret:
            found["format"] = "password"
        return _about(found, self.about)

    def read(self, value: object, path: str) -> str:
        if not isinstance(value, str):
            raise invalid(path, f"expected a string, got {kind(value)}")
        if len(value) > self.high:
            raise invalid(path, f"is longer than {self.high} characters")
        if len(value) < self.low:
            raise invalid(path, "must not be empty" if self.low == 1 else f"is shorter than {self.low} characters")
        if "\0" in value:
            raise invalid(path, "must not hold the character U+0000")
        if self.pattern and not re.fullmatch(self.pattern, value, re.DOTALL):
            raise invalid(path, self.expected or "holds a character that may not be there")
        return value


@define
class Whole:
    """An integer. In a query it comes as digits."""

    low: int = 0
    high: int = _BIGGEST
    default: int | None = None
    about: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "integer", "minimum": self.low, "maximum": self.high}
        if self.default is not None:
            found["default"] = self.default
        return _about(found, self.about)

    def read(self, value: object, path: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON has one kind of number: 1.0 is 1
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid(path, f"expected a whole number, got {kind(value)}")
        if not self.low <= value <= self.high:
            raise invalid(path, f"must be {self.low} to {self.high}")
        return value


@define
class Amount:
    """Money: a number, or its digits as a string, exact to six decimals."""

    low: Decimal | None = None
    about: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        low = {} if self.low is None else {"minimum": float(self.low)}
        digits = r"^[0-9]{1,12}(\.[0-9]{1,6})?$" if self.low is not None else r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$"
        number = {"type": "number", **(low or {"minimum": -_MOST_MONEY}), "maximum": _MOST_MONEY}
        return _about({"anyOf": [number, {"type": "string", "pattern": digits}]}, self.about)

    def read(self, value: object, path: str) -> Decimal:
        fault = invalid(path, "expected an amount such as 25000.50, with at most 6 decimals")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise fault
        if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", value):
            raise fault
        try:
            amount = Decimal(str(value))
        except InvalidOperation:
            raise fault from None
        if abs(amount) > _MOST_MONEY or amount != round(amount, 6):
            raise fault
        if self.low is not None and amount < self.low:
            raise invalid(path, f"must not be less than {self.low}")
        return amount


@define
class Flag:
    about: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        return _about({"type": "boolean"}, self.about)

    def read(self, value: object, path: str) -> bool:
        if not isinstance(value, bool):
            raise invalid(path, f"expected true or false, got {kind(value)}")
        return value


@define
class Choice:
    choices: Sequence[str]
    about: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        return _about({"type": "string", "enum": list(self.choices)}, self.about)

    def read(self, value: object, path: str) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise invalid(path, f"must be one of {', '.join(self.choices)}")
        return value


@define
class Moment:
    """A time with its offset, as RFC 3339 writes it. Read as an aware datetime in UTC."""

    about: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        return _about({"type": "string", "format": "date-time"}, self.about)

    def read(self, value: object, path: str) -> datetime:
        expected = "expected a time such as 2025-01-20T10:00:00Z"
        if not isinstance(value, str) or not _MOMENT.fullmatch(value):
            raise invalid(path, expected)
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise invalid(path, expected) from None


@define
class Items:
    """A list without repetitions."""

    item: Shape
    most: int
    about: str = ""

    @property
    def schema(self) -> dict[str, Any]:
        return _about({"type": "array", "items": self.item.schema, "maxItems": self.most}, self.about)

    def read(self, value: object, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise invalid(path, f"expected an array, got {kind(value)}")
        if len(value) > self.most:
            raise invalid(path, f"holds more than {self.most} entries")
        return list(dict.fromkeys(self.item.read(item, f"{path}[{n}]") for n, item in enumerate(value)))


@define(slots=False)
class Body:
    """An object of these fields and no others. A required field is neither absent nor null; another one may be both.

    least: how many fields there must be.
    """

    fields: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    least: int = 0
    nullable: tuple[str, ...] = field(default=())  # null means something: it takes the value away

    @cached_property
    def schema(self) -> dict[str, Any]:
        properties = {
            name: _or_null(shape.schema) if name in self.nullable else shape.schema for name, shape in self.fields.items()
        }
        found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if self.required:
            found["required"] = list(self.required)
        if self.least:
            found["minProperties"] = self.least
        return found

    def read(self, value: object, path: str = "$") -> dict[str, Any]:
        """Only what was given. A null where null means something is None."""
        if not isinstance(value, dict):
            raise invalid(path, f"expected an object, got {kind(value)}")
        for name in value:
            if name not in self.fields:
                raise invalid(f"{path}.{name[:100]}", f"there is no such field; there are {', '.join(self.fields)}")
        for name in self.required:
            if name not in value:
                raise invalid(f"{path}.{name}", "is required")
        if len(value) < self.least:
            raise invalid(path, "names nothing to change")
        return {
            name: None if given is None and name in self.nullable else self.fields[name].read(given, f"{path}.{name}")
            for name, given in value.items()
        }


def _about(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {**schema, "description": text} if text else schema


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
