"""Names for numbers, for pages."""

from __future__ import annotations

from collections.abc import Collection

from twisted.internet.defer import Deferred, succeed

from protei_bulk.store.pool import Database


class Names:
    def __init__(self, db: Database) -> None:
        self._db = db

    def users(self, ids: Collection[int], customer_id: int | None = None) -> Deferred[dict[int, str]]:
        """Of those that are there; of one customer's only, where that is given."""
        if not ids:
            return succeed({})
        sql = "SELECT id, username FROM users WHERE id = ANY (%s::bigint[]) AND (%s::bigint IS NULL OR customer_id = %s)"
        return self._db.query(sql, (list(ids), customer_id, customer_id)).addCallback(dict)
