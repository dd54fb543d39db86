"""Connectors over all nodes: how each does, what each day brought, and what operators have ordered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from attrs import field, frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.messages import Row, Runs

CHANNEL = "protei_smscs"  # an order was given; the payload is the connector's id
MOST_TPS = 1_000_000


@frozen
class Order:
    """What an operator wants of a connector. max_tps None: as configured; reconnects counts the orders to bind anew."""

    smsc: str
    paused: bool = False
    reason: str = ""
    max_tps: int | None = None
    reconnects: int = 0
    changed_at: datetime | None = None
    changed_by: str | None = None


@frozen
class Seen:
    """A connector as one node saw it `age` seconds ago. `holds`: that node runs it now."""

    smsc: str
    node: str
    figures: dict[str, Any]
    settings: dict[str, Any]
    age: float = field(eq=False)
    holds: bool


@frozen
class Day:
    """Of one SMSC, in parts of messages: taken, receipts of delivered and of others, refused."""

    sent: int = 0
    delivered: int = 0
    failed: int = 0
    refused: int = 0


class SmscRows:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    # --- what nodes say

    def report(self, node: int, version: str, figures: Row, rows: Sequence[Row]) -> Deferred[int]:
        """How a node does, and all connectors that it runs: [{q smsc, f figures, c settings where they changed, s d u r what came to
        Day since the last time}]. Where the answer is lost, those may count twice: they are figures, not accounts."""
        sql = """WITH x AS (SELECT * FROM json_to_recordset(%s::json)
                AS x (q TEXT, f JSONB, c JSONB, s BIGINT, d BIGINT, u BIGINT, r BIGINT)),
            gone AS (DELETE FROM tbl_smsc_figures WHERE node_id = %s AND smsc_id NOT IN (SELECT q FROM x)),
            seen AS (INSERT INTO tbl_smsc_figures AS t (node_id, smsc_id, figures, settings) SELECT %s, q, f, c FROM x
                ON CONFLICT (node_id, smsc_id) DO UPDATE SET figures = EXCLUDED.figures, updated_at = now(),
                    settings = COALESCE(EXCLUDED.settings, t.settings)),
            day AS (INSERT INTO tbl_smsc_usage AS t (day, smsc_id, sent, delivered, failed, refused)
                SELECT (now() AT TIME ZONE 'UTC')::date, q, s, d, u, r FROM x WHERE s + d + u + r > 0 ORDER BY q
                ON CONFLICT (day, smsc_id) DO UPDATE SET sent = t.sent + EXCLUDED.sent, delivered = t.delivered + EXCLUDED.delivered,
                    failed = t.failed + EXCLUDED.failed, refused = t.refused + EXCLUDED.refused)
            INSERT INTO tbl_node_figures (node_id, version, figures) VALUES (%s, %s, %s::jsonb)
            ON CONFLICT (node_id) DO UPDATE SET version = EXCLUDED.version, figures = EXCLUDED.figures, updated_at = now()"""
        values = (orjson.dumps(list(rows)).decode(), node, node, node, version[:40], orjson.dumps(figures).decode())
        return self._db.execute(sql, values)

    def seen(self) -> Deferred[list[Seen]]:
        """What nodes have said within the last hour, whoever runs a connector first."""
        d = self._db.query(
            "SELECT f.smsc_id, n.name, f.figures, COALESCE(f.settings, '{}'), extract(epoch FROM now() - f.updated_at)::float8,"
            " COALESCE(l.node_id = f.node_id AND l.until > now(), FALSE) FROM tbl_smsc_figures f JOIN tbl_nodes n ON n.node_id = f.node_id"
            " LEFT JOIN tbl_leases l ON l.resource = 'smsc:' || f.smsc_id WHERE f.updated_at > now() - interval '1 hour'"
            " ORDER BY f.smsc_id, 6 DESC, f.updated_at DESC"
        )
        return d.addCallback(lambda rows: [Seen(*r) for r in rows])

    def today(self) -> Deferred[dict[str, Day]]:
        d = self._db.query(
            "SELECT smsc_id, sent, delivered, failed, refused FROM tbl_smsc_usage WHERE day = (now() AT TIME ZONE 'UTC')::date"
        )
        return d.addCallback(lambda rows: {r[0]: Day(*r[1:]) for r in rows})

    def days(self, smsc: str, days: int) -> Deferred[list[tuple[Any, Day]]]:
        """(date, Day), oldest first; days without any are missing."""
        d = self._db.query(
            "SELECT day, sent, delivered, failed, refused FROM tbl_smsc_usage WHERE smsc_id = %s"
            " AND day > (now() AT TIME ZONE 'UTC')::date - %s::int ORDER BY day",
            (smsc, days),
        )
        return d.addCallback(lambda rows: [(r[0], Day(*r[1:])) for r in rows])

    def node_figures(self) -> Deferred[dict[int, tuple[str, dict[str, Any]]]]:
        """Version and figures of the nodes, by number, of those that have said something within the last minute."""
        d = self._db.query("SELECT node_id, version, figures FROM tbl_node_figures WHERE updated_at > now() - interval '1 minute'")
        return d.addCallback(lambda rows: {r[0]: (r[1], r[2]) for r in rows})

    def drop_old(self, days: int) -> Deferred[int]:
        """Days that are so long ago."""
        return self._db.execute("DELETE FROM tbl_smsc_usage WHERE day < current_date - %s::int", (days,))

    # --- orders

    def orders(self) -> Deferred[dict[str, Order]]:
        d = self._db.query(
            "SELECT o.smsc_id, o.paused, o.reason, o.max_tps, o.reconnects, o.changed_at, u.username FROM tbl_smsc_orders o"
            " LEFT JOIN users u ON u.id = o.changed_by"
        )
        return d.addCallback(lambda rows: {r[0]: Order(*r) for r in rows})

    def pause(self, smsc: str, reason: str, *, actor: Actor) -> Deferred[bool]:
        """False where it is paused already."""
        reason = reason[:200]
        return self._order(smsc, "paused, reason", "TRUE, %s", [reason], "NOT t.paused", "SMSC_PAUSE", {"reason": reason}, actor)

    def resume(self, smsc: str, *, actor: Actor) -> Deferred[bool]:
        """False where it is not paused."""
        return self._order(smsc, "paused, reason", "FALSE, ''", [], "t.paused", "SMSC_RESUME", {}, actor, new=False)

    def rate(self, smsc: str, max_tps: int | None, *, actor: Actor) -> Deferred[bool]:
        """Another rate than the configuration's, from 0 (no limit) to MOST_TPS, or that one again; False where it is so already."""
        where = "t.max_tps IS DISTINCT FROM EXCLUDED.max_tps"
        new = max_tps is not None
        return self._order(smsc, "max_tps", "%s::int", [max_tps], where, "SMSC_RATE", {"max_tps": max_tps}, actor, new=new)

    def reconnect(self, smsc: str, *, actor: Actor) -> Deferred[bool]:
        return self._order(smsc, "reconnects", "1", [], "TRUE", "SMSC_RECONNECT", {}, actor, sets="reconnects = t.reconnects + 1")

    def _order(self, smsc: str, columns: str, marks: str, values: list[Any], where: str, action: str, details: Row, actor: Actor,
               *, sets: str = "", new: bool = True) -> Deferred[bool]:  # fmt: skip
        """Written, audited and told to all nodes, in one statement. Not `new`: nothing where there is no order yet."""
        changes = sets or ", ".join(f"{c} = EXCLUDED.{c}" for c in columns.split(", "))
        sql = f"""WITH changed AS (
                INSERT INTO tbl_smsc_orders AS t (smsc_id, changed_by, {columns})
                SELECT %s::text, %s::bigint, {marks} WHERE %s OR EXISTS (SELECT 1 FROM tbl_smsc_orders WHERE smsc_id = %s)
                ON CONFLICT (smsc_id) DO UPDATE SET {changes}, changed_at = now(), changed_by = EXCLUDED.changed_by WHERE {where}
                RETURNING smsc_id),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")})
            SELECT pg_notify('{CHANNEL}', smsc_id) FROM changed"""  # noqa: S608
        params = [smsc, actor.user_id, *values, new, smsc, *audited(actor, action, {"smsc_id": smsc, **details})]
        return self._db.query(sql, params).addCallback(bool)
