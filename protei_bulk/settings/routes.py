"""Rules of routing beside those of the file: read by the same rules, with the same errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import attrs

from protei_bulk.settings.reader import BAD, read_table
from protei_bulk.settings.rules import shown
from protei_bulk.settings.schema import Route


def read_route(table: Mapping[str, Any], smsc_ids: Collection[str] | None, path: str = "") -> tuple[Route | None, list[str]]:
    """A rule as [[route]] has it, or None and what is wrong with it, a line each beginning with the path of the key.

    `smsc_ids` None: whatever SMSCs it names are believed. Numbers with a point may be float: as in JSON.
    """
    problems: list[str] = []
    plain = _exact(dict(table))
    route = read_table(Route, plain, path, Path("/"), problems)
    problems += target_problems(plain, smsc_ids, path)
    return (None, problems) if problems or route is BAD else (route, [])


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {key: _exact(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_exact(v) for v in value]
    return value


def target_problems(row: Mapping[str, Any], smsc_ids: Collection[str] | None, path: str) -> list[str]:
    """Of one rule: an SMSC that is not there, none at all, weights that do not fit."""
    at = f"{path}." if path else ""
    to = row.get("to", [])
    names: Sequence[Any] = [to] if isinstance(to, str) else to
    if not isinstance(names, list):
        return []
    problems = []
    weights = row.get("weights", [])
    if isinstance(weights, list) and len(weights) > len(names):
        problems.append(f"{at}weights: expected no more of them than SMSCs in to ({len(names)}), got {len(weights)}")
    elif isinstance(weights, list) and weights and len(weights) == len(names) and not any(weights):
        problems.append(f"{at}weights: expected at least one above 0")
    if names and row.get("reject"):
        problems.append(f"{at}to: expected none beside reject")
    elif not names and not row.get("reject"):
        problems.append(f"{at}to: expected at least one SMSC, or reject")
    for place, name in enumerate(names, 1):
        if smsc_ids is not None and isinstance(name, str) and name not in smsc_ids:
            near = get_close_matches(name, list(smsc_ids), n=1)
            hint = f' (did you mean "{near[0]}"?)' if near else ""
            problems.append(f"{at}to.{place}: no [[smsc]] has the id {shown(name)}{hint}")
    return problems


def shown_route(route: Route, *, everything: bool = False) -> dict[str, Any]:
    """A rule as a table again, JSON at heart but for the price; without what is as by default."""
    table: dict[str, Any] = _table(route, everything)
    return table


def _table(value: Any, everything: bool) -> Any:
    if not attrs.has(type(value)):
        return list(value) if isinstance(value, tuple) else value
    found = {}
    for a in attrs.fields(type(value)):
        given = getattr(value, a.name)
        if everything or given != a.default:
            found[a.name] = _table(given, everything)
    return found
