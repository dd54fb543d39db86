"""What stands after the question mark of a path, and the values of {names} in it. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import orjson

from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem
from protei_bulk.channels.http.shapes import Shape, Text, Whole

LIMIT, MOST = 50, 500
CURSOR = Text(400, pattern=r"[A-Za-z0-9_=-]*", about="`next_cursor` of the answer before")
PAGE: Mapping[str, Shape] = {
    "limit": Whole(1, MOST, LIMIT, about="entries a page"),
    "cursor": CURSOR,
}
_DIGITS = re.compile(r"-?[0-9]{1,19}\Z")


def read_query(x: Exchange, known: Mapping[str, Shape]) -> dict[str, Any]:
    """The parameters that were given. An unknown one, or one given twice, is a mistake: Problem 422."""
    found: dict[str, Any] = {}
    for raw, values in (x.request.args or {}).items():
        try:
            name = raw.decode("utf-8")
            value = values[0].decode("utf-8")
        except UnicodeDecodeError:
            raise invalid("query", "is not UTF-8") from None
        path = f"query.{name[:100]}"
        if name not in known:
            raise invalid(path, f"there is no such parameter; there are {', '.join(known) or 'none'}")
        if len(values) > 1:
            raise invalid(path, "given twice")
        shape = known[name]
        given: object = value
        if isinstance(shape, Whole):
            if not _DIGITS.match(value):
                raise invalid(path, "expected a whole number")
            given = int(value)
        found[name] = shape.read(given, path)
    return found


def path_id(x: Exchange, name: str, what: str) -> int:
    """A number in the path. Problem 404 for what is none: there is nothing under such a path."""
    text = x.path[name]
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) or not 0 < int(text) < 2**63:
        raise Problem(404, "NOT_FOUND", f"There is no such {what}")
    return int(text)


def make_cursor(*position: object) -> str:
    """An opaque name of where the next page begins."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def read_cursor(text: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """What make_cursor was given, None for none. Problem 422 for what it did not make."""
    if not text:
        return None
    try:
        position = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        position = None
    good = isinstance(position, list) and len(position) == len(kinds)
    if not good or any(type(v) is not k for v, k in zip(position, kinds, strict=True)):
        raise invalid("query.cursor", "expected the next_cursor of an earlier answer")
    if any(isinstance(v, int) and not 0 <= v < 2**63 for v in position) or any(isinstance(v, str) and "\0" in v for v in position):
        raise invalid("query.cursor", "expected the next_cursor of an earlier answer")
    return tuple(position)
