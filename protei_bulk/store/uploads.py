"""Uploaded files, in pieces that any node can take and read: uploads and tbl_upload_pieces."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg2
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach


@frozen
class Upload:
    """`state`: open, checking, ready, refused; of a refused one `code` and `detail` say why. `received` in octets."""

    upload_id: int
    user_id: int
    customer_id: int
    name: str
    size: int
    piece_size: int
    state: str
    code: str
    detail: str
    preview: Mapping[str, Any] | None
    created_at: datetime
    expires_at: datetime

    @property
    def pieces(self) -> int:
        return -(-self.size // self.piece_size)

    def length(self, piece: int) -> int:
        """Octets of a piece; 0 where there is none of that number."""
        return max(0, min(self.piece_size, self.size - piece * self.piece_size)) if piece >= 0 else 0


_COLUMNS = "upload_id, user_id, customer_id, name, size, piece_size, state, code, detail, preview, created_at, expires_at"


class Uploads:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def open(self, user_id: int, customer_id: int, name: str, size: int, piece: int, *, hours: int, most: int) -> Deferred[int | None]:
        """The number of a new one; None where the account has `most` already. Of its own, those that were refused do not count."""
        d = self._db.query("SELECT open_upload(%s, %s, %s, %s, %s, %s, %s)", (user_id, customer_id, name, size, piece, hours, most))
        return d.addCallback(lambda rows: None if rows[0][0] is None else int(rows[0][0]))

    def get(self, reach: Reach, upload_id: int) -> Deferred[Upload | None]:
        """One of the reader's own, or of whom he reaches."""
        where, params = reach.where("user_id")
        d = self._db.query(
            f"SELECT {_COLUMNS} FROM uploads WHERE upload_id = %s AND expires_at > now() AND {where}", [upload_id, *params]  # noqa: S608
        )
        return d.addCallback(lambda rows: Upload(*rows[0]) if rows else None)

    def of(self, user_id: int) -> Deferred[list[Upload]]:
        """All that an account has, the youngest first."""
        d = self._db.query(f"SELECT {_COLUMNS} FROM uploads WHERE user_id = %s AND expires_at > now() ORDER BY upload_id DESC", (user_id,))  # noqa: S608
        return d.addCallback(lambda rows: [Upload(*r) for r in rows])

    def received(self, upload_id: int) -> Deferred[list[int]]:
        """Numbers of the pieces that are there."""
        d = self._db.query("SELECT piece FROM tbl_upload_pieces WHERE upload_id = %s ORDER BY piece", (upload_id,))
        return d.addCallback(lambda rows: [int(r[0]) for r in rows])

    def put(self, upload_id: int, piece: int, body: bytes) -> Deferred[bool]:
        """False where it takes no pieces any more. One that comes again replaces the first."""
        d = self._db.query(
            "INSERT INTO tbl_upload_pieces (upload_id, piece, body) SELECT upload_id, %s, %s FROM uploads"
            " WHERE upload_id = %s AND state = 'open' FOR SHARE"
            " ON CONFLICT (upload_id, piece) DO UPDATE SET body = EXCLUDED.body RETURNING 1",
            (piece, psycopg2.Binary(body), upload_id),
        )
        return d.addCallback(bool)

    def remove(self, reach: Reach, upload_id: int) -> Deferred[bool]:
        where, params = reach.where("user_id")
        sql = f"DELETE FROM uploads WHERE upload_id = %s AND {where} RETURNING 1"  # noqa: S608
        return self._db.query(sql, [upload_id, *params]).addCallback(bool)

    def tend(self) -> Deferred[Any]:
        """Drops what is over: files past their time, and lists and contacts that were removed a day ago."""
        return self._db.query(
            "WITH a AS (DELETE FROM uploads WHERE expires_at < now()), b AS (DELETE FROM contacts_removed WHERE removed_at < now()"
            " - interval '1 day'), c AS (DELETE FROM contact_lists WHERE removed_at < now() - interval '1 day') SELECT 1"
        )
