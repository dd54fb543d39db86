"""Blacklists, opt-outs and what the velocity guard found, in PostgreSQL. Changes leave their row in tbl_permission_audit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.guards.checker import Pause
from protei_bulk.guards.keywords import LONGEST
from protei_bulk.guards.velocity import Excess
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.messages import Runs

Row = dict[str, Any]

#: (customer, number, is_prefix, there) and (customer, sender, number, out), with the highest version among them
Changes = tuple[list[tuple[int, int, bool, bool]], list[tuple[int, str, int, bool]], int]


@frozen
class Entry:
    """Of a blacklist; customer 0 is everybody's."""

    entry_id: int
    customer_id: int
    number: str
    is_prefix: bool
    reason: str
    created_at: datetime


@frozen
class OptOut:
    """A row of the ledger, or what it comes to (then `opt_out_id` is that of the last row)."""

    opt_out_id: int
    customer_id: int
    number: str
    sender: str
    opted_out: bool
    source: str
    message_id: str | None
    actor_id: int | None
    note: str
    at: datetime


@frozen
class Event:
    """Of the velocity guard."""

    event_id: int
    user_id: int
    username: str | None
    customer_id: int | None
    kind: str
    target: str
    region: str
    messages: int
    most: int
    mode: str
    created_at: datetime
    ends_at: datetime | None
    released_at: datetime | None

    @property
    def pause(self) -> Pause:
        return Pause(self.event_id, self.user_id, self.kind, self.target)


_EVENT = """SELECT e.event_id, e.user_id, u.username, u.customer_id, e.kind, e.target, e.region, e.messages, e.most, e.mode, e.created_at,
    e.ends_at, e.released_at FROM tbl_velocity_events e LEFT JOIN users u ON u.id = e.user_id"""
_OPT_OUT = "o.opt_out_id, o.customer_id, o.number::text, o.sender, o.opted_out, o.source, o.message_id, o.actor_id, o.note, o.at"


