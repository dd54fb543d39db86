"""A customer's statement as a CSV file that spreadsheets open and do not obey."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from protei_bulk.channels.portal.export import safe_cell
from protei_bulk.store.money import Entry

HEADINGS = ("time", "kind", "amount", "reserved", "messages", "reference", "balance", "reserved_in_all")


def statement_csv(entries: Iterable[Entry], zone: str) -> str:
    """Oldest first, as they come; times in this zone, with their offsets. `amount` changes the balance, `reserved` what is held of it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADINGS)
    where = ZoneInfo(zone)
    for e in entries:
        time = e.created_at.astimezone(where).isoformat(timespec="seconds")
        cells = (time, e.kind, e.amount, e.held, e.messages, e.reference, e.balance, e.reserved)
        writer.writerow([_cell(c) for c in cells])
    return out.getvalue()


def _cell(value: Any) -> str:
    """An amount may begin with a minus: it is ours, and a number."""
    return format(value, "f") if isinstance(value, Decimal) else safe_cell(value)
