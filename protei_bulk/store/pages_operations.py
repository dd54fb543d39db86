"""What the operator's pages read: sessions, queues, nodes; and the release of held messages.

Every count ends at a bound, and goes through an index in its order: without one a bitmap would be made of all there is.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.pages import Reach, Row
from protei_bulk.store.pool import Database
from protei_bulk.store.sessions import ALIVE_SECONDS

MOST = 5000  # rows of one kind that are counted; where there are more, that is what is shown
RELEASED = 10_000  # held messages that go at a time
_LATELY = 20_000  # sessions among which an address is looked for


class OperationPages:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _rows(self, names: str, sql: str, params: list[Any] | tuple[Any, ...] = ()) -> Deferred[list[Row]]:
        columns = names.split()
        return self._db.query(sql, params).addCallback(lambda rows: [dict(zip(columns, r, strict=True)) for r in rows])

    # --- sessions

    def sessions(self, reach: Reach, *, ended: bool = False, search: str = "", after: int = 0, most: int = 50) -> Deferred[list[Row]]:
        """The youngest first, one more than asked for where there are more; those bound on nodes that live, or those that ended.
        `search`: a user's name, or an address (among those that ended, of the latest)."""
        where, params = reach.where("s.user_id")
        conditions = [where]
        if ended:
            conditions.append("s.status = 'DISCONNECTED'")
        else:
            conditions += ["s.status = 'BOUND'", "n.heartbeat_at > now() - make_interval(secs => %s)"]
            params.append(ALIVE_SECONDS)
        if search:
            try:
                params.append(str(ip_address(search)))
                conditions.append("s.remote_ip = %s::inet")
                if ended:
                    conditions.append("s.session_id > (SELECT max(session_id) FROM tbl_smpp_sessions) - %s")
                    params.append(_LATELY)
            except ValueError:
                conditions.append("s.user_id = (SELECT id FROM users WHERE username = %s)")
                params.append(search)
        if after:
            conditions.append("s.session_id < %s")
            params.append(after)
        return self._rows(
            "id username customer system_id bind_type ip port node tps sent received bound active ended",
            "SELECT s.session_id, u.username, c.name, s.system_id, s.bind_type, host(s.remote_ip), s.remote_port,"
            " COALESCE(n.name, s.node_id::text), s.current_tps, s.messages_sent, s.messages_received, s.bound_at, s.last_activity_at,"
            " s.unbound_at FROM tbl_smpp_sessions s JOIN users u ON u.id = s.user_id JOIN customers c ON c.id = u.customer_id"
            f" LEFT JOIN tbl_nodes n ON n.node_id = s.node_id WHERE {' AND '.join(conditions)} ORDER BY s.session_id DESC LIMIT %s",
            [*params, most + 1],
        )

    # --- queues

    def depths(self) -> Deferred[list[Row]]:
        """By SMSC and priority, what is due and no node has: at most MOST each; `age`: seconds since the oldest became due."""
        return self._rows(
            "smsc priority due age",
            "WITH RECURSIVE q (id) AS ("
            " (SELECT smsc_id FROM tbl_message_queue WHERE claimed_by IS NULL AND ready ORDER BY smsc_id LIMIT 1)"
            " UNION ALL SELECT (SELECT x.smsc_id FROM tbl_message_queue x WHERE x.claimed_by IS NULL AND x.ready AND x.smsc_id > q.id"
            " ORDER BY x.smsc_id LIMIT 1) FROM q WHERE q.id IS NOT NULL)"
            " SELECT q.id, p.p, c.n, COALESCE(extract(epoch FROM now() - o.due_at), 0)::float8 FROM q"
            " CROSS JOIN generate_series(0, 3) AS p (p)"
            " CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM tbl_message_queue x WHERE x.smsc_id = q.id AND x.priority = p.p"
            " AND x.claimed_by IS NULL AND x.ready ORDER BY x.message_id LIMIT %s) y) c"
            " LEFT JOIN LATERAL (SELECT x.due_at FROM tbl_message_queue x WHERE x.smsc_id = q.id AND x.priority = p.p"
            " AND x.claimed_by IS NULL AND x.ready ORDER BY x.message_id LIMIT 1) o ON TRUE"
            " WHERE q.id IS NOT NULL AND c.n > 0 ORDER BY 1, 2 DESC",
            (MOST,),
        )

    def waiting(self) -> Deferred[list[Row]]:
        """By SMSC, what is not due: `later` has a time (`next`, the first), `held` waits for a person. What paused campaigns
        hold is theirs to let go."""
        return self._rows(
            "smsc later next held",
            "WITH RECURSIVE q (id) AS ("
            " (SELECT smsc_id FROM tbl_message_queue WHERE claimed_by IS NULL AND NOT ready ORDER BY smsc_id LIMIT 1)"
            " UNION ALL SELECT (SELECT x.smsc_id FROM tbl_message_queue x WHERE x.claimed_by IS NULL AND NOT x.ready AND x.smsc_id > q.id"
            " ORDER BY x.smsc_id LIMIT 1) FROM q WHERE q.id IS NOT NULL)"
            " SELECT q.id, l.n, f.due_at, h.n FROM q"
            " CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM tbl_message_queue x WHERE x.smsc_id = q.id"
            " AND x.claimed_by IS NULL AND NOT x.ready AND x.due_at < 'infinity' ORDER BY x.due_at LIMIT %s) y) l"
            " LEFT JOIN LATERAL (SELECT x.due_at FROM tbl_message_queue x WHERE x.smsc_id = q.id AND x.claimed_by IS NULL AND NOT x.ready"
            " AND x.due_at < 'infinity' ORDER BY x.due_at LIMIT 1) f ON TRUE"
            " CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM tbl_message_queue x WHERE x.smsc_id = q.id"
            " AND x.claimed_by IS NULL AND x.due_at = 'infinity' AND x.held_for IS NULL LIMIT %s) y) h WHERE q.id IS NOT NULL ORDER BY 1",
            (MOST, MOST),
        )

    def held(self, smsc: str = "", after: str = "", most: int = 50) -> Deferred[list[Row]]:
        """Messages that wait for a person, by id, one more than asked for where there are more."""
        return self._rows(
            "id smsc dest sender username submitted attempts",
            "SELECT q.message_id, q.smsc_id, m.to_addr, m.from_addr, u.username, m.submitted_at, q.attempts FROM tbl_message_queue q"
            " JOIN messages m ON m.message_id = q.message_id LEFT JOIN users u ON u.id = m.user_id"
            " WHERE q.claimed_by IS NULL AND q.due_at = 'infinity' AND q.held_for IS NULL"
            " AND (%s = '' OR q.smsc_id = %s) AND q.message_id > %s"
            " ORDER BY q.message_id LIMIT %s",
            (smsc, smsc, after, most + 1),
        )

    def release(self, smsc: str, message_id: str = "", *, actor: Actor) -> Deferred[int]:
        """Held messages of an SMSC, or one of them, go out now: RELEASED at a time; fires with how many."""
        more = "|| jsonb_build_object('messages', n)"
        sql = f"""WITH freed AS (
                UPDATE tbl_message_queue SET due_at = now() WHERE message_id IN (
                    SELECT message_id FROM tbl_message_queue WHERE claimed_by IS NULL AND due_at = 'infinity' AND held_for IS NULL
                    AND smsc_id = %s AND (%s = '' OR message_id = %s) ORDER BY message_id LIMIT %s FOR UPDATE)
                RETURNING 1),
            changed AS (SELECT count(*) AS n FROM freed HAVING count(*) > 0),
            audit AS ({AUDIT.format(user="NULL::bigint", more=more)})
            SELECT n FROM changed"""  # noqa: S608
        details = {"smsc_id": smsc, **({"message_id": message_id} if message_id else {})}
        params = [smsc, message_id, message_id, RELEASED, *audited(actor, "QUEUE_RELEASE", details)]
        return self._db.query(sql, params).addCallback(lambda rows: int(rows[0][0]) if rows else 0)

    def elsewhere(self) -> Deferred[Row]:
        """What waits beside the queue, each up to MOST: receipts without a message, what waits for ESMEs to bind, callbacks."""
        some = "(SELECT count(*) FROM (SELECT 1 FROM {} LIMIT %s) x)"
        d = self._rows(
            "parked parked_since outbox outbox_since callbacks callbacks_parked",
            f"SELECT {some.format('tbl_parked_receipts')}, (SELECT created_at FROM tbl_parked_receipts ORDER BY receipt_id LIMIT 1),"
            f" {some.format('tbl_deliver_outbox')}, (SELECT created_at FROM tbl_deliver_outbox ORDER BY outbox_id LIMIT 1),"
            f" {some.format(_PENDING)}, {some.format(_PARKED)}",
            (MOST,) * 4,
        )
        return d.addCallback(lambda rows: rows[0])

    def outbox(self, most: int = 20) -> Deferred[list[Row]]:
        """Accounts whose ESMEs are awaited, of the oldest entries that wait."""
        return self._rows(
            "username kind waiting since",
            "SELECT u.username, o.kind, count(*), min(o.created_at) FROM (SELECT user_id, kind, created_at FROM tbl_deliver_outbox"
            " ORDER BY outbox_id LIMIT %s) o LEFT JOIN users u ON u.id = o.user_id GROUP BY 1, 2 ORDER BY 3 DESC LIMIT %s",
            (MOST, most),
        )

    # --- costs

    def costs(self, *, smsc: str = "", number: str = "", skip: int = 0, most: int = 100) -> Deferred[list[Row]]:
        """By destination, the cheapest first, one more than asked for where there are more. `number`: only what a number or network so
        beginning may meet."""
        return self._rows(
            "id smsc mccmnc prefix cost currency valid_from network",
            "SELECT c.cost_id, c.smsc_id, c.mccmnc, c.prefix, c.cost, c.currency,"
            " CASE WHEN c.valid_from > '-infinity' THEN c.valid_from END,"
            " (SELECT n.name FROM tbl_networks n WHERE c.mccmnc <> '' AND n.mccmnc = c.mccmnc LIMIT 1)"
            " FROM tbl_smsc_costs c WHERE (%s = '' OR c.smsc_id = %s) AND (%s = '' OR starts_with(c.mccmnc, %s)"
            " OR (c.prefix <> '' AND (starts_with(c.prefix, %s) OR starts_with(%s, c.prefix))))"
            " ORDER BY c.prefix = '' AND c.mccmnc = '', c.mccmnc, c.prefix, c.cost, c.cost_id OFFSET %s LIMIT %s",
            (smsc, smsc, number, number, number, number, skip, most + 1),
        )

    # --- nodes

    def nodes(self) -> Deferred[list[Row]]:
        """Those of the last day, the living first. `claimed`: of the queue, what it is about to send, up to MOST.
        `campaigns`: it expands those of all nodes."""
        return self._rows(
            "id name started heartbeat silent epoch gone sessions smscs claimed campaigns",
            "SELECT n.node_id, n.name, n.started_at, n.heartbeat_at, extract(epoch FROM now() - n.heartbeat_at)::float8, n.epoch,"
            " n.gone_at,"
            " (SELECT count(*) FROM tbl_smpp_sessions s WHERE s.node_id = n.node_id AND s.status = 'BOUND'),"
            " ARRAY(SELECT substr(l.resource, 6) FROM tbl_leases l WHERE l.node_id = n.node_id AND l.resource LIKE 'smsc:%%'"
            "  AND l.until > now() ORDER BY 1),"
            " (SELECT count(*) FROM (SELECT 1 FROM tbl_message_queue q WHERE q.claimed_by = n.node_id LIMIT %s) x),"
            " EXISTS (SELECT 1 FROM tbl_leases l WHERE l.resource = 'campaigns' AND l.node_id = n.node_id AND l.epoch = n.epoch)"
            " FROM tbl_nodes n WHERE n.heartbeat_at > now() - interval '1 day' ORDER BY n.gone_at IS NOT NULL, n.name LIMIT 100",
            (MOST,),
        )


_PENDING = "tbl_callback_outbox WHERE status = 'PENDING'"
_PARKED = "tbl_callback_outbox WHERE status = 'PARKED'"
