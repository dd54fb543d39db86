"""Messages as people look for them, a bounded stretch at a time; see walking.py."""

from __future__ import annotations

from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach
from protei_bulk.store.walking import Found, Walk

COLUMNS = {
    "id": "t.message_id", "sender": "t.from_addr", "dest": "t.to_addr", "text": "left(t.message_text, 160)",
    "channel": "t.submission_channel", "status": "t.status", "smsc": "t.smsc_id", "error": "t.error_code", "segments": "t.segments",
    "price": "CASE WHEN t.charge = 'R' THEN 0 ELSE t.price END", "currency": "c.currency", "submitted": "t.submitted_at",
    "delivered": "t.delivered_at", "username": "u.username", "customer": "c.name",
}  # fmt: skip
#: what a conversation shows
SAID = {
    "id": "t.message_id", "sender": "t.from_addr", "text": "t.message_text", "status": "t.status", "submitted": "t.submitted_at",
    "username": "u.username",
}  # fmt: skip
_JOINS = "LEFT JOIN users u ON u.id = t.user_id LEFT JOIN customers c ON c.id = u.customer_id"
#: those of Wanted that are columns, as they stand
_EQUAL = {
    "dest": "to_addr", "sender": "from_addr", "status": "status", "channel": "submission_channel", "smsc": "smsc_id",
    "campaign": "campaign_id",
}  # fmt: skip


CANDIDATES = 2000  # messages of an account, a campaign or a number among which the rest of a question is looked for


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
    """A number, an account or a campaign is found by find_messages() in the schema, wherever it is; everything else is looked for along
    the messages, or along those of the account."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    async def page(self, wanted: Wanted, most: int, columns: dict[str, str] = COLUMNS) -> Found:
        users = await self._users(wanted)
        if users is not None and not users:
            return Found([])
        if wanted.ids is None and (users is not None or wanted.dest or wanted.campaign):
            return await self._of_some(wanted, users, most, columns)
        return await self._walk(wanted, users, columns).run(self._db, most)

    async def many(self, wanted: Wanted, most: int, stretches: int) -> Found:
        """For an export: so many at most, and so many looks."""
        rows: list[dict[str, Any]] = []
        found = Found(rows)
        for _ in range(stretches):
            found = await self.page(wanted, min(most - len(rows), CANDIDATES))
            rows += found.rows
            if not found.next or len(rows) >= most:
                break
            wanted = evolve(wanted, after=found.next)
        return Found(rows, found.next, found.full)

    async def _users(self, w: Wanted) -> list[int] | None:
        """Whose messages; None: everybody's."""
        if w.reach.user_id is not None:
            return [w.reach.user_id] if w.user_id in (0, w.reach.user_id) else []
        customers = {c for c in (w.reach.customer_id, w.customer_id) if c}
        if len(customers) > 1:
            return []
        if not customers:
            return [w.user_id] if w.user_id else None
        rows = await self._db.query("SELECT id FROM users WHERE customer_id = %s", (customers.pop(),))
        users = [r[0] for r in rows]
        return [u for u in users if u == w.user_id] if w.user_id else users

    async def _of_some(self, w: Wanted, users: list[int] | None, most: int, columns: dict[str, str]) -> Found:
        filters = [(c, v) for c, v in _filters(w) if c not in ("to_addr", "campaign_id")]
        candidates = CANDIDATES if filters or w.since else most + 1
        ids: list[str] = [
            r[0]
            for r in await self._db.query(
                "SELECT f.id FROM find_messages(%s::bigint[], %s, NULL, %s, %s, %s) AS f (id)",
                (users, w.campaign or None, w.dest or None, w.after or None, candidates),
            )
        ]
        conditions = " AND ".join(["TRUE", *(f"t.{c} = %s" for c, _ in filters), *(["t.message_id >= %s"] if w.since else [])])
        rows = await self._db.query(
            f"SELECT t.message_id, {', '.join(columns.values())} FROM unnest(%s::text[]) WITH ORDINALITY AS f (id, n)"  # noqa: S608
            f" CROSS JOIN LATERAL (SELECT * FROM messages m WHERE m.message_id = f.id LIMIT 1) t {_JOINS} WHERE {conditions}"
            " ORDER BY f.n LIMIT %s",
            [ids, *(v for _, v in filters), *([w.since] if w.since else []), most + 1],
        )
        found = [dict(zip(columns, r[1:], strict=True)) for r in rows[:most]]
        if len(rows) > most:
            return Found(found, rows[most - 1][0], True)
        return Found(found, ids[-1] if len(ids) == candidates and ids[-1] >= w.since else "")

    @staticmethod
    def _walk(w: Wanted, users: list[int] | None, columns: dict[str, str]) -> Walk:
        walk = Walk("messages", "message_id", columns, _JOINS)
        walk.within(w.after, w.since)
        if w.ids is not None:
            walk.stretch.append(("t.message_id = ANY (%s)", list(w.ids)))
        if users is not None:
            walk.filters.append(("t.user_id = ANY (%s)", [users]))
        walk.filters += [(f"t.{column} = %s", [value]) for column, value in _filters(w)]
        return walk

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


def _filters(w: Wanted) -> list[tuple[str, Any]]:
    """Columns that must hold a value."""
    return [(column, getattr(w, name)) for name, column in _EQUAL.items() if getattr(w, name)]
