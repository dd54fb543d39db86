"""What an uploaded file looks like: its form, its columns with samples, and which of them is probably what. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from attrs import evolve

from protei_bulk.campaigns.draft import MAX_VARIABLES
from protei_bulk.campaigns.numbers import BadNumber, Numbers
from protei_bulk.campaigns.tables import (
    DELIMITERS,
    ENCODINGS,
    Octets,
    Refused,
    Rows,
    bare,
    first_rows,
    form_of,
)
from protei_bulk.campaigns.workbook import Workbook

SAMPLES, LOOKED_AT = 5, 50
_CELL = 80  # characters of a sample
_LIKE_A_NUMBER = re.compile(r"[+0(\d\u0660-\u0669\u06f0-\u06f9][\d\s().\-/\u0660-\u0669\u06f0-\u06f9]{5,24}\Z")
_NAMES_OF_NUMBERS = re.compile(
    r"(?i)msisdn|mobile|phone|gsm|cell|tel\b|telephone|number|recipient|destination|\u062c\u0648\u0627\u0644|\u0647\u0627\u062a\u0641"
    r"|\u0631\u0642\u0645|\u0645\u0648\u0628\u0627\u064a\u0644|\u0645\u062d\u0645\u0648\u0644"
)

_KNOWN = (
    ("NAME", re.compile("(?i)^((first|full|given|customer)[ _-]?)?name$|^\u0627?\u0644?\u0627\u0633\u0645")),
    ("CITY", re.compile("(?i)^(city|town)$|^(\u0627\u0644)?\u0645\u062f\u064a\u0646\u0629$")),
)


def preview(upload: Octets | None, workbook: Workbook | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of one of both; `given` may say delimiter, encoding and sheet. Raises Refused."""
    if workbook is not None:
        sheets = workbook.sheets
        sheet, rows, total = 0, [], 0
        wanted = given.get("sheet")
        for sheet in [wanted] if isinstance(wanted, int) else range(len(sheets)):  # the first that holds anything
            records = workbook.rows(sheet)
            rows, total = first_rows(records, LOOKED_AT), records.total
            if rows:
                break
        form: dict[str, Any] = {"kind": "xlsx", "delimiter": "", "encoding": "", "sheets": sheets, "sheet": sheet, "damaged": 0}
    else:
        assert upload is not None
        found = form_of(upload)
        if given.get("encoding") in ENCODINGS and given["encoding"] != found.encoding:
            found = evolve(found, encoding=given["encoding"], damaged=0)
        if given.get("delimiter") in DELIMITERS:
            found = evolve(found, delimiter=given["delimiter"])
        rows = first_rows(Rows(upload, found.encoding, found.delimiter), LOOKED_AT)
        total = found.lines
        form = {
            "kind": "text", "delimiter": found.delimiter, "encoding": found.encoding, "sheets": [], "sheet": 0, "damaged": found.damaged,
        }  # fmt: skip
    if not rows:
        raise Refused("EMPTY_FILE")
    return {**form, **columns_of(rows), "rows_estimated": total}


def columns_of(rows: list[list[str]]) -> dict[str, Any]:
    """`rows` are the first that hold anything, the first of them perhaps a heading."""
    width = max(len(r) for r in rows)
    table = [[*r, *[""] * (width - len(r))] for r in rows]
    body = table[1:] or table
    shares = [sum(_looks(r[i]) for r in body) / len(body) for i in range(width)]
    named = [bool(_NAMES_OF_NUMBERS.search(table[0][i])) for i in range(width)]
    number = max(range(width), key=lambda i: (round(shares[i], 1) + 0.25 * named[i], -i))
    if shares[number] == 0 and not named[number]:
        number = 0 if width == 1 else -1
    header = len(table) > 1 and number >= 0 and not _looks(table[0][number])
    if len(table) == 1 and number >= 0:
        header = False
    titles = table[0] if header else [""] * width
    names: dict[str, int] = {}
    samples = table[1:] if header else table
    for i in range(width):
        if i != number:
            names[_name(titles[i], i, names)] = i
    by_column = {i: name for name, i in names.items()}
    held = {name: i for name, i in names.items() if any(r[i] for r in samples) or not samples}  # the others are empty
    return {
        "header": header,
        "columns": [
            {"name": titles[i][:_CELL], "samples": [r[i][:_CELL] for r in samples[:SAMPLES]], "variable": by_column.get(i, "")}
            for i in range(width)
        ],
        "mapping": {"header": header, "number": number, "variables": dict(list(held.items())[:MAX_VARIABLES])},
    }  # fmt: skip


def _looks(cell: str) -> bool:
    """Whether it could be somebody's number, in whatever country."""
    cell = bare(cell)
    if not _LIKE_A_NUMBER.match(cell):
        return False
    try:
        Numbers("").read(cell)
        return True
    except BadNumber as bad:
        return bad.code not in ("NOT_A_NUMBER", "EMPTY")


def _name(title: str, column: int, taken: dict[str, int]) -> str:
    """A variable's name from a heading: letters of ours only."""
    for known, pattern in _KNOWN:
        if known not in taken and pattern.search(title):
            return known
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_").upper()[:60]
    if not name or not re.match("[A-Z]", name):
        name = f"COLUMN_{column + 1}"
    while name in taken:
        name = f"{name[:55]}_{column + 1}"
    return name
