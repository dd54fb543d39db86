"""Fields of a JSON document, each fault with its path (``$.recipients[3].msisdn``). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protei_bulk.channels.http.problems import Problem


def invalid(path: str, fault: str) -> Problem:
    """422: the JSON is well formed but a field is not what it must be."""
    return Problem(422, "INVALID_FIELD", f"{path}: {fault}", path=path)


_KINDS = {str: "a string", int: "a number", float: "a number", bool: "true or false", list: "an array", dict: "an object"}


def kind(value: object) -> str:
    return "null" if value is None else _KINDS.get(type(value), type(value).__name__)


def text(
    body: Mapping[str, Any], name: str, path: str = "$", *, required: bool = False, longest: int = 0
) -> str | None:
    """A string, None where it is absent or null. NUL is refused: no database column takes it."""
    value = body.get(name)
    if value is None:
        if required:
            raise invalid(f"{path}.{name}", "is required")
        return None
    if not isinstance(value, str):
        raise invalid(f"{path}.{name}", f"expected a string, got {kind(value)}")
    if "\0" in value:
        raise invalid(f"{path}.{name}", "must not hold the character U+0000")
    if longest and len(value) > longest:
        raise invalid(f"{path}.{name}", f"is longer than {longest} characters")
    if required and not value.strip():
        raise invalid(f"{path}.{name}", "must not be empty")
    return value


def flag(body: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise invalid(f"$.{name}", f"expected true or false, got {kind(value)}")
    return value


def whole(body: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"$.{name}", f"expected a whole number, got {kind(value)}")
    if not low <= value <= high:
        raise invalid(f"$.{name}", f"must be {low} to {high}")
    return value
