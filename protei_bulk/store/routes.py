"""Rules of routing in the database, and what SMSCs charge. Every change leaves its row in tbl_permission_audit, in the same statement."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.routing.costs import Cost
from protei_bulk.store.account_rows import taken
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.messages import Runs

#: keys of a [[route]] besides its name -> columns, and their types
_COLUMNS: Mapping[str, tuple[str, str]] = {
    "order": ("position", "integer"), "match": ("match", "jsonb"), "to": ("targets", "jsonb"), "strategy": ("strategy", "text"),
    "weights": ("weights", "jsonb"), "price": ("price", "numeric"), "rewrite": ("rewrite", "jsonb"), "reject": ("reject", "text"),
    "next_after_receipt": ("next_after_receipt", "boolean"),
}  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {
    "order": 100, "match": {}, "to": [], "strategy": "failover", "weights": [], "price": Decimal(0), "rewrite": {}, "reject": "",
    "next_after_receipt": False,
}  # fmt: skip
_SELECT = f"SELECT name, enabled, updated_at, route_id, {', '.join(column for column, _ in _COLUMNS.values())} FROM tbl_routes"


@frozen
class StoredRoute:
    """`table` has the keys of a [[route]]; it was right when it was stored, for the SMSCs of then."""

    name: str
    enabled: bool
    updated_at: datetime
    table: Mapping[str, Any]
    route_id: int = 0


def _read(row: tuple[Any, ...]) -> StoredRoute:
    return StoredRoute(row[0], row[1], row[2], {"name": row[0], **dict(zip(_COLUMNS, row[4:], strict=True))}, row[3])


def _values(table: Mapping[str, Any]) -> list[Any]:
    """Parameters in the order of the columns: all of them, so that what is left out is the default again."""
    found = []
    for key, (_, kind) in _COLUMNS.items():
        value = table.get(key, _DEFAULTS[key])
        if key in ("to", "weights") and not isinstance(value, list | tuple):
            value = [value]
        found.append(orjson.dumps(value).decode() if kind == "jsonb" else str(value) if kind == "numeric" else value)
    return found


class RouteRows:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error where nothing else is said. What comes in has been checked."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def all(self) -> Deferred[list[StoredRoute]]:
        """In the order in which those of one `order` are tried."""
        return self._db.query(f"{_SELECT} ORDER BY position, route_id").addCallback(lambda rows: [_read(r) for r in rows])

    def get(self, name: str) -> Deferred[StoredRoute | None]:
        return self._db.query(f"{_SELECT} WHERE name = %s", (name,)).addCallback(lambda rows: _read(rows[0]) if rows else None)

    def by_id(self, route_id: int) -> Deferred[StoredRoute | None]:
        d = self._db.query(f"{_SELECT} WHERE route_id = %s", (route_id,))
        return d.addCallback(lambda rows: _read(rows[0]) if rows else None)

    def add(self, table: Mapping[str, Any], *, enabled: bool = True, actor: Actor) -> Deferred[None]:
        """Fails with NameTaken."""
        columns = ", ".join(column for column, _ in _COLUMNS.values())
        marks = ", ".join(f"%s::{kind}" for _, kind in _COLUMNS.values())
        sql = f"""WITH changed AS (INSERT INTO tbl_routes (name, enabled, {columns}) VALUES (%s, %s, {marks}) RETURNING name),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT name FROM changed"""  # noqa: S608
        details = {"route": {**table}, "enabled": enabled}
        params = [table["name"], enabled, *_values(table), *audited(actor, "ROUTE_ADD", details)]
        return self._db.query(sql, params).addCallbacks(lambda _: None, taken(table["name"]))

    def replace(self, name: str, table: Mapping[str, Any], *, enabled: bool, actor: Actor) -> Deferred[bool]:
        """Everything but its name; False where there is none."""
        sets = ", ".join(f"{column} = %s::{kind}" for column, kind in _COLUMNS.values())
        before = "|| jsonb_build_object('before', before)"
        sql = f"""WITH changed AS (
                UPDATE tbl_routes r SET enabled = %s, {sets}, updated_at = now()
                FROM (SELECT * FROM tbl_routes WHERE name = %s FOR UPDATE) old WHERE r.route_id = old.route_id
                RETURNING to_jsonb(old) - 'route_id' - 'created_at' AS before),
            audit AS ({AUDIT.format(user="NULL::bigint", more=before)}) SELECT 1 FROM changed"""  # noqa: S608
        details = {"route": {**table}, "enabled": enabled}
        params = [enabled, *_values(table), name, *audited(actor, "ROUTE_SET", details)]
        return self._db.query(sql, params).addCallback(bool)

    def remove(self, name: str, *, actor: Actor) -> Deferred[bool]:
        """False where there is none."""
        before = "|| jsonb_build_object('before', before)"
        sql = f"""WITH changed AS (
                DELETE FROM tbl_routes r WHERE name = %s RETURNING to_jsonb(r) - 'route_id' - 'created_at' AS before),
            audit AS ({AUDIT.format(user="NULL::bigint", more=before)}) SELECT 1 FROM changed"""  # noqa: S608
        return self._db.query(sql, [name, *audited(actor, "ROUTE_REMOVE", {"route": {"name": name}})]).addCallback(bool)


@frozen
class CostRow:
    """`valid_from`: None from ever."""

    cost_id: int
    smsc_id: str
    mccmnc: str
    prefix: str
    cost: Decimal
    currency: str
    valid_from: datetime | None

    @property
    def cost_of(self) -> Cost:
        begin = self.valid_from.timestamp() if self.valid_from is not None else float("-inf")
        return Cost(self.smsc_id, self.mccmnc, self.prefix, self.cost, self.currency, begin)


class CostRows:
    """What SMSCs charge. Deferreds fail as those of RouteRows."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def all(self, smsc: str | None = None) -> Deferred[list[CostRow]]:
        d = self._db.query(
            "SELECT cost_id, smsc_id, mccmnc, prefix, cost, currency, CASE WHEN valid_from > '-infinity' THEN valid_from END"
            " FROM tbl_smsc_costs WHERE %s::text IS NULL OR smsc_id = %s ORDER BY smsc_id, mccmnc, prefix, valid_from",
            (smsc, smsc),
        )
        return d.addCallback(lambda rows: [CostRow(*r) for r in rows])

    def set(self, smsc: str, mccmnc: str, prefix: str, cost: Decimal, currency: str, valid_from: datetime | None, *,
            actor: Actor) -> Deferred[int]:  # fmt: skip
        """Fires with its number. One of the same SMSC, network or prefix, and time, is replaced."""
        sql = f"""WITH changed AS (
                INSERT INTO tbl_smsc_costs (smsc_id, mccmnc, prefix, cost, currency, valid_from)
                VALUES (%s, %s, %s, %s, %s, COALESCE(%s::timestamptz, '-infinity'))
                ON CONFLICT (smsc_id, mccmnc, prefix, valid_from) DO UPDATE SET cost = EXCLUDED.cost, currency = EXCLUDED.currency
                RETURNING cost_id),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT cost_id FROM changed"""  # noqa: S608
        details = {
            "smsc_id": smsc, "mccmnc": mccmnc, "prefix": prefix, "cost": str(cost), "currency": currency,
            "valid_from": valid_from.isoformat() if valid_from is not None else None,
        }  # fmt: skip
        params = [smsc, mccmnc, prefix, str(cost), currency, valid_from, *audited(actor, "COST_SET", details)]
        return self._db.query(sql, params).addCallback(lambda rows: int(rows[0][0]))

    def remove(self, cost_id: int, *, actor: Actor) -> Deferred[bool]:
        """False where there is none of this number."""
        sql = f"""WITH changed AS (DELETE FROM tbl_smsc_costs c WHERE cost_id = %s RETURNING to_jsonb(c) AS before),
            audit AS ({AUDIT.format(user="NULL::bigint", more="|| jsonb_build_object('before', before)")})
            SELECT 1 FROM changed"""  # noqa: S608
        return self._db.query(sql, [cost_id, *audited(actor, "COST_REMOVE", {"cost_id": cost_id})]).addCallback(bool)
