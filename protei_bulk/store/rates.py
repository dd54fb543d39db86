"""tbl_rate_budgets and tbl_rate_holders: leases of request budgets that all nodes share (see 011_http.sql)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

UNTOUCHED = 3 * 3600  # seconds after which a budget that is whole again is forgotten: live nodes touch what they hold more often


class Runs(Protocol):
    """A Database, or a lane of it."""

    def query(self, sql: str, params: Any = ()) -> Deferred[list[tuple[Any, ...]]]: ...

    def execute(self, sql: str, params: Any = ()) -> Deferred[int]: ...


@frozen
class Lease:
    """The answer for one budget: `again`, `full_in` in seconds."""

    granted: int
    left: int
    others: int
    again: float
    full_in: float


class Policy(Protocol):
    """A bucket with a burst, or a window without one."""

    @property
    def id(self) -> str: ...

    @property
    def quota(self) -> int: ...

    @property
    def window(self) -> float: ...

    @property
    def burst(self) -> int: ...

    @property
    def interval(self) -> float: ...


class Ask(Protocol):
    @property
    def policy(self) -> Policy: ...

    @property
    def key(self) -> str: ...

    @property
    def uses(self) -> Sequence[tuple[float, int]]: ...

    @property
    def held(self) -> int: ...

    @property
    def wanted(self) -> int: ...


class Rates:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs, node: int) -> None:
        self._db, self._node = db, node

    def register(self, term: float) -> Deferred[int]:
        """A new holder for `term` seconds; what this node held before is at an end."""
        d = self._db.query("SELECT register_rate_holder(%s, %s)", (self._node, term))
        return d.addCallback(lambda rows: int(rows[0][0]))

    def lease(self, holder: int, seq: int, term: float, asks: Sequence[Ask]) -> Deferred[list[Lease] | None]:
        """A Lease for each ask, and the holder lives on for `term` seconds. None: it has expired."""
        data = orjson.dumps([_row(ask) for ask in asks]).decode()
        d = self._db.query("SELECT lease_rates(%s, %s, %s, %s::json)", (holder, seq, term, data))

        def read(rows: list[tuple[Any, ...]]) -> list[Lease] | None:
            found = rows[0][0]
            if isinstance(found, str):
                found = orjson.loads(found)
            return None if found is None else [Lease(*lease) for lease in found]

        return d.addCallback(read)

    def end(self, holder: int) -> Deferred[int]:
        """What it still holds counts as spent now."""
        return self._db.execute("UPDATE tbl_rate_holders SET expires_at = now() WHERE holder_id = %s AND expires_at > now()", (holder,))

    def purge(self) -> Deferred[int]:
        """Forgets budgets that are whole, and holders long gone."""
        return self._db.execute(
            """WITH gone AS (DELETE FROM tbl_rate_holders WHERE expires_at < now() - interval '2 days')
            DELETE FROM tbl_rate_budgets
            WHERE touched_at < now() - make_interval(secs => %s) AND clean_at < now() - make_interval(secs => %s)""",
            (UNTOUCHED, UNTOUCHED),
        )


def _row(ask: Ask) -> dict[str, Any]:
    p = ask.policy
    row: dict[str, Any] = {"p": p.id, "k": ask.key, "u": ask.uses, "h": ask.held, "a": ask.wanted}
    if p.burst:
        row |= {"i": p.interval, "b": p.burst}
    else:
        row |= {"n": p.quota, "w": p.window}
    return row
