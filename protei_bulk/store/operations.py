"""Messages asked for, taken back, replaced and ended before they go out; short ids."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import orjson
from twisted.internet.defer import Deferred

from protei_bulk.model import ids
from protei_bulk.model.message import Message
from protei_bulk.model.standing import Standing
from protei_bulk.store.claims import undo_claim
from protei_bulk.store.messages import _COLUMNS, WIDTH, Row, Runs, message_from_row

Key = tuple[int, str, str]  # user, sender, recipient

BLOCK = 16_384  # short ids that short_message_ids gives at a time

_STANDING = """m.message_id, m.status, COALESCE(m.dlr_status, ''), COALESCE(m.error_code, ''),
    COALESCE(extract(epoch FROM COALESCE(m.ended_at, m.delivered_at))::float8, 0), COALESCE(m.smsc_id, ''), COALESCE(m.smpp_msg_id, ''),
    m.segments, m.from_addr, m.to_addr, m.addr_types, COALESCE(m.service_type, ''), q.message_id IS NOT NULL, q.claimed_by,
    COALESCE(q.in_doubt, FALSE), COALESCE(q.due_at = 'infinity', FALSE),
    CASE WHEN q.due_at IS NULL OR q.due_at = 'infinity' THEN 0 ELSE extract(epoch FROM q.due_at)::float8 END,
    COALESCE(m.route, ''), m.sent_at IS NOT NULL"""
_DAYS = 2 * 86_400_000  # ms after an id within which lie those that share it
_LAST = ids.MESSAGE_PREFIX + "Z" * 12


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


class OperationStore:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs, node: int) -> None:
        self._db, self._node = db, node
        self._marks = 0

    def standings(self, wanted: Sequence[tuple[int, str]]) -> Deferred[list[list[Standing]]]:
        """For each (user, id) the messages of that user whose id, or id as shown, it is; the first comes first."""
        rows = []
        for n, (user, id) in enumerate(wanted):
            row = {"n": n, "u": user, "i": id, "f": "", "t": _LAST}
            if len(id) == 16:
                with suppress(ValueError):
                    row["f"], row["t"] = id, ids.first_at(ids.time_ms(id) + _DAYS)
            rows.append(row)
        d = self._db.query(
            f"SELECT w.n, {_STANDING} FROM json_to_recordset(%s::json) AS w (n INTEGER, u BIGINT, i TEXT, f TEXT, t TEXT)"
            " CROSS JOIN LATERAL (SELECT * FROM messages WHERE message_id = w.i AND user_id = w.u UNION ALL SELECT * FROM messages"
            " WHERE shown_id = w.i AND message_id >= w.f AND message_id < w.t AND user_id = w.u) m"
            " LEFT JOIN tbl_message_queue q ON q.message_id = m.message_id ORDER BY w.n, m.message_id",
            (_json(rows),),
        )

        def read(found: list[tuple[Any, ...]]) -> list[list[Standing]]:
            out: list[list[Standing]] = [[] for _ in wanted]
            for r in found:
                out[r[0]].append(Standing(*r[1:]))
            return out

        return d.addCallback(read)

    def waiting(self, keys: Sequence[Key]) -> Deferred[list[tuple[Key, str]]]:
        """Messages with a row in the queue table, by sender and recipient: (key, id)."""
        d = self._db.query(
            "SELECT k.n, q.message_id FROM json_to_recordset(%s::json) AS k (n INTEGER, u BIGINT, f TEXT, t TEXT)"
            " JOIN tbl_message_queue q ON q.match_key = queue_key(k.u, k.f, k.t)"
            " JOIN messages m ON m.message_id = q.message_id AND m.user_id = k.u AND m.from_addr = k.f AND m.to_addr = k.t"
            " ORDER BY q.message_id",
            (_json([{"n": n, "u": u, "f": f, "t": t} for n, (u, f, t) in enumerate(keys)]),),
        )
        return d.addCallback(lambda rows: [(keys[n], id) for n, id in rows])

    def take(self, message_ids: Sequence[str]) -> Deferred[list[Message]]:
        """Claims waiting rows of the queue table, due or not; those that somebody else has are left out.

        Where the answer is lost, the claim is undone before it fails.
        """
        return self._take("q.message_id = ANY (%s)", [list(message_ids)])

    def take_expired(self, most: int) -> Deferred[list[Message]]:
        """Claims rows whose validity has passed."""
        return self._take(
            "q.message_id IN (SELECT message_id FROM tbl_message_queue WHERE expires_at <= now() AND claimed_by IS NULL"
            " AND due_at <> 'infinity' ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)",
            [most],
            doubtful=True,
        )

    def take_held(self, campaign: int, most: int) -> Deferred[list[Message]]:
        """Claims what is held for a campaign that is stopped."""
        return self._take(
            "q.message_id IN (SELECT message_id FROM tbl_message_queue WHERE held_for = %s AND claimed_by IS NULL AND NOT in_doubt"
            " LIMIT %s FOR UPDATE SKIP LOCKED)",
            [campaign, most],
            due="q.due_at = 'infinity'",
        )

    def _take(self, where: str, params: list[Any], *, doubtful: bool = False,
              due: str = "q.due_at <> 'infinity'") -> Deferred[list[Message]]:  # fmt: skip
        self._marks = mark = max(self._marks + 1, time.time_ns() // 1000)
        d = self._db.query(
            "WITH mine AS (UPDATE tbl_message_queue q SET claimed_by = %s,"
            f" claimed_at = 'epoch'::timestamptz + %s * interval '1 microsecond' WHERE {where} AND q.claimed_by IS NULL"
            f" AND {due}{'' if doubtful else ' AND NOT q.in_doubt'} RETURNING q.message_id, q.attempts, q.in_doubt)"
            f" SELECT {_COLUMNS}, mine.attempts, mine.in_doubt FROM mine JOIN messages m ON m.message_id = mine.message_id",
            (self._node, mark, *params),
        )

        def read(rows: list[tuple[Any, ...]]) -> list[Message]:
            messages = []
            for r in rows:
                m = message_from_row(r)
                m.attempts, m.in_doubt, m.queued = r[WIDTH], r[WIDTH + 1], True
                messages.append(m)
            return messages

        return d.addCallbacks(read, undo_claim, errbackArgs=(self._db, self._node, mark))

    def release(self, message_ids: Sequence[str]) -> Deferred[int]:
        """Rows that `take` claimed are anybody's again."""
        return self._db.execute(
            "UPDATE tbl_message_queue SET claimed_by = NULL, claimed_at = NULL WHERE message_id = ANY (%s) AND claimed_by = %s",
            (list(message_ids), self._node),
        )

    def end(self, rows: list[Row]) -> Deferred[dict[str, str]]:
        """See end_withdrawn() in the schema: {id: status as it is now}. `g` in a row names its long message, where that has one receipt."""
        merges = list({row["g"] for row in rows if "g" in row})
        more = (", merge_receipts(%s::json)", (_json(merges),)) if merges else ("", ())
        d = self._db.query("SELECT end_withdrawn(%s::json)" + more[0], (_json(rows), *more[1]))
        return d.addCallback(lambda found: found[0][0] or {})

    def replace(self, row: Row) -> Deferred[str]:
        """See replace_message() in the schema: K, F, Q or B."""
        return self._db.query("SELECT replace_message(%s::json)", (_json(row),)).addCallback(lambda rows: str(rows[0][0]))

    def part_ids(self, message_id: str) -> Deferred[list[str]]:
        """The SMSC's ids of the parts of a message that was split here."""
        d = self._db.query(
            "SELECT smpp_msg_id FROM message_parts WHERE message_id = %s AND smpp_msg_id IS NOT NULL ORDER BY part", (message_id,)
        )
        return d.addCallback(lambda rows: [r[0] for r in rows])

    def other_nodes(self) -> Deferred[list[int]]:
        """Nodes that live, without this one."""
        d = self._db.query(
            "SELECT node_id FROM tbl_nodes WHERE node_id <> %s AND heartbeat_at > now() - interval '10 seconds'", (self._node,)
        )
        return d.addCallback(lambda rows: [r[0] for r in rows])

    def tell(self, channel: str, payload: str) -> Deferred[Any]:
        return self._db.query("SELECT pg_notify(%s, %s)", (channel, payload))

    def away(self) -> Deferred[list[tuple[int, str, str, int, str]]]:
        """Users to be asked by outbind, (id, name, host, port, password): with something in the outbox, and no receiving bind anywhere.

        Only the node of the lowest number asks.
        """
        return self._db.query(
            "SELECT u.id, u.username, u.outbind_host, COALESCE(u.outbind_port, 2775), COALESCE(u.outbind_password, '') FROM users u"
            " JOIN customers c ON c.id = u.customer_id WHERE u.outbind_host IS NOT NULL AND u.outbind_host <> '' AND u.status = 'ACTIVE'"
            " AND c.status = 'ACTIVE' AND EXISTS (SELECT 1 FROM tbl_deliver_outbox o WHERE o.user_id = u.id)"
            " AND NOT EXISTS (SELECT 1 FROM tbl_smpp_sessions s WHERE s.user_id = u.id AND s.status = 'BOUND'"
            " AND s.bind_type <> 'TRANSMITTER')"
            " AND NOT EXISTS (SELECT 1 FROM tbl_nodes n WHERE n.node_id < %s AND n.heartbeat_at > now() - interval '10 seconds')",
            (self._node,),
        )

    def short_ids(self) -> Deferred[int]:
        """The first of a block of short ids that nobody else gets."""
        return self._db.query("SELECT nextval('short_message_ids')").addCallback(lambda rows: int(rows[0][0]))
