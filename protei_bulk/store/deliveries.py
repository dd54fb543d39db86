"""What became of a user's messages, for POST /api/getDLR.

The messages table has no index on campaigns: it would cost every message that is stored. Message ids grow with
time, so a campaign's messages are found by walking the primary key from the moment the campaign was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.model import ids


class Runs(Protocol):
    """A Database."""

    def query(self, sql: str, params: Any = ()) -> Deferred[list[tuple[Any, ...]]]: ...

    def execute(self, sql: str, params: Any = ()) -> Deferred[int]: ...


@frozen
class CampaignRef:
    """A campaign and where its messages lie: ids from `first` up to, not including, `last`."""

    campaign: int
    public_id: str
    total: int
    first: str
    last: str


@frozen
class Delivery:
    """Times in Unix seconds. `long_id`, `part` and `parts` are of a part of a long message that its sender has split."""

    message_id: str
    msisdn: str
    status: str
    dlr_status: str | None
    submitted_at: float
    delivered_at: float | None
    error_code: str | None
    long_id: str | None = None
    part: int | None = None
    parts: int | None = None


_COLUMNS = """message_id, to_addr, status, dlr_status, extract(epoch FROM submitted_at)::float8,
    extract(epoch FROM delivered_at)::float8, error_code, long_id, long_part, long_total"""
_BEFORE_MS = 60_000  # a message may be older than its campaign's row: another node's clock, SMPP's first of a day
_HOUR_MS = 3_600_000
_END = ids.MESSAGE_PREFIX + "ZZZZZZZZZZZZ"


class Deliveries:
    """Everything is of one user: what belongs to others is not found."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def campaign(self, public_id: str, user_id: int) -> Deferred[CampaignRef | None]:
        sql = """SELECT c.id, c.campaign_id, s.total, c.submission_channel, c.day IS NOT NULL,
                extract(epoch FROM c.created_at)::float8
            FROM campaigns c, get_campaign_stats(c.id) s WHERE c.campaign_id = %s AND c.user_id = %s"""

        def read(rows: list[tuple[Any, ...]]) -> CampaignRef | None:
            return _reference(*rows[0]) if rows else None

        return self._db.query(sql, (public_id, user_id)).addCallback(read)

    def of_campaign(
        self,
        campaign: CampaignRef,
        user_id: int,
        *,
        after: str,
        limit: int,
        msisdn: str | None = None,
        status: str | None = None,
    ) -> Deferred[list[Delivery]]:
        """At most `limit` messages with ids above `after` ("" for the first), in their order."""
        conditions = ["campaign_id = %s", "user_id = %s", "message_id < %s"]
        values: list[Any] = [campaign.campaign, user_id, campaign.last]
        if after:
            conditions.append("message_id > %s")
            values.append(after)
        else:
            conditions.append("message_id >= %s")
            values.append(campaign.first)
        if msisdn is not None:
            conditions.append("to_addr = %s")
            values.append(msisdn)
        if status is not None:
            conditions.append("status = %s")
            values.append(status)
        # The name of a condition is never the caller's: only values are.
        sql = f"SELECT {_COLUMNS} FROM messages WHERE {' AND '.join(conditions)} ORDER BY message_id LIMIT %s"
        return self._db.query(sql, (*values, limit)).addCallback(_deliveries)

    def by_ids(
        self,
        message_ids: Sequence[str],
        user_id: int,
        *,
        campaign: int | None = None,
        msisdn: str | None = None,
        status: str | None = None,
    ) -> Deferred[list[Delivery]]:
        """In the order of the ids; unknown ones are left out."""
        sql = f"""SELECT {_COLUMNS} FROM messages
            WHERE message_id = ANY (%s) AND message_id BETWEEN %s AND %s AND user_id = %s
              AND (%s::bigint IS NULL OR campaign_id = %s) AND (%s::text IS NULL OR to_addr = %s)
              AND (%s::text IS NULL OR status = %s)
            ORDER BY message_id"""
        wanted = list(message_ids)
        values = (
            wanted, min(wanted), max(wanted), user_id, campaign, campaign, msisdn, msisdn, status, status
        )  # fmt: skip
        return self._db.query(sql, values).addCallback(_deliveries)

    def campaign_failed(self, campaign: int) -> Deferred[int]:
        """Nothing of it was accepted."""
        return self._db.execute(
            "UPDATE campaigns SET status = 'FAILED', completed_at = now() WHERE id = %s AND total_recipients = 0",
            (campaign,),
        )


def _deliveries(rows: list[tuple[Any, ...]]) -> list[Delivery]:
    return [Delivery(*row) for row in rows]


def _reference(pk: int, public_id: str, total: int, channel: str, daily: bool, created: float) -> CampaignRef:
    made_ms = created_ms = int(created * 1000)
    # A name that this program did not give says nothing about the time.
    with suppress(ValueError):
        made_ms = min(made_ms, ids.time_ms(public_id))
        if channel == "HTTP_API":
            # One node made the campaign's id, then those of its messages, and its ids only grow.
            first = ids.MESSAGE_PREFIX + public_id.rpartition("-")[2]
            return CampaignRef(pk, public_id, total, first, ids.first_at(created_ms + 2 * _HOUR_MS))
    last = ids.first_at(made_ms + 50 * _HOUR_MS) if daily else _END
    return CampaignRef(pk, public_id, total, ids.first_at(made_ms - _BEFORE_MS), last)