class GuardRows:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error. Numbers are digits without leading zeros, checked by the caller."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    # --- blacklist

    def bar(self, customer_id: int, numbers: Sequence[int], is_prefix: bool, reason: str, *, actor: Actor) -> Deferred[list[int]]:
        """Ids of the entries, those that were there already among them."""
        sql = f"""WITH changed AS (
                INSERT INTO tbl_blacklist AS b (customer_id, number, is_prefix, reason)
                SELECT %s, n, %s, %s FROM (SELECT DISTINCT n FROM unnest(%s::bigint[]) AS n) AS n
                ON CONFLICT (customer_id, is_prefix, number) DO UPDATE SET active = TRUE, reason = EXCLUDED.reason,
                    created_at = CASE WHEN b.active THEN b.created_at ELSE now() END, changed_at = now()
                RETURNING entry_id),
            audit AS ({AUDIT.format(user="NULL::bigint", more="").replace("FROM changed", "FROM (SELECT 1 FROM changed LIMIT 1) c")})
            SELECT entry_id FROM changed"""  # noqa: S608
        details = {"customer_id": customer_id, "numbers": [str(n) for n in numbers[:100]], "is_prefix": is_prefix, "reason": reason}
        params = [customer_id, is_prefix, reason, list(numbers), *audited(actor, "BLACKLIST_ADD", details)]
        return self._db.query(sql, params).addCallback(lambda rows: [int(r[0]) for r in rows])

    def unbar(self, customer_id: int, number: int, is_prefix: bool, *, actor: Actor) -> Deferred[bool]:
        """False where it is not there."""
        return self._unbar("customer_id = %s AND number = %s AND is_prefix = %s", [customer_id, number, is_prefix], actor)

    def unbar_entry(self, entry_id: int, customer_id: int | None, *, actor: Actor) -> Deferred[bool]:
        """False where it is not there, or not this customer's."""
        return self._unbar("entry_id = %s AND (%s::bigint IS NULL OR customer_id = %s)", [entry_id, customer_id, customer_id], actor)

    def _unbar(self, where: str, params: list[Any], actor: Actor) -> Deferred[bool]:
        more = "|| jsonb_build_object('customer_id', customer_id, 'number', number::text, 'is_prefix', is_prefix)"
        sql = f"""WITH changed AS (
                UPDATE tbl_blacklist SET active = FALSE, changed_at = now() WHERE active AND {where}
                RETURNING customer_id, number, is_prefix),
            audit AS ({AUDIT.format(user="NULL::bigint", more=more)}) SELECT 1 FROM changed"""  # noqa: S608
        return self._db.query(sql, [*params, *audited(actor, "BLACKLIST_REMOVE", {})]).addCallback(bool)

    def barred(self, customer_id: int | None, *, number: int | None = None, after: int = 0, limit: int = 100) -> Deferred[list[Entry]]:
        """By id, those above `after`; of one customer (0: everybody's), or of all. `number`: those that it falls under."""
        d = self._db.query(
            "SELECT entry_id, customer_id, number::text, is_prefix, reason, created_at FROM tbl_blacklist"
            " WHERE active AND entry_id > %s AND (%s::bigint IS NULL OR customer_id = %s)"
            " AND (%s::text IS NULL OR CASE WHEN is_prefix THEN starts_with(%s, number::text) ELSE number::text = %s END)"
            " ORDER BY entry_id LIMIT %s",
            (after, customer_id, customer_id, *[None if number is None else str(number)] * 3, limit),
        )
        return d.addCallback(lambda rows: [Entry(*r) for r in rows])

    # --- opt-outs

    def record(self, rows: list[Row], *, actor: Actor | None = None) -> Deferred[int]:
        """See record_opt_outs() in the schema. Fires with how many were appended."""
        sql, params = "SELECT record_opt_outs(%s::json)", [_json(rows)]
        if actor is not None:
            action = "OPT_OUT" if any(row["o"] for row in rows) else "OPT_IN"
            shown = [{"customer_id": r["c"], "number": str(r["n"]), "sender": r.get("s", "")} for r in rows[:100]]
            sql = f"""WITH changed AS (SELECT record_opt_outs(%s::json) AS n),
                audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT n FROM changed"""  # noqa: S608
            params += audited(actor, action, {"rows": shown})
        return self._db.query(sql, params).addCallback(lambda found: int(found[0][0]))

    def record_mobiles(self, rows: list[Row], by_sender: bool) -> Deferred[int]:
        """See record_mobile_opt_outs() in the schema."""
        d = self._db.query("SELECT record_mobile_opt_outs(%s::json, %s)", (_json(rows), by_sender))
        return d.addCallback(lambda found: int(found[0][0]))

    def mobiles_since(self, message_id: str, most: int) -> Deferred[list[tuple[str, str]]]:
        """(id, text) of messages from mobiles with higher ids that somebody got, as short as a keyword; by id, so many at most."""
        return self._db.query(
            "SELECT message_id, message_text FROM tbl_mo_messages WHERE message_id > %s AND user_id IS NOT NULL"
            " AND length(message_text) <= %s ORDER BY message_id LIMIT %s",
            (message_id, LONGEST, most),
        )

    def opt_outs(self, customer_id: int | None, *, number: int | None = None, after: tuple[int, str, int] = (0, "", 0), limit: int = 100
                 ) -> Deferred[list[OptOut]]:  # fmt: skip
        """Who is opted out now, by customer, sender and number, those above `after`."""
        d = self._db.query(
            f"SELECT {_OPT_OUT} FROM tbl_opt_out_state k CROSS JOIN LATERAL (SELECT * FROM tbl_opt_outs o"  # noqa: S608
            " WHERE o.customer_id = k.customer_id AND o.number = k.number AND o.sender = k.sender AND o.opted_out"
            " ORDER BY o.at DESC, o.opt_out_id DESC LIMIT 1) o"
            " WHERE k.opted_out AND (k.customer_id, k.sender, k.number) > (%s, %s, %s) AND (%s::bigint IS NULL OR k.customer_id = %s)"
            " AND (%s::bigint IS NULL OR k.number = %s) ORDER BY k.customer_id, k.sender, k.number LIMIT %s",
            (*after, customer_id, customer_id, number, number, limit),
        )
        return d.addCallback(lambda rows: [OptOut(*r) for r in rows])

    def history(self, customer_id: int | None, number: int, limit: int = 500) -> Deferred[list[OptOut]]:
        """All that the ledger says of a number, oldest first."""
        d = self._db.query(
            f"SELECT {_OPT_OUT} FROM tbl_opt_outs o WHERE number = %s AND (%s::bigint IS NULL OR customer_id = %s)"  # noqa: S608
            " ORDER BY opt_out_id LIMIT %s",
            (number, customer_id, customer_id, limit),
        )
        return d.addCallback(lambda rows: [OptOut(*r) for r in rows])

    # --- what nodes read

    def changes(self, since: int, most: int) -> Deferred[Changes | None]:
        """What has changed in both lists after this version; None where that is more than `most` rows."""

        def read(rows: list[tuple[Any, ...]]) -> Changes | None:
            if len(rows) > most:
                return None
            barred = [(r[1], r[3], r[4], r[5]) for r in rows if r[0]]
            out = [(r[1], r[2], r[3], r[5]) for r in rows if not r[0]]
            return barred, out, max((r[6] for r in rows), default=since)

        d = self._db.query(
            "(SELECT TRUE, customer_id, '', number, is_prefix, active, version FROM tbl_blacklist WHERE version > %s"
            " ORDER BY version LIMIT %s) UNION ALL (SELECT FALSE, customer_id, sender, number, FALSE, opted_out, version"
            " FROM tbl_opt_out_state WHERE version > %s ORDER BY version LIMIT %s)",
            (since, most + 1, since, most + 1),
        )
        return d.addCallback(read)

    def forget(self) -> Deferred[int]:
        """Entries that were removed so long ago that every node has heard of it."""
        return self._db.execute("DELETE FROM tbl_blacklist WHERE NOT active AND changed_at < now() - interval '7 days'")

    # --- velocity

    def found(self, excesses: Iterable[tuple[Excess, str]], node: int, pause_seconds: float) -> Deferred[list[int]]:
        """Records what was found with its mode; what is paused already stays as it is. 0 seconds: until it is released."""
        rows = [
            {"u": e.user_id, "k": e.kind, "t": e.target, "g": e.region, "n": e.count, "l": e.limit, "m": mode} for e, mode in excesses
        ]
        sql = """WITH x AS (
                SELECT * FROM json_to_recordset(%s::json) AS x (u BIGINT, k TEXT, t TEXT, g TEXT, n INTEGER, l INTEGER, m TEXT)),
            changed AS (
                INSERT INTO tbl_velocity_events (user_id, node_id, kind, target, region, messages, most, mode, ends_at)
                SELECT u, %s, k, t, g, n, l, m, CASE WHEN m = 'pause' AND %s > 0 THEN now() + %s * interval '1 second' END FROM x
                ON CONFLICT DO NOTHING
                RETURNING event_id, user_id, kind, target, region, messages, most, mode),
            audit AS (INSERT INTO tbl_permission_audit (user_id, action, result, details)
                SELECT user_id, CASE mode WHEN 'pause' THEN 'VELOCITY_PAUSED' ELSE 'VELOCITY_ALERT' END, 'SUCCESS',
                    to_jsonb(changed) - 'user_id' - 'mode' FROM changed)
            SELECT event_id FROM changed"""
        d = self._db.query(sql, (_json(rows), node, pause_seconds, pause_seconds))
        return d.addCallback(lambda found: [int(r[0]) for r in found])

    def end_pauses(self) -> Deferred[int]:
        """Those whose time is over."""
        return self._db.execute(
            "UPDATE tbl_velocity_events SET released_at = now() WHERE mode = 'pause' AND released_at IS NULL AND ends_at <= now()"
        )

    def release(self, event_id: int, *, actor: Actor) -> Deferred[bool]:
        """False where there is no such pause in force."""
        more = "|| jsonb_build_object('event_id', event_id, 'kind', kind, 'target', target)"
        sql = f"""WITH changed AS (
                UPDATE tbl_velocity_events SET released_at = now(), released_by = %s
                WHERE event_id = %s AND mode = 'pause' AND released_at IS NULL RETURNING user_id, event_id, kind, target),
            audit AS ({AUDIT.format(user="user_id", more=more)}) SELECT 1 FROM changed"""  # noqa: S608
        return self._db.query(sql, [actor.user_id, event_id, *audited(actor, "VELOCITY_RELEASED", {})]).addCallback(bool)

    def events(self, *, customer_id: int | None = None, user_id: int | None = None, paused: bool = False, before: int | None = None,
               limit: int = 100) -> Deferred[list[Event]]:  # fmt: skip
        """The newest first; `paused`: only pauses in force."""
        sql = f"""{_EVENT} WHERE (%s::bigint IS NULL OR u.customer_id = %s) AND (%s::bigint IS NULL OR e.user_id = %s)
            AND (%s::bigint IS NULL OR e.event_id < %s) AND (NOT %s OR (e.mode = 'pause' AND e.released_at IS NULL))
            ORDER BY e.event_id DESC LIMIT %s"""
        d = self._db.query(sql, (customer_id, customer_id, user_id, user_id, before, before, paused, limit))
        return d.addCallback(lambda rows: [Event(*r) for r in rows])

    def save_baselines(self, node: int, rows: list[Row]) -> Deferred[int]:
        """In place of what this node saved before."""
        return self._db.execute(
            "WITH x AS (SELECT * FROM json_to_recordset(%s::json) AS x (u BIGINT, r TEXT, a FLOAT8, b FLOAT8, h INTEGER)),"
            " gone AS (DELETE FROM tbl_velocity_baselines b WHERE node_id = %s AND NOT EXISTS"
            " (SELECT 1 FROM x WHERE x.u = b.user_id AND x.r = b.region))"
            " INSERT INTO tbl_velocity_baselines (node_id, user_id, region, average, busiest, hours) SELECT %s, u, r, a, b, h FROM x"
            " ON CONFLICT (node_id, user_id, region) DO UPDATE SET average = EXCLUDED.average, busiest = EXCLUDED.busiest,"
            " hours = EXCLUDED.hours, saved_at = now()",
            (_json(rows), node, node),
        )

    def baselines(self, node: int) -> Deferred[tuple[list[Row], float]]:
        """The rows, and the seconds since they were saved."""
        d = self._db.query(
            "SELECT user_id, region, average, busiest, hours, extract(epoch FROM now() - saved_at)::float8"
            " FROM tbl_velocity_baselines WHERE node_id = %s",
            (node,),
        )

        def read(rows: list[tuple[Any, ...]]) -> tuple[list[Row], float]:
            return [dict(zip("urabh", r, strict=False)) for r in rows], min((r[5] for r in rows), default=0.0)

        return d.addCallback(read)

    # --- for people

    def switches(self, customer_id: int | None = None) -> Deferred[list[Row]]:
        """By customer (0: everybody), what its lists hold, and the guards of its accounts."""
        d = self._db.query(
            "SELECT c.id, c.name, c.allowed_countries, c.blocked_countries,"
            " (SELECT count(*) FROM tbl_blacklist b WHERE b.active AND b.customer_id = c.id)::int,"
            " (SELECT count(*) FROM tbl_opt_out_state o WHERE o.opted_out AND o.customer_id = c.id)::int,"
            " (SELECT COALESCE(jsonb_agg(jsonb_build_object('user_id', u.id, 'username', u.username, 'duplicate_seconds',"
            " u.duplicate_seconds, 'transactional', u.transactional, 'velocity', u.velocity) ORDER BY u.id), '[]')"
            " FROM users u WHERE u.customer_id = c.id AND u.status <> 'DELETED'"
            " AND (u.duplicate_seconds > 0 OR u.transactional OR u.velocity <> 'node'))"
            " FROM (SELECT id, name, allowed_countries, blocked_countries, status FROM customers UNION ALL"
            " SELECT 0, NULL, '[]', '[]', 'ACTIVE') c WHERE c.status <> 'DELETED' AND (%s::bigint IS NULL OR c.id = %s) ORDER BY c.id",
            (customer_id, customer_id),
        )
        names = ("customer_id", "customer", "allowed_countries", "blocked_countries", "blacklisted", "opted_out", "accounts")
        return d.addCallback(lambda rows: [dict(zip(names, r, strict=True)) for r in rows])


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
