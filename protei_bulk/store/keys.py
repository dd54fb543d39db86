"""tbl_signing_keys: what tokens are signed with, sealed (access/keys.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.keys import StoredKey
from protei_bulk.access.ports import NOBODY, Actor
from protei_bulk.store.changes import AUDIT, audited

if TYPE_CHECKING:
    from datetime import datetime

    from protei_bulk.store.pool import Database

CHANNEL = "protei_keys"
_NOTIFY = f"SELECT pg_notify('{CHANNEL}', '')"


@frozen
class KeyRow:
    kid: str
    created_at: datetime
    expires_at: datetime | None  # None: it signs, or could


class SigningKeys:
    def __init__(self, db: Database) -> None:
        self._db = db

    def usable(self) -> Deferred[list[StoredKey]]:
        """Those that still verify, newest first."""
        sql = """SELECT kid, sealed, extract(epoch FROM expires_at - now())::float8 FROM tbl_signing_keys
            WHERE expires_at IS NULL OR expires_at > now() ORDER BY created_at DESC, kid"""
        return self._db.query(sql).addCallback(lambda rows: [StoredKey(*row) for row in rows])

    def add(self, kid: str, sealed: str) -> Deferred[None]:
        """One more, beside those that are there."""
        sql = "INSERT INTO tbl_signing_keys (kid, sealed) VALUES (%s, %s)"
        return self._db.execute(sql, (kid, sealed)).addCallback(lambda _: None)

    def rotate(self, kid: str, sealed: str, verify_seconds: float, *, actor: Actor = NOBODY) -> Deferred[None]:
        """A new one signs from now on; the others verify for so many seconds more (0: no longer)."""
        details = {"kid": kid, "verify_seconds": verify_seconds}
        sql = f"""WITH gone AS (DELETE FROM tbl_signing_keys WHERE expires_at < now() - interval '30 days'),
            retired AS (
                UPDATE tbl_signing_keys SET expires_at = LEAST(expires_at, now() + make_interval(secs => %s))
                WHERE expires_at IS NULL OR expires_at > now()
            ), changed AS (INSERT INTO tbl_signing_keys (kid, sealed) VALUES (%s, %s) RETURNING kid),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) {_NOTIFY}"""  # noqa: S608
        values = (verify_seconds, kid, sealed, *audited(actor, "KEY_ROTATE", details))
        return self._db.query(sql, values).addCallback(lambda _: None)

    def rows(self) -> Deferred[list[KeyRow]]:
        """All, newest first."""
        sql = "SELECT kid, created_at, expires_at FROM tbl_signing_keys ORDER BY created_at DESC, kid"
        return self._db.query(sql).addCallback(lambda rows: [KeyRow(*row) for row in rows])
