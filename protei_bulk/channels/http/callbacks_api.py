"""Callbacks as their customers see them: what was delivered, waits or is given up, sending again, and the secret they are signed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from protei_bulk.callbacks.payload import iso_time
from protei_bulk.callbacks.signing import account_secret, shown_secret
from protei_bulk.channels.http.exchange import Audit, Exchange
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import LIMIT, PAGE, make_cursor, path_id, read_cursor, read_query
from protei_bulk.channels.http.shapes import Body, Choice, Shape, Text, Whole
from protei_bulk.channels.http.users_api import wall
from protei_bulk.model.permissions import Scope
from protei_bulk.store.callbacks import Callback, CallbackOutbox, CallbackSecrets, SecretVersion

STATUSES = ("PENDING", "PARKED", "DELIVERED")
OVERLAP = 86_400
LIST: dict[str, Shape] = {**PAGE, "user_id": Whole(1), "status": Choice(STATUSES), "message_id": Text(64, 1)}
ROTATE = Body({"overlap_seconds": Whole(0, 30 * 86_400, OVERLAP, about="for so long callbacks carry both signatures")})


@frozen
class Callbacks:
    """What the routes need. `secret`: the node's; `wake()` sends what is due."""

    outbox: CallbackOutbox
    secrets: CallbackSecrets
    secret: bytes
    wake: Callable[[], None]


class CallbacksApi:
    def __init__(self, callbacks: Callbacks, audit: Audit, optional: Callable[[Exchange], object]) -> None:
        self._c, self._audit, self._optional = callbacks, audit, optional

    async def list(self, x: Exchange) -> Reply:
        asked = read_query(x, LIST)
        limit = asked.get("limit", LIMIT)
        before = (read_cursor(asked.get("cursor"), int) or (None,))[0]
        user_id = asked.get("user_id")
        if x.scope is Scope.OWN:
            if user_id not in (None, x.who.user_id):
                return reply({"status": "SUCCESS", "callbacks": []})
            user_id = x.who.user_id
        rows = await self._c.outbox.listed(
            limit + 1, user_id=user_id, customer_id=wall(x), status=asked.get("status"), message_id=asked.get("message_id"), before=before
        )
        document: dict[str, Any] = {"status": "SUCCESS", "callbacks": [shown(row) for row in rows[:limit]]}
        if len(rows) > limit:
            document["next_cursor"] = make_cursor(rows[limit - 1].callback_id)
        return reply(document)

    async def replay(self, x: Exchange) -> Reply:
        number = path_id(x, "id", "callback")
        user_id = x.who.user_id if x.scope is Scope.OWN else None
        if not await self._c.outbox.replay([number], user_id=user_id, customer_id=wall(x), delivered=True):
            there = await self._c.outbox.listed(1, user_id=user_id, customer_id=wall(x), before=number + 1)
            if there and there[0].callback_id == number:
                raise Problem(409, "NOT_PARKED", "The callback waits to be sent already")
            raise Problem(404, "NOT_FOUND", "There is no such callback")
        self._audit.event("CALLBACK_REPLAYED", True, user_id=x.who.user_id, ip=x.ip, details={"callback_id": number})
        self._c.wake()
        return reply({"status": "SUCCESS", "callback_id": number, "message": "The callback is being sent again."}, 202)

    async def secret(self, x: Exchange) -> Reply:
        answer = self._secrets(x, await self._c.secrets.current(x.who.user_id))
        self._audit.event("CALLBACK_SECRET_SHOWN", True, user_id=x.who.user_id, ip=x.ip)
        return answer

    async def rotate(self, x: Exchange) -> Reply:
        overlap = ROTATE.read(self._optional(x)).get("overlap_seconds", OVERLAP)
        found = await self._c.secrets.rotate(x.who.user_id, overlap, actor_id=x.who.user_id, ip=x.ip)
        return self._secrets(x, found)

    def _secrets(self, x: Exchange, found: SecretVersion) -> Reply:
        def secret(version: int) -> str:
            return shown_secret(account_secret(self._c.secret, x.who.user_id, version))

        until = found.previous_until
        return reply(
            {
                "status": "SUCCESS",
                "secret": secret(found.version),
                "version": found.version,
                "previous_secret": None if until is None else secret(found.version - 1),
                "previous_until": iso_time(until),
            }
        )


def shown(row: Callback) -> dict[str, Any]:
    return {
        "callback_id": row.callback_id,
        "webhook_id": f"dlr_{row.callback_id}",
        "user_id": row.user_id,
        "message_id": row.message_id,
        "url": row.url,
        "status": row.status,
        "attempts": row.attempts,
        "last_error": row.last_error or None,
        "created_at": iso_time(row.created_at),
        "next_attempt_at": iso_time(row.next_attempt_at),
        "delivered_at": iso_time(row.delivered_at),
    }
