"""A rate deck as a CSV file: `prefix` or `mccmnc`, `price`, and perhaps `valid_from`. Pure."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

COLUMNS = ("mccmnc", "prefix", "price", "valid_from")
MOST = 200_000  # entries of a file
_MOST_FAULTS = 20
_NETWORK = re.compile(r"[0-9]{3}(?:[0-9]{2,3})?")
_PRICE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

#: mccmnc, prefix, price of a segment (None: not in the deck any more), valid from (None: from ever)
Entry = tuple[str, str, Decimal | None, datetime | None]


class SheetError(ValueError):
    """`problems`, each with its line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def entry(mccmnc: str, prefix: str, price: str, valid_from: datetime | None) -> Entry:
    """One entry from its texts. Raises ValueError, which says what is wrong."""
    mccmnc, prefix, price = mccmnc.strip().replace("-", ""), prefix.strip().removeprefix("+"), price.strip()
    if mccmnc and not _NETWORK.fullmatch(mccmnc):
        raise ValueError(f"mccmnc: {mccmnc[:20]!r} is not 3, 5 or 6 digits")
    if prefix and not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 20):
        raise ValueError(f"prefix: {prefix[:30]!r} is not 1 to 20 digits")
    if mccmnc and prefix:
        raise ValueError("mccmnc and prefix: one of them")
    if price and not _PRICE.fullmatch(price):
        raise ValueError(f"price: {price[:20]!r} is no amount such as 0.0125, with at most 6 decimals")
    return mccmnc, prefix, Decimal(price) if price else None, valid_from


def moment(text: str, zone: str) -> datetime | None:
    """A day or a time; in this time zone where it has no offset. Raises ValueError."""
    text = text.strip()
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"valid_from: {text[:30]!r} is no day such as 2025-03-01, nor a time") from None


def read_sheet(text: str, valid_from: datetime | None = None, zone: str = "UTC") -> list[Entry]:
    """The entries of a file with a line of headings. Raises SheetError. `valid_from` is for those that do not say."""
    text = text.removeprefix("\ufeff")
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        heads = [h.strip().lower() for h in next(reader, [])]
        if "price" not in heads or not {"prefix", "mccmnc"} & set(heads) or set(heads) - set(COLUMNS) or len(set(heads)) < len(heads):
            got = ", ".join(heads)[:100]
            raise SheetError([f"line 1: expected the headings prefix or mccmnc, price, and perhaps valid_from; got {got}"])
        found: dict[tuple[str, str, datetime | None], Entry] = {}
        problems: list[str] = []
        for cells in reader:
            if not any(c.strip() for c in cells):
                continue
            try:
                if len(cells) != len(heads):
                    raise ValueError(f"expected {len(heads)} cells, got {len(cells)}")
                row = dict(zip(heads, cells, strict=True))
                begin = moment(row.get("valid_from", ""), zone) or valid_from
                made = entry(row.get("mccmnc", ""), row.get("prefix", ""), row["price"], begin)
                key = (made[0], made[1], made[3])
                if key in found:
                    raise ValueError(f"{made[0] or made[1] or 'everybody'}: given twice")
                if len(found) >= MOST:
                    raise SheetError([f"more than {MOST} entries"])
                found[key] = made
            except SheetError:
                raise
            except ValueError as error:
                problems.append(f"line {reader.line_num}: {error}")
                if len(problems) >= _MOST_FAULTS:
                    break
    except csv.Error as error:
        raise SheetError([f"line {reader.line_num}: {error}"]) from None
    if problems:
        raise SheetError(problems)
    if not found:
        raise SheetError(["no entry"])
    return list(found.values())
