"""JSON that means one thing only: what two readers could understand differently is refused.

orjson sees to UTF-8, lone surrogates, NaN and infinity. Here: a name twice in an object, numbers that 64 bits do not
hold (orjson would round them), and nesting without end. U+0000 is for the fields: one recipient's is no fault of the others.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from protei_bulk.channels.http.problems import Problem

DEEPEST = 32
_MOST = 2**63
_SPACE_BEFORE_COLON = re.compile(rb'"[ \t\r\n]+:')


def loads(data: bytes) -> object:
    """Raises Problem 400."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _malformed(str(error)) from None
    names = _look(document)
    # As many `":` as names: then no object has a name twice. A text may hold one too, so that more proves nothing.
    if data.count(b'":') != names or _SPACE_BEFORE_COLON.search(data):
        json.loads(data, object_pairs_hook=_unique)
    return document


def _look(document: object) -> int:
    """How many names the objects have in all."""
    names = 0
    level: list[Any] = [document] if isinstance(document, dict | list) else []
    _number(document)
    for _ in range(DEEPEST):
        below: list[Any] = []
        for container in level:
            if type(container) is dict:
                names += len(container)
                container = container.values()
            for value in container:
                kind = type(value)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    below.append(value)
                else:
                    _number(value)
        if not below:
            return names
        level = below
    raise _malformed(f"nested more than {DEEPEST} levels deep")


def _number(value: object) -> None:
    # -2^63 as a float may have been an integer below it, rounded.
    if isinstance(value, int | float) and not (-_MOST < value < _MOST or (value == -_MOST and isinstance(value, int))):
        raise _malformed("a number is beyond 64 bits")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _malformed(f"the name {twice[:100]!r} stands twice in an object")
    return found


def _malformed(why: str) -> Problem:
    return Problem(400, "MALFORMED_JSON", f"The body is not acceptable JSON: {why}")
