"""Messages from mobiles as their owners look for them, a bounded stretch at a time; see walking.py."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach
from protei_bulk.store.walking import Found, Walk, run_on

Row = dict[str, Any]
COLUMNS = {
    "id": "t.message_id", "source": "t.from_addr", "dest": "t.to_addr", "text": "t.message_text", "status": "t.status",
    "parts": "t.parts", "missing": "t.missing", "esme": "t.user_id IS NOT NULL", "url": "t.url", "error": "t.error_code",
    "smsc": "t.smsc_id", "received": "t.received_at", "delivered": "t.delivered_at", "username": "u.username", "customer": "c.name",
}  # fmt: skip
_JOINS = "LEFT JOIN users u ON u.id = t.user_id LEFT JOIN customers c ON c.id = u.customer_id"
_ONE = """SELECT to_jsonb(m) - 'payload' - 'udh' || jsonb_build_object('payload', encode(m.payload, 'hex'), 'udh', encode(m.udh, 'hex'),
        'username', u.username, 'customer', c.name,
        'callbacks', COALESCE((SELECT jsonb_agg(to_jsonb(b) - 'payload' ORDER BY b.callback_id) FROM tbl_callback_outbox b
            WHERE m.outstanding > 0 AND b.user_id = COALESCE(m.user_id, 0) AND b.message_id = m.message_id
            AND b.created_at BETWEEN m.received_at - interval '5 s' AND m.received_at + interval '10 minutes'), '[]'),
        'waiting', (SELECT min(o.created_at) FROM tbl_deliver_outbox o WHERE o.user_id = m.user_id AND o.message_id = m.message_id
            AND o.kind = 'MO'),
        'opt_out', (SELECT o.opted_out FROM tbl_opt_outs o WHERE o.message_id = m.message_id ORDER BY o.opt_out_id DESC LIMIT 1))
    FROM tbl_mo_messages m LEFT JOIN users u ON u.id = m.user_id LEFT JOIN customers c ON c.id = u.customer_id WHERE m.message_id = %s"""


@frozen
class Wanted:
    """What is looked for; empty fields say nothing. `text`: a part of it, whatever its case. With `number`, of either side: one of both."""

    number: str = ""
    source: str = ""
    text: str = ""
    status: str = ""
    id: str = ""
    after: str = ""
    since: str = ""
    reach: Reach = field(factory=Reach)


class InboxReads:
    def __init__(self, db: Runs) -> None:
        self._db = db

    def page(self, wanted: Wanted, most: int) -> Deferred[Found]:
        return Deferred.fromCoroutine(self._walk(wanted).run(self._db, most))

    def many(self, wanted: Wanted, most: int, stretches: int) -> Deferred[Found]:
        """For an export."""
        return Deferred.fromCoroutine(run_on(self._walk(wanted), self._db, most, stretches))

    def _walk(self, w: Wanted) -> Walk:
        walk = Walk("tbl_mo_messages", "message_id", COLUMNS, _JOINS)
        walk.within(w.after, w.since)
        if w.id:
            walk.stretch.append(("t.message_id = %s", w.id))
        if w.number:
            either = "(t.from_addr = %s OR t.to_addr = %s OR t.message_text ILIKE %s)"
            walk.filters.append((either, [w.number, w.number, _like(w.text or w.number)]))
        elif w.text:
            walk.filters.append(("t.message_text ILIKE %s", [_like(w.text)]))
        if w.source:
            walk.filters.append(("t.from_addr = %s", [w.source]))
        if w.status:
            walk.filters.append(("t.status = %s", [w.status]))
        _limit(walk, w.reach)
        return walk

    def one(self, message_id: str) -> Deferred[Row | None]:
        """Every column, who it is for, and what still has to be told of it. `payload` and `udh` in hexadecimal."""
        return self._db.query(_ONE, (message_id,)).addCallback(lambda rows: rows[0][0] if rows else None)

    def customer_of(self, user_id: int) -> Deferred[int | None]:
        d = self._db.query("SELECT customer_id FROM users WHERE id = %s", (user_id,))
        return d.addCallback(lambda rows: rows[0][0] if rows else None)


def _limit(walk: Walk, reach: Reach) -> None:
    if reach.user_id is not None:
        walk.filters.append(("t.user_id = %s", [reach.user_id]))
    elif reach.customer_id is not None:
        walk.filters.append(("u.customer_id = %s", [reach.customer_id]))


def _like(text: str) -> str:
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
