"""Callbacks as a page lists them, a bounded stretch at a time; see walking.py."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from protei_bulk.store.callbacks import Runs
from protei_bulk.store.pages import Reach
from protei_bulk.store.walking import STRETCH, Found, Walk, run_on

_COLUMNS = {
    "id": "t.callback_id", "message": "t.message_id", "url": "t.url", "status": "t.status", "attempts": "t.attempts",
    "error": "t.last_error", "created": "t.created_at", "next": "t.next_attempt_at", "delivered": "t.delivered_at",
    "username": "u.username", "customer": "c.name",
}  # fmt: skip
_JOINS = "LEFT JOIN users u ON u.id = t.user_id LEFT JOIN customers c ON c.id = u.customer_id"
#: by the time at which they were made, which the message knows: see inspect.py
_OF_MESSAGE = """SELECT b.callback_id FROM (
        SELECT ended_at - interval '5 s', ended_at + interval '5 s' FROM messages WHERE message_id = %s
        UNION ALL SELECT received_at - interval '5 s', received_at + interval '10 minutes' FROM tbl_mo_messages WHERE message_id = %s
    ) w (lo, hi)
    JOIN tbl_callback_outbox b ON b.created_at BETWEEN w.lo AND w.hi AND b.message_id = %s LIMIT 100"""


class CallbackReads:
    def __init__(self, db: Runs) -> None:
        self._db = db

    async def page(self, reach: Reach, *, status: str = "", message_id: str = "", after: int = 0, most: int = 50,
                   stretches: int = 0) -> Found:  # fmt: skip
        """`stretches`: for an export, over so many."""
        walk = self._walk(reach)
        walk.within(after)
        if status:
            walk.filters.append(("t.status = %s", [status]))
        if message_id:
            walk.filters.append(("t.message_id = %s", [message_id]))
            rows = await self._db.query(_OF_MESSAGE, (message_id,) * 3)
            if rows:
                walk.stretch.append(("t.callback_id = ANY (%s)", [r[0] for r in rows]))
        return await (run_on(walk, self._db, most, stretches) if stretches else walk.run(self._db, most))

    @staticmethod
    def _walk(reach: Reach) -> Walk:
        walk = Walk("tbl_callback_outbox", "callback_id", _COLUMNS, _JOINS)
        if reach.user_id is not None:
            walk.stretch.append(("t.user_id = %s", reach.user_id))
        elif reach.customer_id is not None:
            walk.filters.append(("u.customer_id = %s", [reach.customer_id]))
        return walk

    def parked(self, reach: Reach) -> Deferred[tuple[int, bool]]:
        """How many are parked among the newest STRETCH of one account, of several among the newest of all; whether there are older ones."""
        where, params = reach.where("t.user_id")
        inner, outer = (where, "TRUE") if reach.user_id is not None else ("TRUE", where)
        sql = f"""SELECT count(*) FILTER (WHERE t.status = 'PARKED' AND {outer}), count(*) FROM (
            SELECT t.user_id, t.status FROM tbl_callback_outbox t WHERE {inner} ORDER BY t.callback_id DESC LIMIT {STRETCH}) t"""  # noqa: S608
        return self._db.query(sql, params).addCallback(lambda rows: (int(rows[0][0]), rows[0][1] >= STRETCH))

    def own_url(self, user_id: int) -> Deferred[str]:
        """Where the receipts of an account go; "" for nowhere."""
        d = self._db.query("SELECT COALESCE(dlr_callback_url, '') FROM users WHERE id = %s", (user_id,))
        return d.addCallback(lambda rows: rows[0][0] if rows else "")
