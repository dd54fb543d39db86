"""SMPP sessions: who is bound, on all nodes, and the end of one."""

from __future__ import annotations

from typing import Any

from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import LIMIT, PAGE, make_cursor, path_id, read_cursor, read_query
from protei_bulk.channels.http.shapes import Shape, Whole
from protei_bulk.channels.http.users_api import wall
from protei_bulk.model.permissions import Scope
from protei_bulk.store.sessions import SmppSessionRow, SmppSessions

LIST: dict[str, Shape] = {**PAGE, "user_id": Whole(1)}


class SessionApi:
    def __init__(self, store: SmppSessions) -> None:
        self._store = store

    async def list(self, x: Exchange) -> Reply:
        asked = read_query(x, LIST)
        limit = asked.get("limit", LIMIT)
        before = (read_cursor(asked.get("cursor"), int) or (None,))[0]
        user_id = asked.get("user_id")
        if x.scope is Scope.OWN:
            if user_id not in (None, x.who.user_id):
                return reply({"status": "SUCCESS", "sessions": []})
            user_id = x.who.user_id
        rows = await self._store.bound(user_id=user_id, customer_id=wall(x), before=before, limit=limit + 1)
        document: dict[str, Any] = {"status": "SUCCESS", "sessions": [shown(row) for row in rows[:limit]]}
        if len(rows) > limit:
            document["next_cursor"] = make_cursor(rows[limit - 1].session_id)
        return reply(document)

    async def disconnect(self, x: Exchange) -> Reply:
        number = path_id(x, "session_id", "session")
        own = x.who.user_id if x.scope is Scope.OWN else None
        if not await self._store.request_disconnect_id(number, actor=x.actor, customer_id=wall(x), user_id=own):
            raise Problem(404, "NOT_FOUND", "There is no such session, or it is over")
        return reply({"status": "SUCCESS", "session_id": number, "message": "The session is being ended."})


def shown(row: SmppSessionRow) -> dict[str, Any]:
    """Without the session token: whoever has that can end the session."""
    return {
        "session_id": row.session_id,
        "user_id": row.user_id,
        "username": row.username,
        "customer_id": row.customer_id,
        "system_id": row.system_id,
        "bind_type": row.bind_type,
        "remote_ip": row.remote_ip,
        "remote_port": row.remote_port,
        "status": row.status,
        "node_id": row.node_id,
        "current_tps": float(row.current_tps),
        "messages_sent": row.messages_sent,
        "messages_received": row.messages_received,
        "bound_at": iso_time(row.bound_at.timestamp()),
        "last_activity_at": iso_time(row.last_activity_at.timestamp()),
    }
