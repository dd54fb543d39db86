"""The audit log over HTTP: what was done and tried, and every request (specification section 7.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Reply, reply
from protei_bulk.channels.http.query import LIMIT, PAGE, make_cursor, read_cursor, read_query
from protei_bulk.channels.http.shapes import Choice, Moment, Shape, Text, Whole
from protei_bulk.channels.http.users_api import wall
from protei_bulk.store.audit_reads import ApiRequest, AuditEvent, AuditReads

_MICROSECONDS = 1_000_000
_COMMON: dict[str, Shape] = {
    **PAGE,
    "user_id": Whole(1),
    "ip_address": Text(64, 1, about="an address, or a network such as 10.0.0.0/8"),
    "from": Moment("the earliest time"),
    "to": Moment("up to, not including"),
}
EVENTS: dict[str, Shape] = {
    **_COMMON,
    "actor_id": Whole(1),
    "action": Text(50, 1, r"[A-Z0-9_]+", about="such as LOGIN_WEB, BIND_SMPP, USER_SET"),
    "result": Choice(("SUCCESS", "FAILURE")),
}
REQUESTS: dict[str, Shape] = {
    **_COMMON,
    "endpoint": Text(255, 1, about="such as /api/sendBulk"),
    "method": Choice(("GET", "POST", "PATCH", "DELETE", "HEAD")),
    "status": Whole(100, 599),
}


class AuditApi:
    def __init__(self, store: AuditReads) -> None:
        self._store = store

    async def events(self, x: Exchange) -> Reply:
        asked, limit = _asked(x, EVENTS)
        rows = await self._store.events(customer_id=wall(x), limit=limit + 1, **asked)
        return _page("events", rows, limit, shown_event, lambda row: row.audit_id)

    async def requests(self, x: Exchange) -> Reply:
        asked, limit = _asked(x, REQUESTS)
        rows = await self._store.requests(customer_id=wall(x), limit=limit + 1, **asked)
        return _page("requests", rows, limit, shown_request, lambda row: row.request_id)


def _asked(x: Exchange, known: Mapping[str, Shape]) -> tuple[dict[str, Any], int]:
    asked = read_query(x, known)
    limit = asked.pop("limit", LIMIT)
    before = read_cursor(asked.pop("cursor", None), int, int)
    if before is not None:
        asked["before"] = (_moment(before[0]), before[1])
    if "ip_address" in asked:
        try:
            asked["ip_address"] = str(ip_network(asked["ip_address"], strict=False))
        except ValueError:
            raise invalid("query.ip_address", "expected an address, or a network such as 10.0.0.0/8") from None
    for name, called in (("from", "since"), ("to", "until")):
        if name in asked:
            asked[called] = asked.pop(name)
    return asked, limit


def _page(name: str, rows: list[Any], limit: int, show: Callable[[Any], dict[str, Any]], number: Callable[[Any], int]) -> Reply:
    document: dict[str, Any] = {"status": "SUCCESS", name: [show(row) for row in rows[:limit]]}
    if len(rows) > limit:
        last = rows[limit - 1]
        since = last.created_at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        microseconds = (since.days * 86_400 + since.seconds) * _MICROSECONDS + since.microseconds
        document["next_cursor"] = make_cursor(microseconds, number(last))
    return reply(document)


def _moment(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, _MICROSECONDS)
    if seconds > 253_402_300_000:
        raise invalid("query.cursor", "expected the next_cursor of an earlier answer")
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def shown_event(row: AuditEvent) -> dict[str, Any]:
    return {
        "audit_id": row.audit_id,
        "timestamp": _iso(row.created_at),
        "user_id": row.user_id,
        "username": row.username,
        "actor_id": row.actor_id,
        "action": row.action,
        "result": row.result,
        "ip_address": row.ip_address,
        "user_agent": row.user_agent,
        "details": row.details,
    }


def shown_request(row: ApiRequest) -> dict[str, Any]:
    return {
        "request_id": row.request_id,
        "timestamp": _iso(row.created_at),
        "user_id": row.user_id,
        "username": row.username,
        "endpoint": row.endpoint,
        "method": row.method,
        "auth_type": row.auth_type,
        "api_key": row.api_key,
        "ip_address": row.ip_address,
        "user_agent": row.user_agent,
        "request_size": row.request_size,
        "response_status": row.response_status,
        "response_time_ms": row.response_time_ms,
        "error_message": row.error_message,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
