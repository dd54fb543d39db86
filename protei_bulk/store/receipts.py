"""Receipts in PostgreSQL: those without a message, and deliver_sm for ESMEs that are away."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.defer import Deferred

from protei_bulk.model.message import Message
from protei_bulk.store.messages import _COLUMNS, WIDTH, Runs, message_from_row

ParkedRow = tuple[int, str, str, str, str]
"""receipt_id, smsc, id, stat, err"""
OutboxRow = tuple[int, str, str, str, "Message | None", "dict[str, Any] | None", float, str]
#: rows that nobody holds, or a node that has been silent for half a minute
_FREE = (
    "(o.held_by IS NULL OR NOT EXISTS"
    " (SELECT 1 FROM tbl_nodes n WHERE n.node_id = o.held_by AND n.heartbeat_at > now() - interval '30 seconds'))"
)


class Receipts:
    """Parked receipts, the journal of those being passed on, and the outbox."""

    def __init__(self, db: Runs, node: int) -> None:
        self._db, self._node = db, node

    def park(self, rows: list[tuple[Any, ...]]) -> Deferred[int]:
        """Keeps (smsc, id, stat, err), and what else is to be said, until a message with that id is known."""
        return self._db.execute(
            "INSERT INTO tbl_parked_receipts (smsc_id, smpp_msg_id, stat, err, details)"
            " SELECT q, x, s, e, d FROM json_to_recordset(%s::json) AS r (q TEXT, x TEXT, s TEXT, e TEXT, d JSONB)",
            (orjson.dumps([dict(zip("qxsed", row, strict=False)) for row in rows]).decode(),),
        )

    def unpark(self, rows: list[tuple[str, str]]) -> Deferred[int]:
        return self._db.execute(
            "DELETE FROM tbl_parked_receipts p USING json_to_recordset(%s::json) AS r (q TEXT, x TEXT)"
            " WHERE p.smsc_id = r.q AND p.smpp_msg_id = r.x",
            (orjson.dumps([{"q": q, "x": x} for q, x in rows]).decode(),),
        )

    def parked(self, after: int | None, most: int) -> Deferred[list[ParkedRow]]:
        """Parked receipts behind a receipt_id, oldest first; without one, the youngest, and some that are older than a week are dropped."""
        columns = "receipt_id, smsc_id, smpp_msg_id, stat, COALESCE(err, ''), details"
        if after is not None:
            return self._db.query(
                f"SELECT {columns} FROM tbl_parked_receipts WHERE receipt_id > %s ORDER BY receipt_id LIMIT %s", (after, most)
            )
        return self._db.query(
            "WITH oldest AS (SELECT receipt_id FROM tbl_parked_receipts ORDER BY receipt_id LIMIT 5000),"
            " gone AS (DELETE FROM tbl_parked_receipts p USING oldest o WHERE p.receipt_id = o.receipt_id"
            " AND p.created_at < now() - interval '7 days')"
            f" SELECT {columns} FROM tbl_parked_receipts ORDER BY receipt_id DESC LIMIT %s",
            (most,),
        )

    def forwarded(self, journal_ids: list[int]) -> Deferred[int]:
        """Batches whose receipts every ESME has acknowledged."""
        return self._db.execute("DELETE FROM tbl_forward_journal WHERE node_id = %s AND journal_id = ANY (%s)", (self._node, journal_ids))

    def keep(self, rows: list[dict[str, Any]]) -> Deferred[int]:
        """Puts receipts {u user, i message, s stat, e err, p details} into the outbox."""
        return self._db.execute(
            "INSERT INTO tbl_deliver_outbox (user_id, message_id, stat, err, payload)"
            " SELECT u, i, s, e, p FROM json_to_recordset(%s::json) AS x (u BIGINT, i TEXT, s TEXT, e TEXT, p JSONB)",
            (orjson.dumps(rows).decode(),),
        )

    def outbox(self, user_id: int, most: int) -> Deferred[list[OutboxRow]]:
        """Takes what waits for an ESME, oldest first: (outbox_id, kind, stat, err, message, payload, created, message_id).

        This node holds the rows from then on: another call, here or elsewhere, does not show them.
        """

        def read(rows: list[tuple[Any, ...]]) -> list[OutboxRow]:
            return [(*w[:2], w[2] or "", w[3] or "", message_from_row(r) if r[0] else None, *w[4:]) for r in rows for w in (r[WIDTH:],)]

        d = self._db.query(
            f"WITH next AS (SELECT o.outbox_id FROM tbl_deliver_outbox o WHERE o.user_id = %s AND {_FREE}"
            " ORDER BY o.outbox_id LIMIT %s FOR UPDATE OF o SKIP LOCKED),"
            " mine AS (UPDATE tbl_deliver_outbox o SET held_by = %s FROM next WHERE o.outbox_id = next.outbox_id RETURNING o.*)"
            f" SELECT {_COLUMNS}, o.outbox_id, o.kind, o.stat, o.err, o.payload, extract(epoch FROM o.created_at)::float8, o.message_id"
            " FROM mine o LEFT JOIN messages m ON m.message_id = o.message_id ORDER BY o.outbox_id",
            (user_id, most, self._node),
        )
        return d.addCallback(read)

    def release(self, outbox_ids: list[int]) -> Deferred[int]:
        """Rows that this node holds, and does not want any more."""
        sql = "UPDATE tbl_deliver_outbox SET held_by = NULL WHERE outbox_id = ANY (%s) AND held_by = %s"
        return self._db.execute(sql, (outbox_ids, self._node))

    def release_others(self, user_id: int, outbox_ids: list[int]) -> Deferred[int]:
        """Rows of an ESME that this node took without getting to know which, beside those that it has."""
        sql = "UPDATE tbl_deliver_outbox SET held_by = NULL WHERE user_id = %s AND held_by = %s AND outbox_id <> ALL (%s::bigint[])"
        return self._db.execute(sql, (user_id, self._node, outbox_ids))

    def release_all(self) -> Deferred[int]:
        """What the last process of this node held."""
        return self._db.execute("UPDATE tbl_deliver_outbox SET held_by = NULL WHERE held_by = %s", (self._node,))

    def delivered(self, outbox_ids: list[int]) -> Deferred[int]:
        return self._db.execute("DELETE FROM tbl_deliver_outbox WHERE outbox_id = ANY (%s)", (outbox_ids,))

    def told(self, rows: list[dict[str, int]]) -> Deferred[Any]:
        """Messages from mobiles that ESMEs have answered: {o outbox_id, s command_status}."""
        return self._db.query("SELECT mo_told(%s::json)", (orjson.dumps(rows).decode(),))

    def expire_outbox(self, days: int) -> Deferred[int]:
        return self._db.execute(
            "WITH untold AS (DELETE FROM tbl_long_receipts"
            " WHERE due_at IS NULL AND long_id < message_id_at(now() - make_interval(days => %s)))"
            " DELETE FROM tbl_deliver_outbox WHERE created_at < now() - make_interval(days => %s)",
            (days, days),
        )

    def waiting_users(self, user_ids: list[int]) -> Deferred[list[int]]:
        """Which of these accounts have something in the outbox that no node holds."""
        d = self._db.query(
            f"SELECT u FROM unnest(%s::bigint[]) AS u WHERE EXISTS (SELECT 1 FROM tbl_deliver_outbox o WHERE o.user_id = u AND {_FREE})",
            (user_ids,),
        )
        return d.addCallback(lambda rows: [r[0] for r in rows])
