"""Recipients from all sources of a draft, one after the other: normalised, without doubles and those who are not to get anything. Pure.

Runs in a child process (child.py), a batch of rows at a time; what it finds goes to a `Sink`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field

from protei_bulk.campaigns.numbers import EMPTY, NOT_A_NUMBER, BadNumber, Numbers, country_of
from protei_bulk.campaigns.tables import bare, clean

BLOCK = 1000  # recipients of one row of campaign_blocks
BATCH = 5000  # rows between two looks at guards and clock
MAX_VALUE = 200  # characters of a variable's value

DUPLICATE, SCIENTIFIC, OPTED_OUT, BLACKLISTED = "DUPLICATE", "SCIENTIFIC", "OPTED_OUT", "BLACKLISTED"
_SCIENTIFIC = re.compile(r"\s*[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]{1,3}\s*\Z")
_TYPED = re.compile("[\n\r,;\t\u060c\u061b]+")

#: a row of a source: where it stands (0: nowhere), the number as written, its variables
Given = tuple[int, str, Mapping[str, str] | None]


class TooMany(Exception):
    """More rows than may be."""


class Sink(Protocol):
    def block(self, country: str, recipients: Sequence[Sequence[Any]]) -> None: ...

    def refuse(self, line: int, given: str, code: str) -> None: ...


class Guard(Protocol):
    def hits(self, numbers: Sequence[int]) -> Mapping[int, str]:
        """Of these numbers, those that get nothing, and why."""
        ...


@define
class Result:
    """What campaign_plans.gathering tells."""

    done: int = 0
    accepted: int = 0
    refused: Counter[str] = field(factory=Counter)
    countries: Counter[str] = field(factory=Counter)
    variables: Counter[str] = field(factory=Counter)

    def report(self) -> dict[str, Any]:
        return {
            "done": self.done, "accepted": self.accepted, "refused": dict(self.refused), "countries": dict(self.countries.most_common(300)),
            "variables": dict(self.variables),
        }  # fmt: skip


class Gatherer:
    """`tick` is called after every batch. Doubles are found across all that is taken in."""

    def __init__(self, sink: Sink, guard: Guard, most: int, tick: Callable[[], None]) -> None:
        self._sink, self._guard, self._most, self._tick = sink, guard, most, tick
        self._seen: set[int] = set()
        self._open: dict[str, list[Sequence[Any]]] = {}  # by country
        self._regions: dict[str, str] = {}  # by the first three digits, which hold every calling code
        self.result = Result()

    def take(self, rows: Iterable[Given], country: str = "") -> None:
        """One source, whose numbers are of `country` where they do not say. Raises TooMany, or what reading `rows` raises."""
        read = Numbers(country).read
        seen, result = self._seen, self.result
        batch: list[tuple[int, str, int, str, Mapping[str, str] | None]] = []
        n = 0
        for line, written, variables in rows:
            n += 1
            try:
                digits = read(written)
            except BadNumber as bad:
                digits = self._again(read, line, written, bad.code)
            if digits:
                number = int(digits)
                if number in seen:
                    self._refuse(line, written, DUPLICATE)
                else:
                    seen.add(number)
                    batch.append((line, digits, number, written, variables))
            if n >= BATCH:
                self._place(batch)
                batch = []
                result.done += n
                n = 0
                if result.done > self._most:
                    raise TooMany
                self._tick()
        self._place(batch)
        result.done += n
        if result.done > self._most:
            raise TooMany
        self._tick()

    def finish(self) -> Result:
        """The blocks that are not full."""
        for country, recipients in self._open.items():
            self._flush(country, recipients)
        self._open = {}
        return self.result

    def _again(self, read: Callable[[str], str], line: int, written: str, code: str) -> str:
        """The digits all the same; "" where it is refused."""
        if code == NOT_A_NUMBER:
            plain = bare(written)
            if plain != written:
                try:
                    return read(plain)
                except BadNumber as bad:
                    code = bad.code
            if code == NOT_A_NUMBER and _SCIENTIFIC.match(plain):
                code = SCIENTIFIC
        self._refuse(line, written, code)
        return ""

    def _refuse(self, line: int, written: str, code: str) -> None:
        self.result.refused[code] += 1
        self._sink.refuse(line, written, code)

    def _place(self, batch: list[tuple[int, str, int, str, Mapping[str, str] | None]]) -> None:
        hits = self._guard.hits([row[2] for row in batch]) if batch else {}
        regions, open_ones = self._regions, self._open
        for line, digits, number, written, variables in batch:
            if hits and number in hits:
                self._refuse(line, written, hits[number])
                continue
            head = digits[:3]
            region = regions.get(head)
            if region is None:
                country = country_of(digits)
                region = regions[head] = country.region if country is not None and country.region.isalpha() else ""
            block = open_ones.get(region)
            if block is None:
                block = open_ones[region] = []
            block.append((digits, variables) if variables else (digits,))
            if len(block) >= BLOCK:
                self._flush(region, block)
                open_ones[region] = []

    def _flush(self, country: str, recipients: list[Sequence[Any]]) -> None:
        if not recipients:
            return
        result = self.result
        result.accepted += len(recipients)
        result.countries[country] += len(recipients)
        names = result.variables
        for recipient in recipients:
            if len(recipient) > 1:
                for name in recipient[1]:
                    names[name] += 1
        self._sink.block(country, recipients)


# --- sources


def typed(text: str) -> Iterator[Given]:
    """Numbers as people type them: one a line, or with commas or semicolons between."""
    for line, row in enumerate(text.splitlines(), 1):
        for written in _TYPED.split(row):
            if written.strip():
                yield line, written.strip(), None


class Columns(Protocol):
    header: bool
    number: int
    variables: Mapping[str, int]


class Records(Protocol):
    """Rows of a file."""

    line: int

    def __iter__(self) -> Iterator[list[str]]: ...


def mapped(records: Any, columns: Any) -> Iterator[Given]:
    """The rows of a file, of which `columns` says what is in which. Rows without anything are passed over."""
    at, names = columns.number, list(columns.variables.items())
    only = names[0] if len(names) == 1 else None
    first = columns.header
    for row in records:
        if not row:
            continue
        if first:
            first = not any(c.strip() for c in row)  # the heading is the first that holds anything
            continue
        try:
            written = row[at]
        except IndexError:
            if any(c.strip() for c in row):
                yield records.line, "", None
            continue
        if not written.strip() and not any(c.strip() for c in row):
            continue
        if only is not None:
            name, i = only
            value = row[i] if i < len(row) else ""
            if value and not (value.isascii() and value.isprintable() and value[0] != " " and value[-1] != " "):
                value = clean(value)
            yield records.line, written, {name: value[:MAX_VALUE]} if value else None
        elif names:
            values = {}
            for name, i in names:
                if i < len(row) and (value := clean(row[i])):
                    values[name] = value[:MAX_VALUE]
            yield records.line, written, values or None
        else:
            yield records.line, written, None


__all__ = ["BATCH", "BLOCK", "EMPTY", "Gatherer", "Given", "Guard", "Result", "Sink", "TooMany", "mapped", "typed"]
