"""Lists as CSV files that spreadsheets open and do not obey."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from protei_bulk.channels.portal.shell import Answer

# At the beginning, or after what a spreadsheet of another country, or one told so, takes for the end of a cell.
_FORMULA = re.compile("(\\A|[;\t\r\n])(?=[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")


def safe_cell(value: Any) -> str:
    """A text that a spreadsheet shows instead of running (OWASP: CSV injection); numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    text = str(value).replace("\0", "")
    return _FORMULA.sub(r"\1'", text)


def csv_answer(name: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Answer:
    """A download. The mark at the beginning tells spreadsheets that it is UTF-8."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(headings)
    for row in rows:
        writer.writerow([safe_cell(v) for v in row])
    return Answer(
        ("\ufeff" + out.getvalue()).encode("utf-8", "replace"), content_type="text/csv; charset=utf-8",
        headers=(("Content-Disposition", f'attachment; filename="{name}.csv"'),),
    )  # fmt: skip
