"""What an operator wants to see: one message with all that is known of it, and the queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from protei_bulk.store.pool import Database


@frozen
class QueueDepth:
    """Of one SMSC, in tbl_message_queue: what no node holds in memory."""

    smsc_id: str
    depth: int
    scheduled: int  # of these, not due yet
    claimed: int  # of these, taken by a node that is about to send them
    oldest_seconds: float  # since the oldest that is due became so; 0 where none is


_MESSAGE = """SELECT to_jsonb(m) || jsonb_build_object(
        'username', u.username,
        'customer', c.name,
        'currency', c.currency,
        'campaign', (SELECT jsonb_build_object('campaign_id', k.campaign_id, 'name', k.name, 'status', k.status)
                     FROM campaigns k WHERE k.id = m.campaign_id),
        'parts', COALESCE((SELECT jsonb_agg(to_jsonb(p) - 'message_id' ORDER BY p.part)
                           FROM message_parts p WHERE p.message_id = m.message_id), '[]'),
        'long_parts', COALESCE((SELECT jsonb_agg(jsonb_build_object('part', l.long_part, 'message_id', l.message_id, 'status', l.status,
                                        'smsc_id', l.smsc_id, 'smpp_msg_id', l.smpp_msg_id, 'error_code', l.error_code)
                                    ORDER BY l.long_part, l.message_id)
                                FROM messages l WHERE l.long_id = m.long_id AND l.message_id >= m.long_id), '[]'),
        'queue', (SELECT to_jsonb(q) - 'message_id' FROM tbl_message_queue q WHERE q.message_id = m.message_id),
        'callbacks', COALESCE((SELECT jsonb_agg(to_jsonb(b) - 'message_id' ORDER BY b.callback_id)
                               FROM tbl_callback_outbox b
                               WHERE b.message_id = m.message_id AND b.user_id = m.user_id
                               AND b.created_at BETWEEN m.ended_at - interval '5 s' AND m.ended_at + interval '5 s'), '[]'),
        'deliver_outbox', COALESCE((SELECT jsonb_agg(to_jsonb(o) - 'message_id' ORDER BY o.outbox_id)
                                    FROM tbl_deliver_outbox o
                                    WHERE o.user_id = m.user_id AND o.message_id = m.message_id), '[]'))
    FROM messages m LEFT JOIN users u ON u.id = m.user_id LEFT JOIN customers c ON c.id = u.customer_id
    WHERE m.message_id = %s OR m.shown_id = %s ORDER BY m.message_id LIMIT 1"""
_DEPTHS = """SELECT smsc_id, count(*), count(*) FILTER (WHERE due_at > now()),
        count(*) FILTER (WHERE claimed_by IS NOT NULL),
        COALESCE(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now())), 0)::float8
    FROM tbl_message_queue GROUP BY smsc_id ORDER BY smsc_id"""


class Inspection:
    """Reads only; they may count rows, so they are for people and not for screens that refresh.

    A callback is made in the transaction in which its message ends: no index knows it by its message, but one does by its time.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def message(self, message_id: str) -> Deferred[dict[str, Any] | None]:
        """The columns of the message and, beside them, its parts (or those beside it), queue entry and what is to be told of it.

        By its id, or the one that its ESME was given. None where there is none of this id (any more).
        """
        rows = self._db.query(_MESSAGE, (message_id, message_id))
        return rows.addCallback(lambda found: found[0][0] if found else None)

    def queue(self) -> Deferred[list[QueueDepth]]:
        """By SMSC; one that has nothing queued is left out."""
        return self._db.query(_DEPTHS).addCallback(lambda rows: [QueueDepth(*row) for row in rows])
