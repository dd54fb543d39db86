"""Recipients that a campaign leaves out, and why: campaign_refusals."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach


@frozen
class Refusal:
    """`stage` G: when the recipients were gathered, E: when it was sent. `line` of the file; 0: not from one."""

    refusal_id: int
    stage: str
    line: int
    given: str
    code: str
    detail: str


class Refusals:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def campaign(self, reach: Reach, public_id: str) -> Deferred[int | None]:
        """The key of a campaign within reach."""
        where, params = reach.where("user_id")
        d = self._db.query(f"SELECT id FROM campaigns WHERE campaign_id = %s AND {where}", [public_id, *params])  # noqa: S608
        return d.addCallback(lambda rows: int(rows[0][0]) if rows else None)

    def some(self, pk: int, after: int, most: int) -> Deferred[list[Refusal]]:
        """In the order in which they were found, those above `after`."""
        d: Deferred[list[tuple[Any, ...]]] = self._db.query(
            "SELECT refusal_id, stage, line, given, code, detail FROM campaign_refusals WHERE campaign_id = %s AND refusal_id > %s"
            " ORDER BY refusal_id LIMIT %s", (pk, after, most),
        )  # fmt: skip
        return d.addCallback(lambda rows: [Refusal(*r) for r in rows])
