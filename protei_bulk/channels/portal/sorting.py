"""Lists that sort by a heading, a page at a time: what the address says of it, and the cursor of the next page."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from typing import Any

from protei_bulk.channels.portal.visit import Listing, Visit


def read_sort(visit: Visit, sorts: Container[str], default: str) -> tuple[str, bool, tuple[str, int] | None]:
    """(what it sorts by, whether falling, the place after which it goes on)."""
    sort = visit.text("sort", 20)
    known = sort in sorts
    falling = known and visit.text("direction", 10) == "desc"
    number, _, place = visit.text("after", 300).partition(".")
    after = (place, int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else None
    return sort if known else default, falling, after


def sorted_page(visit: Visit, rows: list[dict[str, Any]], size: int, sort: str, falling: bool) -> tuple[list[dict[str, Any]], Listing]:
    """The rows of the page, of which one more may have come, and what the macros need. Rows have `id` and `place`."""
    more = f"{rows[size - 1]['id']}.{rows[size - 1]['place']}" if len(rows) > size else ""
    return rows[:size], Listing(visit, len(rows[:size]), more, sort, "desc" if falling else "asc")


def plain(value: Any) -> Any:
    """For a cell of a file."""
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
