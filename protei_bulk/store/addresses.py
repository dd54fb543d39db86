"""tbl_known_addresses: where accounts have come in from (access/attempts.py). Written in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.store.batcher import Batcher

if TYPE_CHECKING:
    from protei_bulk.store.pool import Database

KEPT_DAYS = 90
_MOST_WAITING = 10_000


class KnownAddressBook:
    """Networks are text as PostgreSQL's cidr takes it. What cannot be written is forgotten: it only costs a wait."""

    _log = Logger()

    def __init__(self, db: Database, reactor: Any) -> None:
        self._db = db
        self._batcher: Batcher[tuple[int, str]] = Batcher(self._store, reactor=reactor, max_rows=1000)

    def is_known(self, username: str, network: str) -> Deferred[bool]:
        sql = """SELECT 1 FROM tbl_known_addresses k JOIN users u ON u.id = k.user_id
            WHERE u.username = %s AND k.network = %s::cidr AND k.seen_at > now() - make_interval(days => %s)"""
        name = username.encode("utf-8", "replace").decode().replace("\0", "")
        return self._db.query(sql, (name, network, KEPT_DAYS)).addCallback(bool)

    def seen(self, user_id: int, network: str) -> None:
        if self._batcher.pending < _MOST_WAITING:
            self._batcher.add((user_id, network))

    def drained(self) -> Deferred[None]:
        return self._batcher.drained()

    def _store(self, batch: list[tuple[int, str]]) -> Deferred[Any]:
        sql = """WITH old AS (
                DELETE FROM tbl_known_addresses WHERE seen_at < now() - make_interval(days => %s)
            ) INSERT INTO tbl_known_addresses (user_id, network, seen_at)
            SELECT DISTINCT x.u, x.n, now() FROM json_to_recordset(%s::json) AS x (u BIGINT, n CIDR)
            JOIN users ON users.id = x.u
            ON CONFLICT (user_id, network) DO UPDATE SET seen_at = EXCLUDED.seen_at"""
        rows = orjson.dumps([{"u": user_id, "n": network} for user_id, network in batch]).decode()
        d = self._db.execute(sql, (KEPT_DAYS, rows))
        return d.addErrback(lambda f: self._log.info("addresses are not noted: {why}", why=f.getErrorMessage()))
