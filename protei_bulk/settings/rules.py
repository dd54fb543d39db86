"""What a single value may be. A rule turns a TOML value into a setting or says why not.

A rule raises Refused with what it expected; the reader adds the path and what it got.
TOML numbers with a point arrive as Decimal, so that money stays exact.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

from protei_bulk.model.account import network_of
from protei_bulk.model.urls import url_fault
from protei_bulk.smpp import statuses


class Refused(Exception):
    """The value breaks the rule; the message names what was expected ("a whole number from 1")."""


class Rule(Protocol):
    def read(self, value: object, base: Path) -> object:
        """The setting for a TOML value; relative paths count from base. Raises Refused."""


def shown(value: object) -> str:
    """A value as the person wrote it, shortened; tables and lists by their kind only."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:57] + "..."
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    return str(value)


def _between(noun: str, low: object, high: object) -> str:
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    return f"{noun} from {low}" if low is not None else noun


@frozen
class Whole:
    """A whole number between low and high, both included."""

    low: int | None = 0
    high: int | None = None

    def read(self, value: object, base: Path) -> int:
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
        ):
            raise Refused(_between("a whole number", self.low, self.high))
        return value


@frozen
class Number:
    """A finite number, with or without a point, between low and high (seconds, as a rule)."""

    low: float | None = 0
    high: float | None = None

    def read(self, value: object, base: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise Refused(_between("a number", self.low, self.high))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if (
            not math.isfinite(number)
            or (self.low is not None and number < self.low)
            or (self.high is not None and number > self.high)
        ):
            raise Refused(_between("a number", self.low, self.high))
        return number


@frozen
class Money:
    """An exact decimal amount from 0, as a number or in quotes, with at most six digits after the point."""

    def read(self, value: object, base: Path) -> Decimal:
        expected = "an amount of money from 0 with at most 6 decimals"
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise Refused(expected)
        try:
            amount = Decimal(value)
        except InvalidOperation:
            raise Refused(expected) from None
        if not amount.is_finite() or not 0 <= amount < 10**12:
            raise Refused(expected)
        exponent = amount.normalize().as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -6:
            raise Refused(expected)
        return amount


@frozen
class OneNumber:
    """One of a few whole numbers."""

    choices: tuple[int, ...]

    def read(self, value: object, base: Path) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value not in self.choices:
            raise Refused("one of " + ", ".join(str(c) for c in self.choices))
        return value


@frozen
class Flag:
    def read(self, value: object, base: Path) -> bool:
        if not isinstance(value, bool):
            raise Refused("true or false")
        return value


@frozen
class Text:
    """A string of low to high characters, ASCII when it goes into an SMPP C-octet string."""

    low: int = 0
    high: int | None = None
    ascii: bool = False
    secret: bool = False  # never repeated in an error

    def read(self, value: object, base: Path) -> str:
        good = isinstance(value, str) and "\0" not in value
        if not isinstance(value, str) or not good:
            raise Refused("text in quotes")
        if len(value) < self.low:
            raise Refused("text that is not empty")
        if self.high is not None and len(value) > self.high:
            raise Refused(f"text of at most {self.high} characters")
        if self.ascii and not value.isascii():
            raise Refused("text in ASCII")
        return value


@frozen
class OneOf:
    choices: tuple[str, ...]

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise Refused("one of " + ", ".join(f'"{c}"' for c in self.choices))
        return value


@frozen
class Name:
    """A name that commands, metrics and logs repeat: letters, digits and ``. _ -``, at most 64."""

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
            raise Refused("a name of letters, digits, '.', '_' and '-', at most 64")
        return value


@frozen
class File:
    """A path to a file or folder; an empty string means none."""

    required: bool = False

    def read(self, value: object, base: Path) -> Path | None:
        if not isinstance(value, str) or "\0" in value or (self.required and not value):
            raise Refused("a path in quotes")
        return (base / value).resolve() if value else None


@frozen
class Pattern:
    """A regular expression in Python's syntax; an empty string matches everything."""

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str):
            raise Refused("a regular expression in quotes")
        try:
            re.compile(value)
        except re.error as error:
            raise Refused(f"a regular expression ({error})") from None
        return value


