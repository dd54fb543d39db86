"""What the page of one's own account shows beside the account itself."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs


@frozen
class OwnFacts:
    """`codes`: recovery codes that are left. Times are aware; None: never, or no key."""

    email: str
    codes: int
    key_made: datetime | None
    last_login: datetime | None


class OwnReads:
    def __init__(self, db: Runs) -> None:
        self._db = db

    def facts(self, user_id: int) -> Deferred[OwnFacts]:
        d = self._db.query(
            "SELECT COALESCE(u.email, ''),"
            " (SELECT count(*) FROM tbl_recovery_codes r WHERE r.user_id = u.id AND r.used_at IS NULL),"
            " CASE WHEN u.api_key IS NOT NULL THEN u.api_key_created_at AT TIME ZONE 'UTC' END, u.last_login_at"
            " FROM users u WHERE u.id = %s",
            (user_id,),
        )
        return d.addCallback(lambda rows: OwnFacts(*rows[0]) if rows else OwnFacts("", 0, None, None))
