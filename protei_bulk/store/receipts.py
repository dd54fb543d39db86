"""Receipts in PostgreSQL: those without a message, and deliver_sm for ESMEs that are away."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.defer import Deferred

from protei_bulk.model.message import Message
from protei_bulk.store.messages import _COLUMNS, WIDTH, Runs, message_from_row

OutboxRow = tuple[int, str, str, str, "Message | None", "dict[str, Any] | None", float]


class Receipts:
    """Parked receipts, the journal of those being passed on, and the outbox."""

    def __init__(self, db: Runs, node: int) -> None:
        self._db, self._node = db, node

    def park(self, rows: list[tuple[str, str, str, str]]) -> Deferred[int]:
        """Keeps (smsc, id, stat, err) until a message with that id is known."""
        return self._db.execute(
            "INSERT INTO tbl_parked_receipts (smsc_id, smpp_msg_id, stat, err)"
            " SELECT q, x, s, e FROM json_to_recordset(%s::json) AS r (q TEXT, x TEXT, s TEXT, e TEXT)",
            (orjson.dumps([{"q": q, "x": x, "s": s, "e": e} for q, x, s, e in rows]).decode(),),
        )

    def unpark(self, rows: list[tuple[str, str]]) -> Deferred[int]:
        return self._db.execute(
            "DELETE FROM tbl_parked_receipts p USING json_to_recordset(%s::json) AS r (q TEXT, x TEXT)"
            " WHERE p.smsc_id = r.q AND p.smpp_msg_id = r.x",
            (orjson.dumps([{"q": q, "x": x} for q, x in rows]).decode(),),
        )

    def parked(self, most: int) -> Deferred[list[tuple[str, str, str, str]]]:
        """The oldest parked receipts; those older than a week are dropped first."""
        return self._db.query(
            "WITH gone AS (DELETE FROM tbl_parked_receipts WHERE created_at < now() - interval '7 days')"
            " SELECT smsc_id, smpp_msg_id, stat, COALESCE(err, '') FROM tbl_parked_receipts ORDER BY receipt_id LIMIT %s",
            (most,),
        )

    def forwarded(self, journal_ids: list[int]) -> Deferred[int]:
        """Batches whose receipts every ESME has acknowledged."""
        return self._db.execute("DELETE FROM tbl_forward_journal WHERE node_id = %s AND journal_id = ANY (%s)", (self._node, journal_ids))

    def keep(self, rows: list[dict[str, Any]]) -> Deferred[int]:
        """Puts receipts {u user, i message, s stat, e err} into the outbox."""
        return self._db.execute(
            "INSERT INTO tbl_deliver_outbox (user_id, message_id, stat, err)"
            " SELECT u, i, s, e FROM json_to_recordset(%s::json) AS x (u BIGINT, i TEXT, s TEXT, e TEXT)",
            (orjson.dumps(rows).decode(),),
        )

    def outbox(self, user_id: int, after: int, most: int) -> Deferred[list[OutboxRow]]:
        """What waits for an ESME, oldest first: (outbox_id, kind, stat, err, message, payload, created)."""

        def read(rows: list[tuple[Any, ...]]) -> list[OutboxRow]:
            return [(*w[:2], w[2] or "", w[3] or "", message_from_row(r) if r[0] else None, *w[4:]) for r in rows for w in (r[WIDTH:],)]

        d = self._db.query(
            f"SELECT {_COLUMNS}, o.outbox_id, o.kind, o.stat, o.err, o.payload, extract(epoch FROM o.created_at)::float8"
            " FROM tbl_deliver_outbox o LEFT JOIN messages m ON m.message_id = o.message_id"
            " WHERE o.user_id = %s AND o.outbox_id > %s ORDER BY o.outbox_id LIMIT %s",
            (user_id, after, most),
        )
        return d.addCallback(read)

    def delivered(self, outbox_ids: list[int]) -> Deferred[int]:
        return self._db.execute("DELETE FROM tbl_deliver_outbox WHERE outbox_id = ANY (%s)", (outbox_ids,))

    def expire_outbox(self, days: int) -> Deferred[int]:
        return self._db.execute("DELETE FROM tbl_deliver_outbox WHERE created_at < now() - make_interval(days => %s)", (days,))

    def waiting_users(self, user_ids: list[int]) -> Deferred[list[int]]:
        """Which of these accounts have something in the outbox."""
        d = self._db.query(
            "SELECT u FROM unnest(%s::bigint[]) AS u WHERE EXISTS (SELECT 1 FROM tbl_deliver_outbox o WHERE o.user_id = u)", (user_ids,)
        )
        return d.addCallback(lambda rows: [r[0] for r in rows])
