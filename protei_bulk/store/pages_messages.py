"""Messages as people look for them, a bounded stretch at a time; see walking.py."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach
from protei_bulk.store.walking import Found, Indexes, Walk, run_on

COLUMNS = {
    "id": "t.message_id", "sender": "t.from_addr", "dest": "t.to_addr", "text": "left(t.message_text, 160)",
    "channel": "t.submission_channel", "status": "t.status", "smsc": "t.smsc_id", "error": "t.error_code", "segments": "t.segments",
    "price": "CASE WHEN t.charge = 'R' THEN 0 ELSE t.price END", "currency": "c.currency", "submitted": "t.submitted_at",
    "delivered": "t.delivered_at", "username": "u.username", "customer": "c.name",
}  # fmt: skip
_JOINS = "LEFT JOIN users u ON u.id = t.user_id LEFT JOIN customers c ON c.id = u.customer_id"
#: those of Wanted that are columns, as they stand
_EQUAL = {
    "dest": "to_addr", "sender": "from_addr", "status": "status", "channel": "submission_channel", "smsc": "smsc_id",
    "campaign": "campaign_id",
}  # fmt: skip


@frozen
class Wanted:
    """What is looked for; empty fields say nothing. `after` and `since` are message ids: below the one, from the other on."""

    dest: str = ""
    sender: str = ""
    status: str = ""
    channel: str = ""
    smsc: str = ""
    campaign: int = 0
    user_id: int = 0
    customer_id: int = 0
    ids: tuple[str, ...] | None = None
    after: str = ""
    since: str = ""
    reach: Reach = field(factory=Reach)


class MessageSearch:
    def __init__(self, db: Runs) -> None:
        self._db = db
        self._indexes = Indexes(db, "messages")

    async def page(self, wanted: Wanted, most: int) -> Found:
        walk = await self._walk(wanted)
        return await walk.run(self._db, most)

    async def many(self, wanted: Wanted, most: int, stretches: int) -> Found:
        """For an export."""
        walk = await self._walk(wanted)
        return await run_on(walk, self._db, most, stretches)

    async def _walk(self, w: Wanted) -> Walk:
        walk = Walk("messages", "message_id", COLUMNS, _JOINS)
        walk.within(w.after, w.since)
        indexed = await self._indexes.leading()
        if w.ids is not None:
            walk.stretch.append(("t.message_id = ANY (%s)", list(w.ids)))
        for name, column in _EQUAL.items():
            value = getattr(w, name)
            if value:
                self._equal(walk, column, value, column in indexed)
        user, customer = w.user_id or w.reach.user_id, w.customer_id or w.reach.customer_id
        if user:
            self._equal(walk, "user_id", user, "user_id" in indexed)
        if w.reach.user_id is not None and user != w.reach.user_id:
            walk.filters.append(("t.user_id = %s", [w.reach.user_id]))
        for id in {customer, w.reach.customer_id} - {None, 0}:
            walk.filters.append(("u.customer_id = %s", [id]))
        return walk

    @staticmethod
    def _equal(walk: Walk, column: str, value: Any, indexed: bool) -> None:
        if indexed:
            walk.stretch.append((f"t.{column} = %s", value))
        else:
            walk.filters.append((f"t.{column} = %s", [value]))

    def by_other_id(self, given: str) -> Deferred[list[str]]:
        """Ids of messages that an SMSC, or we to the ESME, gave this id; a hundred at most."""
        sql = """SELECT DISTINCT id FROM (
                (SELECT message_id AS id FROM messages WHERE shown_id = %s LIMIT 100)
                UNION ALL (SELECT message_id FROM messages WHERE smpp_msg_id IS NOT NULL AND smpp_msg_id = %s LIMIT 100)
                UNION ALL (SELECT message_id FROM message_parts WHERE smpp_msg_id IS NOT NULL AND smpp_msg_id = %s LIMIT 100)
            ) x LIMIT 100"""
        return self._db.query(sql, (given, given, given)).addCallback(lambda rows: [r[0] for r in rows])

    def shown(self, given: str) -> Deferred[list[str]]:
        """Ids of messages of which the ESME was given this one."""
        d = self._db.query("SELECT message_id FROM messages WHERE shown_id = %s LIMIT 100", (given,))
        return d.addCallback(lambda rows: [r[0] for r in rows])

    def campaign(self, reach: Reach, public_id: str) -> Deferred[dict[str, Any] | None]:
        """Its number, and between which moments its messages were made."""
        where, params = reach.where("user_id")
        sql = f"SELECT id, name, created_at, completed_at FROM campaigns WHERE campaign_id = %s AND {where}"  # noqa: S608
        d = self._db.query(sql, [public_id, *params])
        return d.addCallback(lambda rows: dict(zip(("pk", "name", "created", "completed"), rows[0], strict=True)) if rows else None)

    def user_named(self, reach: Reach, name: str) -> Deferred[int | None]:
        where, params = reach.where("id")
        d = self._db.query(f"SELECT id FROM users WHERE username = %s AND {where}", [name, *params])  # noqa: S608
        return d.addCallback(lambda rows: rows[0][0] if rows else None)

    def customer_named(self, name: str) -> Deferred[int | None]:
        return self._db.query("SELECT id FROM customers WHERE name = %s", (name,)).addCallback(lambda rows: rows[0][0] if rows else None)
