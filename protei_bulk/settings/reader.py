"""From parsed TOML to the classes of schema.py: walks their annotations and gathers every problem.

A path counts list entries from 1: ``smsc.1.window`` is the window of the first [[smsc]].
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs

from protei_bulk.settings.rules import Flag, Number, Refused, Rule, Text, Whole, shown

T = TypeVar("T")

_PLAIN: Mapping[object, Rule] = {bool: Flag(), int: Whole(None), float: Number(None), str: Text()}

BAD: Any = object()  # stands for a value that was refused; never leaves this package's loader


def read_table(cls: type[T], table: object, path: str, base: Path, problems: list[str]) -> T:
    """An instance of cls, or BAD after at least one line was added to problems."""
    if not isinstance(table, dict):
        problems.append(f"{path}: expected a table, got {shown(table)}")
        return cast(T, BAD)
    hints = get_type_hints(cls, include_extras=True)
    known = attrs.fields_dict(cast(Any, cls))
    values: dict[str, object] = {}
    for key in table:
        if key not in known:
            problems.append(f"{_join(path, key)}: unknown key{_suggestion(key, known)}")
    for name, attribute in known.items():
        if name in table:
            values[name] = _read(hints[name], table[name], _join(path, name), base, problems)
        elif attribute.default is attrs.NOTHING:
            problems.append(f"{_join(path, name)}: missing")
            values[name] = BAD
    return cast(T, BAD) if any(v is BAD for v in values.values()) else cls(**values)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _suggestion(key: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _read(hint: Any, value: object, path: str, base: Path, problems: list[str]) -> object:
    if attrs.has(hint):
        return read_table(hint, value, path, base, problems)
    if get_origin(hint) is tuple:
        return _read_list(get_args(hint)[0], value, path, base, problems)
    rule = get_args(hint)[1] if get_origin(hint) is Annotated else _PLAIN[hint]
    try:
        return rule.read(value, base)
    except Refused as refused:
        got = "" if getattr(rule, "secret", False) else f", got {shown(value)}"
        problems.append(f"{path}: expected {refused}{got}")
        return BAD


def _read_list(hint: Any, value: object, path: str, base: Path, problems: list[str]) -> object:
    if attrs.has(hint):
        if not isinstance(value, list):
            problems.append(f"{path}: expected tables [[{path}]], got {shown(value)}")
            return BAD
    elif isinstance(value, str):
        value = [value]  # a single word where a list may stand
    elif not isinstance(value, list):
        problems.append(f"{path}: expected a list, got {shown(value)}")
        return BAD
    read = [_read(hint, v, _join(path, str(n)), base, problems) for n, v in enumerate(value, 1)]
    return BAD if any(v is BAD for v in read) else tuple(read)