@frozen
class Endpoint:
    """A Twisted server endpoint such as ``tcp:2775:interface=127.0.0.1``; only its beginning is checked."""

    optional: bool = False  # an empty string means none

    def read(self, value: object, base: Path) -> str:
        if self.optional and value == "":
            return ""
        expected = 'an endpoint such as "tcp:2775:interface=127.0.0.1"'
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*:.+", value):
            raise Refused(expected)
        kind, port, *_ = re.split(r"(?<!\\):", value)
        if kind in ("tcp", "tcp6", "ssl"):
            number = port.removeprefix("port=")
            if not number.isascii() or not number.isdigit() or int(number) > 65535:
                raise Refused(expected)
        return value


@frozen
class Network:
    """An IP address or a network in CIDR form."""

    def read(self, value: object, base: Path) -> IPv4Network | IPv6Network:
        expected = 'an IP address or a network such as "10.0.0.0/8"'
        if not isinstance(value, str):
            raise Refused(expected)
        try:
            return network_of(value)
        except ValueError:
            raise Refused(expected) from None


@frozen
class Url:
    """An absolute http or https address without a query; an empty string means none."""

    def read(self, value: object, base: Path) -> str:
        address = r"https?://[^\s/?#]+(/[^\s?#]*)?"
        if not isinstance(value, str) or (value and not re.fullmatch(address, value)):
            raise Refused('an address such as "https://bulk.example.com"')
        return value.rstrip("/")


@frozen
class WebAddress:
    """An absolute http or https address, with a query where one is wanted, of at most 500 characters; an empty string means none."""

    def read(self, value: object, base: Path) -> str:
        address = r"https?://[^\s/?#]+(/[^\s?#]*)?(\?[^\s#]*)?"
        if not isinstance(value, str) or (value and not (value.isascii() and len(value) <= 500 and re.fullmatch(address, value))):
            raise Refused('an address such as "https://shop.example.com/sms", of at most 500 characters')
        fault = url_fault(value) if value else None
        if fault:
            raise Refused(f'an address such as "https://shop.example.com/sms" (it {fault})')
        return value


@frozen
class Word:
    """One word of 1 to 64 characters."""

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str) or len(value) > 64 or value.split() != [value] or "\0" in value:
            raise Refused("a single word of at most 64 characters")
        return value


@frozen
class Prefix:
    """The first digits of an international number, without ``+``."""

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,20}", value):
            raise Refused('digits in quotes such as "96278"')
        return value


@frozen
class Hours:
    """Hours of the day, ``08:00-20:00``, may pass midnight; then a time zone, UTC where none stands."""

    def read(self, value: object, base: Path) -> str:
        expected = 'hours such as "08:00-20:00" or "08:00-20:00 Asia/Amman"'
        clock = r"(?:[01]\d|2[0-3]):[0-5]\d"
        found = re.fullmatch(rf"{clock}-{clock}(?: (\S+))?|", value) if isinstance(value, str) else None
        if not isinstance(value, str) or found is None:
            raise Refused(expected)
        try:
            ZoneInfo(found[1] or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise Refused(expected) from None
        return value


@frozen
class Currency:
    """A code of three letters (ISO 4217)."""

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
            raise Refused('a currency such as "USD"')
        return value


@frozen
class CountryCode:
    """A code of two letters (ISO 3166-1 alpha-2)."""

    def read(self, value: object, base: Path) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{2}", value):
            raise Refused('a country such as "JO"')
        return value


#: what may be done about a command_status: the words of connectors.verdicts
VERDICTS = ("pause", "retry", "next", "reject")


@frozen
class Errors:
    """A table from command_status, by name or number, to what is done about it."""

    def read(self, value: object, base: Path) -> tuple[tuple[int, str], ...]:
        if not isinstance(value, dict):
            raise Refused('a table such as {ESME_RINVDSTADR = "reject", "0x0400" = "retry"}')
        found: dict[int, str] = {}
        for key, word in value.items():
            status = statuses.code(key)
            if not status and re.fullmatch(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", key):
                status = int(key, 0) if key[1:2] in "xX" and len(key) > 1 else int(key)
            if not 0 < status <= 0xFFFFFFFF:
                raise Refused(f"the names or numbers of errors, not {shown(key)}")
            if not isinstance(word, str) or word not in VERDICTS:
                raise Refused(f"one of {', '.join(VERDICTS)} for {key}")
            found[status] = word
        return tuple(found.items())


@frozen
class Status:
    """The name of a command_status other than ESME_ROK, such as ``ESME_RINVDSTADR``; an empty string means none."""

    def read(self, value: object, base: Path) -> str:
        if value == "":
            return ""
        if not isinstance(value, str) or not statuses.code(value):
            raise Refused('the name of an error such as "ESME_RINVDSTADR"')
        return value
