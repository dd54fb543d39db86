"""This node's rows of tbl_smpp_sessions: opened in batches, and no more for an account than it may have on all nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from protei_bulk.access.limits import plain_address
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.sessions import ALIVE_SECONDS, SmppSessions

if TYPE_CHECKING:
    from protei_bulk.store.pool import Database

_BATCH = 500


@frozen(eq=False)
class _Opening:
    user_id: int
    row: dict[str, Any]
    done: Deferred[int]


class NodeSessions(SmppSessions):
    """`max_binds()` is how many sessions an account may have that names no number of its own; 0: no limit.

    A thousand binds at a time cost a few statements. What this node holds is counted in memory, so that a session which
    has just ended makes room at once, wherever its row is; what other nodes hold is read with the insertion.
    """

    def __init__(self, db: Database, node_id: int, reactor: Any, max_binds: Callable[[], int]) -> None:
        super().__init__(db, node_id)
        self._max_binds = max_binds
        self._batcher: Batcher[_Opening] = Batcher(self._open, reactor=reactor, max_rows=_BATCH)
        self._held: dict[int, int] = {}
        self._users: dict[str, int] = {}
        self._doubtful: set[str] = set()  # perhaps inserted: whoever asked was told that it failed

    def opened(
        self, *, user_id: int, system_id: str, bind_type: str, remote_ip: str, remote_port: int, token: str, max_binds: int = 0
    ) -> Deferred[int]:
        """Fires with the session_id; with 0 where the account has as many sessions as it may."""
        address = plain_address(remote_ip)
        row = {
            "t": token, "u": user_id, "s": system_id[:50], "b": bind_type, "i": None if address is None else str(address),
            "p": remote_port, "m": max_binds or self._max_binds(),
        }  # fmt: skip
        done: Deferred[int] = Deferred()
        self._batcher.add(_Opening(user_id, row, done))
        return done

    def closed_many(self, tokens: Iterable[str]) -> Deferred[int]:
        """Fires with how many of them were bound."""
        wanted = list(tokens)
        for token in wanted:
            self._forget(token)
        doubtful, self._doubtful = self._doubtful, set()

        def failed(failure: Failure) -> Failure:
            self._doubtful |= doubtful
            return failure

        return super().closed_many([*wanted, *doubtful]).addErrback(failed)

    def _forget(self, token: str) -> None:
        user_id = self._users.pop(token, None)
        if user_id is not None:
            self._held[user_id] -= 1
            if not self._held[user_id]:
                del self._held[user_id]

    def _open(self, batch: list[_Opening]) -> Deferred[None]:
        rows = [{**o.row, "n": n, "h": self._held.get(o.user_id, 0)} for n, o in enumerate(batch)]
        sql = "SELECT token, id FROM open_smpp_sessions(%s::json, %s, %s)"
        d = self._db.query(sql, (orjson.dumps(rows).decode(), self._node_id, ALIVE_SECONDS))
        return d.addCallbacks(self._opened, self._not_opened, (batch,), {}, (batch,))

    def _opened(self, rows: list[tuple[Any, ...]], batch: list[_Opening]) -> None:
        numbers = {token: int(number) for token, number in rows}
        for opening in batch:
            token = opening.row["t"]
            if token in numbers:
                self._users[token] = opening.user_id
                self._held[opening.user_id] = self._held.get(opening.user_id, 0) + 1
        for opening in batch:
            opening.done.callback(numbers.get(opening.row["t"], 0))

    def _not_opened(self, failure: Failure, batch: list[_Opening]) -> Deferred[None]:
        self._doubtful.update(opening.row["t"] for opening in batch)
        for opening in batch:
            opening.done.errback(failure)
        return succeed(None)
