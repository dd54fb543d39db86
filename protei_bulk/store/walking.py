"""Searching tables of millions a stretch at a time.

A question looks at a bounded number of rows, newest first, and says how far it came: whoever wants more asks again from there.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field, frozen

from protei_bulk.store.messages import Runs

Row = dict[str, Any]
STRETCH = 20_000  # rows looked at by one question


@frozen
class Found:
    """`rows`: one page. `next`: where to go on, "" at the end of what is kept. `full`: a page was filled; else the stretch was over."""

    rows: list[Row]
    next: Any = ""
    full: bool = False


@define
class Walk:
    """A question about a table that is read by its `key`, highest first. Only values are ever somebody's text."""

    table: str  # with its alias t
    key: str
    columns: dict[str, str]  # name -> SQL
    joins: str = ""
    stretch: list[tuple[str, Any]] = field(factory=list)
    filters: list[tuple[str, list[Any]]] = field(factory=list)

    def within(self, after: Any, since: Any = "") -> None:
        """Below `after`, not below `since`; each only where given."""
        if after:
            self.stretch.append((f"t.{self.key} < %s", after))
        if since:
            self.stretch.append((f"t.{self.key} >= %s", since))

    async def run(self, db: Runs, most: int, stretch: int = STRETCH) -> Found:
        where = " AND ".join(["TRUE", *(sql for sql, _ in self.stretch)])
        narrowed = [value for _, value in self.stretch]
        filters = " AND ".join(["TRUE", *(sql for sql, _ in self.filters)])
        asked = [value for _, values in self.filters for value in values]
        rows = await db.query(
            f"SELECT t.{self.key}, {', '.join(self.columns.values())} FROM"  # noqa: S608
            f" (SELECT * FROM {self.table} t WHERE {where} ORDER BY t.{self.key} DESC LIMIT %s) t {self.joins}"
            f" WHERE {filters} ORDER BY t.{self.key} DESC LIMIT %s",
            [*narrowed, stretch, *asked, most + 1],
        )
        found = [dict(zip(self.columns, r[1:], strict=True)) for r in rows[:most]]
        if len(rows) > most:
            return Found(found, rows[most - 1][0], True)
        last = await db.query(
            f"SELECT t.{self.key} FROM {self.table} t WHERE {where} ORDER BY t.{self.key} DESC OFFSET %s LIMIT 1",  # noqa: S608
            [*narrowed, stretch - 1],
        )
        return Found(found, last[0][0] if last else "")


async def run_on(walk: Walk, db: Runs, most: int, stretches: int) -> Found:
    """As many as `most`, over so many stretches at most; then `next` is where it stopped."""
    rows: list[Row] = []
    found = Found(rows)
    for _ in range(stretches):
        found = await walk.run(db, most - len(rows))
        rows += found.rows
        if not found.next or len(rows) >= most:
            break
        walk.stretch = [s for s in walk.stretch if "<" not in s[0]]
        walk.within(found.next)
    return Found(rows, found.next, found.full)
