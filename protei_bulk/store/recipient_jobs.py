"""What waits to be read in a process of its own, and how far that is: tbl_recipient_jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs

PREVIEW, GATHER, MEASURE, IMPORT = "P", "G", "M", "I"
DEAD = 15.0  # seconds of silence, after which another node takes a job


@frozen
class Job:
    """`subject` is the upload, the campaign or the list; `attempts` counts how often it was begun before."""

    kind: str
    subject: int
    token: int
    given: Mapping[str, Any]
    attempts: int = 0
    customer_id: int = 0


class RecipientJobs:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs, node: int) -> None:
        self._db, self._node = db, node

    def begin(self, kind: str, subject: int, given: Mapping[str, Any] | None = None) -> Deferred[Job | None]:
        """Begins one, or begins it anew; None where there is nothing to do it for."""
        data = dict(given or {})
        return Deferred.fromCoroutine(self._begin(kind, subject, data))

    async def _begin(self, kind: str, subject: int, data: dict[str, Any]) -> Job | None:
        given = orjson.dumps(data).decode()
        [(token,)] = await self._db.query("SELECT begin_recipient_job(%s, %s, %s, %s::jsonb)", (kind, subject, self._node, given))
        if token is None:
            return None
        rows = await self._db.query("SELECT customer_id FROM tbl_recipient_jobs WHERE token = %s", (token,))
        return Job(kind, subject, int(token), data, 0, int(rows[0][0]) if rows else 0)

    def report(self, job: Job, report: Mapping[str, Any] | None, *, final: bool = False) -> Deferred[bool]:
        """False where it is ours no longer."""
        d = self._db.query(
            "SELECT report_recipient_job(%s, %s, %s, %s::jsonb, %s)",
            (job.kind, job.subject, job.token, None if report is None else orjson.dumps(report).decode(), final),
        )
        return d.addCallback(lambda rows: bool(rows[0][0]))

    def cancel(self, kind: str, subject: int) -> Deferred[Any]:
        """Whoever does it hears of it with its next report."""
        report = '{"state": "cancelled"}'
        return self._db.query(
            "SELECT report_recipient_job(kind, subject, token, %s::jsonb, TRUE) FROM tbl_recipient_jobs WHERE kind = %s AND subject = %s",
            (report, kind, subject),
        )

    def take(self, mine: bool) -> Deferred[list[Job]]:
        """Those of dead nodes, from now on ours; `mine`: also those that this node had when it ended."""
        d = self._db.query(
            "UPDATE tbl_recipient_jobs j SET node_id = %s, attempts = attempts + 1, beat_at = now(),"
            " token = nextval('recipient_job_tokens')"
            " FROM (SELECT kind, subject FROM tbl_recipient_jobs WHERE beat_at < now() - make_interval(secs => %s) OR (%s AND node_id = %s)"
            " ORDER BY token LIMIT 100 FOR UPDATE SKIP LOCKED) old WHERE j.kind = old.kind AND j.subject = old.subject"
            " RETURNING j.kind, j.subject, j.token, j.given, j.attempts, j.customer_id",
            (self._node, DEAD, mine, self._node),
        )
        return d.addCallback(lambda rows: [Job(*r) for r in rows])
