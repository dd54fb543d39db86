"""Campaigns and their states: every change is one guarded statement, and leaves its row in the audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from protei_bulk.access.ports import Actor
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.pool import Database


@frozen
class Standing:
    """Where a campaign is, and whose. `daily`: an account's SMPP traffic of a day. `approval`: its customer asks for it."""

    pk: int
    id: str
    user_id: int
    customer_id: int
    status: str
    planned: bool
    daily: bool
    submitted_by: int | None
    approval: bool


_STANDING = """SELECT c.id, c.campaign_id, c.user_id, c.customer_id, c.status, c.planned, c.day IS NOT NULL, p.submitted_by,
    k.campaign_approval FROM campaigns c JOIN customers k ON k.id = c.customer_id
    LEFT JOIN campaign_plans p ON p.campaign_id = c.id WHERE c.campaign_id = %s"""

#: what a change does beside the state: to campaigns c, and to campaign_plans p
_ALSO: dict[str, tuple[str, str]] = {
    "submit": ("total_recipients = (SELECT COALESCE(sum(size), 0) FROM campaign_blocks b WHERE b.campaign_id = c.id)",
               "submitted_by = %(actor)s, submitted_at = now(), decided_by = NULL, decided_at = NULL"),
    "approve": ("", "decided_by = %(actor)s, decided_at = now()"),
    "reject": ("total_recipients = 0", "decided_by = %(actor)s, decided_at = now()"),
    "withdraw": ("total_recipients = 0", "submitted_by = NULL, submitted_at = NULL, decided_by = NULL, decided_at = NULL"),
    "cancel": ("completed_at = now(), draining = c.status IN ('APPROVED', 'RUNNING', 'PAUSED')", ""),
}  # fmt: skip
_ALSO["release"] = _ALSO["submit"]


class CampaignRows:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def standing(self, public_id: str) -> Deferred[Standing | None]:
        if not (public_id.isascii() and public_id.isprintable()):  # what no column holds, no campaign is called
            return succeed(None)
        return self._db.query(_STANDING, (public_id,)).addCallback(lambda rows: Standing(*rows[0]) if rows else None)

    def move(self, pk: int, name: str, sources: Sequence[str], target: str, *, actor: Actor, reason: str = "",
             version: int | None = None) -> Deferred[bool]:  # fmt: skip
        """Whether it could be: it was in one of `sources`, and its plan still had `version` where one is given."""
        of_campaign, of_plan = _ALSO.get(name, ("", ""))
        values = {
            "pk": pk, "sources": list(sources), "target": target, "reason": reason[:300], "actor": actor.user_id, "version": version,
        }  # fmt: skip
        action = "SUBMIT" if name == "release" else name.upper()
        details = audited(actor, f"CAMPAIGN_{action}", {"reason": reason} if reason else {})
        values |= {f"a{n}": value for n, value in enumerate(details)}
        audit = AUDIT.format(user="user_id", more="|| jsonb_build_object('campaign_id', campaign_id)")
        for n in range(len(details)):
            audit = audit.replace("%s", f"%(a{n})s", 1)
        sql = f"""WITH changed AS (
                UPDATE campaigns c SET status = %(target)s, status_at = now(), status_reason = %(reason)s
                    {", " + of_campaign if of_campaign else ""}
                WHERE c.id = %(pk)s AND c.status = ANY (%(sources)s) AND (%(version)s::int IS NULL
                    OR EXISTS (SELECT 1 FROM campaign_plans v WHERE v.campaign_id = c.id AND v.version = %(version)s))
                RETURNING c.id, c.user_id, c.campaign_id
            ){f", plan AS (UPDATE campaign_plans p SET {of_plan} FROM changed WHERE p.campaign_id = changed.id)" if of_plan else ""},
            audit AS ({audit}) SELECT id FROM changed"""  # noqa: S608
        return self._db.query(sql, values).addCallback(bool)

    def complete(self, pk: int) -> Deferred[Any]:
        """One of requests that goes on, and of which everything is final."""
        return self._db.execute(
            "UPDATE campaigns SET status = 'COMPLETED', completed_at = now(), status_at = now() WHERE id = %s AND NOT planned"
            " AND status = 'RUNNING' AND total_recipients > 0 AND delivered_count + failed_count >= total_recipients",
            (pk,),
        )

    def discard(self, pk: int, actor: Actor) -> Deferred[bool]:
        """A draft goes, with its recipients."""
        audit = AUDIT.format(user="user_id", more="|| jsonb_build_object('campaign_id', campaign_id)")
        sql = f"""WITH changed AS (DELETE FROM campaigns WHERE id = %s AND planned AND status = 'DRAFT' RETURNING id, user_id, campaign_id),
            blocks AS (DELETE FROM campaign_blocks b USING changed WHERE b.campaign_id = changed.id),
            refusals AS (DELETE FROM campaign_refusals r USING changed WHERE r.campaign_id = changed.id),
            audit AS ({audit}) SELECT id FROM changed"""  # noqa: S608
        return self._db.query(sql, [pk, *audited(actor, "CAMPAIGN_DISCARD", {})]).addCallback(bool)
