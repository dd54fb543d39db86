"""Lists for people (columns) and for programs (JSON)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import click
import orjson

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show_list(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """A table of these columns, or a JSON list with everything that the rows hold."""
    rows = list(rows)
    if as_json:
        show_json(rows)
        return
    table = [[c.replace("_", " ").upper() for c in columns]]
    table += [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[n]) for line in table) for n in range(len(columns))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def show_json(value: object) -> None:
    text = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z)
    click.echo(text.decode())


def show_record(record: Mapping[str, Any], first: Sequence[str] = ()) -> None:
    """Name and value by line, those of `first` before the others; what is nested, indented. Nothing is left out."""
    _show({name: record[name] for name in first if name in record} | dict(record), "")


def _show(record: Mapping[str, Any], indent: str) -> None:
    width = max((len(name) for name in record), default=0)
    for name, value in record.items():
        if isinstance(value, Mapping):
            click.echo(f"{indent}{name}:")
            _show(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            click.echo(f"{indent}{name}:")
            for number, entry in enumerate(value, 1):
                click.echo(f"{indent}  {number}.")
                _show(entry, indent + "     ")
        else:
            click.echo(f"{indent}{name.ljust(width)}  {_cell(Decimal(repr(value)) if isinstance(value, float) else value)}".rstrip())


def _cell(value: object) -> str:
    if value is None or value == [] or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, Decimal):
        exact = format(value.normalize(), "f")
        return exact if len(exact.partition(".")[2]) > 2 else format(value, ".2f")
    if isinstance(value, float):
        return f"{value:.1f}"  # of a list: a rate or an age; a record shows all of it
    # Control characters of a message must not reach the terminal.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)
