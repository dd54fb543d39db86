"""A rule of routing as the fields of a form, and back. Pure.

Fields are called as the keys of a [[route]] with their path ("match.prefix"), so that what the settings say is wrong
finds its field. Lists are written with commas or on lines.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from protei_bulk.settings import Route
from protei_bulk.settings.routes import read_route, shown_route

LISTS = ("match.prefix", "match.sender", "match.user", "match.customer", "match.network", "match.tags")
CHECKED = ("match.channel", "match.priority")
TEXTS = ("match.pattern", "match.time", "rewrite.sender", "rewrite.dest_strip", "rewrite.dest_add")
NUMBERS = {
    "match.min_segments": 1, "match.max_segments": 0, "rewrite.source_ton": -1, "rewrite.source_npi": -1, "rewrite.dest_ton": -1,
    "rewrite.dest_npi": -1,
}  # fmt: skip
MOST_TARGETS = 12
_SEPARATOR = re.compile(r"[,\n]")
_ORDERS = (-(2**31), 2**31 - 1)


def fields_of(route: Route, enabled: bool = True) -> dict[str, Any]:
    """What a form shows of a rule."""
    table = _flat(shown_route(route, everything=True))
    fields: dict[str, Any] = {
        "name": route.name, "order": str(route.order), "strategy": route.strategy, "enabled": enabled, "reject": route.reject,
        "price": plain(route.price) if route.price else "", "next_after_receipt": route.next_after_receipt,
        "action": "reject" if route.reject else "send",
    }  # fmt: skip
    weights = [*map(str, route.weights), *[""] * len(route.to)]
    fields["targets"] = list(zip(route.to, weights, strict=False))
    for name in LISTS:
        fields[name] = ", ".join(map(str, table[name]))
    for name in CHECKED:
        fields[name] = list(table[name])
    for name in TEXTS:
        fields[name] = table[name]
    for name, nothing in NUMBERS.items():
        fields[name] = "" if table[name] == nothing else str(table[name])
    return fields


def plain(price: Decimal) -> str:
    """All its digits, and no zeros behind them."""
    return f"{price.normalize():f}"


def _flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}{key}.")
        else:
            found[path + key] = value
    return found


def fields_given(text: Callable[[str], str], all_of: Callable[[str], Sequence[str]], name: str = "") -> dict[str, Any]:
    """What was filled in; `name` of a rule that has one already."""
    fields: dict[str, Any] = {key: text(key) for key in ("order", "strategy", "price", "reject", "action", *LISTS, *TEXTS, *NUMBERS)}
    fields["name"] = name or text("name")
    fields["enabled"], fields["next_after_receipt"] = bool(text("enabled")), bool(text("next_after_receipt"))
    for key in CHECKED:
        fields[key] = [value[:20] for value in all_of(key)[:10]]
    pairs = list(zip(all_of("to"), [*all_of("weight"), *[""] * MOST_TARGETS], strict=False))[:MOST_TARGETS]
    fields["targets"] = [(smsc.strip()[:64], weight.strip()[:10]) for smsc, weight in pairs if smsc.strip()]
    return fields


def read_fields(fields: Mapping[str, Any], smscs: Collection[str]) -> tuple[Route | None, dict[str, str]]:
    """The rule, or None and what is wrong, by field."""
    errors: dict[str, str] = {}
    table: dict[str, Any] = {"name": fields["name"], "match": {}, "rewrite": {}, "next_after_receipt": fields["next_after_receipt"]}

    def put(key: str, value: Any) -> None:
        section, dot, rest = key.partition(".")
        (table[section] if dot else table)[rest or section] = value

    def number(key: str, value: str) -> int | None:
        if re.fullmatch(r"-?[0-9]{1,10}", value):
            return int(value)
        errors[key] = f'expected a whole number, got "{value[:20]}"'
        return None

    if fields["order"]:
        order = number("order", fields["order"])
        if order is not None and not _ORDERS[0] <= order <= _ORDERS[1]:
            errors["order"] = "expected a whole number of 32 bits"
        elif order is not None:
            put("order", order)
    for key in NUMBERS:
        if fields[key]:
            found = number(key, fields[key])
            if found is not None:
                put(key, found)
    for key in LISTS:
        words = [word.strip() for word in _SEPARATOR.split(fields[key]) if word.strip()]
        if words:
            put(key, words)
    for key in CHECKED:
        if fields[key]:
            put(key, list(fields[key]))
    for key in TEXTS:
        if fields[key]:
            put(key, fields[key])
    if fields["price"]:
        put("price", fields["price"])
    if fields["action"] == "reject":
        put("reject", fields["reject"])
        if not fields["reject"]:
            errors["reject"] = "choose the error that refuses the message"
    else:
        _targets(fields, table, errors)
    route, problems = read_route(table, smscs)
    for problem in problems:
        path, _, why = problem.partition(": ")
        key = field_of(path)
        errors.setdefault(key, why or problem)
    if fields["action"] == "reject":
        errors.pop("to", None)  # it says the same as the error of `reject`
    return (None, errors) if errors or route is None else (route, {})


def _targets(fields: Mapping[str, Any], table: dict[str, Any], errors: dict[str, str]) -> None:
    table["to"] = [smsc for smsc, _ in fields["targets"]]
    table["strategy"] = fields["strategy"] or "failover"
    if len(set(table["to"])) < len(table["to"]):
        errors["to"] = "an SMSC stands here twice"
    if table["strategy"] != "weighted":
        return
    weights = [weight or "1" for _, weight in fields["targets"]]
    if all(w.isascii() and w.isdigit() and len(w) < 5 for w in weights):
        table["weights"] = [int(w) for w in weights]
    else:
        errors["to"] = "expected whole numbers as weights"


def field_of(path: str) -> str:
    """The field that a path of the settings belongs to: "match.prefix.2" is in "match.prefix"."""
    parts = path.split(".")
    key = ".".join(parts[:2]) if parts[0] in ("match", "rewrite") and len(parts) > 1 else parts[0]
    return "to" if key == "weights" else key
