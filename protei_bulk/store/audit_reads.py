"""tbl_permission_audit and tbl_api_requests, newest first, a page at a time.

`customer_id`, where it is given, is a wall: only rows about that customer's users, or of their doing, are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from datetime import datetime

    from protei_bulk.store.pool import Database

T = TypeVar("T")


@frozen
class AuditEvent:
    """What was done or tried. user_id: whom it is about; actor_id: who did it; created_at is aware."""

    audit_id: int
    created_at: datetime
    user_id: int | None
    username: str | None
    actor_id: int | None
    action: str
    result: str
    ip_address: str | None
    user_agent: str | None
    details: dict[str, Any]


@frozen
class ApiRequest:
    """api_key: the first characters of its hash; request_size in octets."""

    request_id: int
    created_at: datetime
    user_id: int | None
    username: str | None
    endpoint: str
    method: str
    auth_type: str | None
    api_key: str | None
    ip_address: str | None
    user_agent: str | None
    request_size: int | None
    response_status: int
    response_time_ms: int
    error_message: str | None


_EVENTS = """SELECT a.audit_id, a.created_at, a.user_id, u.username, a.actor_id, a.action, a.result,
        host(a.ip_address), a.user_agent, a.details
    FROM tbl_permission_audit a LEFT JOIN users u ON u.id = a.user_id"""
_REQUESTS = """SELECT a.request_id, a.created_at, a.user_id, u.username, a.endpoint, a.method, a.auth_type, a.api_key,
        host(a.ip_address), a.user_agent, a.request_size, a.response_status, a.response_time_ms, a.error_message
    FROM tbl_api_requests a LEFT JOIN users u ON u.id = a.user_id"""


class AuditReads:
    """before: (created_at, number) of the last row of the page before. since and until bound created_at: [since, until)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def events(
        self,
        *,
        customer_id: int | None = None,
        user_id: int | None = None,
        actor_id: int | None = None,
        action: str | None = None,
        result: str | None = None,
        ip_address: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: tuple[datetime, int] | None = None,
        limit: int = 100,
    ) -> Deferred[list[AuditEvent]]:
        """ip_address: an address or a network. Fails where it is none."""
        where = _Where(since, until, before, "audit_id")
        where.add("a.user_id = %s", user_id)
        where.add("a.actor_id = %s", actor_id)
        where.add("a.action = %s", action)
        where.add("a.result = %s", result)
        where.add("a.ip_address <<= %s::inet", ip_address)
        if customer_id is not None:
            users = "ARRAY(SELECT id FROM users WHERE customer_id = %s)"
            where.add(f"(a.user_id = ANY ({users}) OR a.actor_id = ANY ({users}))", customer_id, 2)
        return self._page(_EVENTS, where, "audit_id", limit, AuditEvent)

    def requests(
        self,
        *,
        customer_id: int | None = None,
        user_id: int | None = None,
        endpoint: str | None = None,
        method: str | None = None,
        status: int | None = None,
        errors: bool = False,
        ip_address: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: tuple[datetime, int] | None = None,
        limit: int = 100,
    ) -> Deferred[list[ApiRequest]]:
        """errors: those answered with 400 or more only."""
        where = _Where(since, until, before, "request_id")
        where.add("a.user_id = %s", user_id)
        where.add("a.endpoint = %s", endpoint)
        where.add("a.method = %s", method)
        where.add("a.response_status = %s", status)
        where.add("a.response_status >= %s", 400 if errors else None)
        where.add("a.ip_address <<= %s::inet", ip_address)
        where.add("a.user_id = ANY (ARRAY(SELECT id FROM users WHERE customer_id = %s))", customer_id)
        return self._page(_REQUESTS, where, "request_id", limit, ApiRequest)

    def _page(self, select: str, where: _Where, number: str, limit: int, make: Callable[..., T]) -> Deferred[list[T]]:
        sql = f"{select} WHERE {where.sql} ORDER BY a.created_at DESC, a.{number} DESC LIMIT %s"
        rows = self._db.query(sql, (*where.values, limit))
        return rows.addCallback(lambda found: [make(*row) for row in found])


class _Where:
    """Conditions, and their values. No text of a caller is ever part of the SQL."""

    def __init__(
        self, since: datetime | None, until: datetime | None, before: tuple[datetime, int] | None, number: str
    ) -> None:
        self._conditions = ["TRUE"]
        self.values: list[Any] = []
        self.add("a.created_at >= %s", since)
        self.add("a.created_at < %s", until)
        if before is not None:
            self._conditions.append(f"(a.created_at, a.{number}) < (%s, %s)")
            self.values += before
            self.add("a.created_at <= %s", before[0])  # which partitions there is no need to look into

    def add(self, condition: str, value: object, times: int = 1) -> None:
        if value is not None:
            self._conditions.append(condition)
            self.values += [value] * times

    @property
    def sql(self) -> str:
        return " AND ".join(self._conditions)


