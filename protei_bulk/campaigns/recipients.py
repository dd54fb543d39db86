"""Recipients of campaigns: files, lists and typed numbers are read in child processes, a few at a time.

A job is a row of tbl_recipient_jobs that says which node does it. Its child gets it by standard input, says on standard output how far
it is, and writes what it found in one transaction, which counts only while the row is still this job's: whoever was killed, lost
its node or was told anew leaves nothing half. On a start, and when another node falls silent, such jobs begin again.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

import protei_bulk
from protei_bulk.settings import Uploads
from protei_bulk.store.recipient_jobs import GATHER, IMPORT, MEASURE, PREVIEW, Job

log = Logger()

LOOK = 5.0  # seconds between two looks for jobs that nobody does, and between two signs of life of ours
ATTEMPTS = 3  # how often a job is begun whose child dies
_LINE = 256 * 1024  # octets of one report


class Jobs(Protocol):
    """Of store.recipient_jobs, what is needed here."""

    def begin(self, kind: str, subject: int, given: Mapping[str, Any] | None = None) -> Deferred[Job | None]: ...
    def report(self, job: Job, report: Mapping[str, Any] | None, *, final: bool = False) -> Deferred[bool]: ...
    def cancel(self, kind: str, subject: int) -> Deferred[Any]: ...
    def take(self, mine: bool) -> Deferred[list[Job]]: ...


class Recipients:
    """`reactor` starts processes and keeps time; `tend` is called now and then, to drop what is over."""

    def __init__(self, jobs: Jobs, reactor: Any, dsn: str, settings: Callable[[], Uploads],
                 tend: Callable[[], Deferred[Any]] | None = None) -> None:  # fmt: skip
        self._jobs, self._reactor, self._dsn, self._settings, self._tend = jobs, reactor, dsn, settings, tend
        self._waiting: deque[Job] = deque()
        self._running: dict[tuple[str, int], _Child] = {}
        self._stopped = False
        self._first = True
        self._looks = 0
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    # --- what others ask for

    async def preview(self, upload_id: int, form: Mapping[str, Any] | None = None) -> bool:
        """Looks into an upload of which all pieces are there; False where some are missing, or it was looked into already.

        `form` has delimiter, encoding and sheet where somebody knows better: then it is looked into again.
        """
        return await self._begin(PREVIEW, upload_id, form)

    async def gather(self, pk: int) -> bool:
        """Gathers the recipients of a draft, or begins anew; campaign_plans.gathering says how far it is. False: it is no draft."""
        return await self._begin(GATHER, pk)

    async def measure(self, pk: int) -> bool:
        """Counts the parts of a campaign's text for all who were gathered; campaign_plans.measured says how far it is."""
        return await self._begin(MEASURE, pk)

    async def import_into(self, list_id: int, upload_id: int, customer_id: int, mapping: Mapping[str, Any], country: str) -> bool:
        """Puts an upload into a list of its customer; contact_lists.importing says how far it is. `mapping` as in a draft."""
        given = {"upload": upload_id, "customer": customer_id, "mapping": dict(mapping), "country": country}
        return await self._begin(IMPORT, list_id, given)

    async def cancel(self, pk: int) -> None:
        """Neither gathers nor measures a campaign any longer."""
        for kind in (GATHER, MEASURE):
            await self._jobs.cancel(kind, pk)
            self._drop(kind, pk)

    async def cancel_import(self, list_id: int) -> None:
        await self._jobs.cancel(IMPORT, list_id)
        self._drop(IMPORT, list_id)

    # --- life

    def start(self) -> None:
        self._looking.start(LOOK, now=True)

    async def stop(self) -> None:
        """Ends all children; their jobs begin again with the next start."""
        self._stopped = True
        if self._looking.running:
            self._looking.stop()
        self._waiting.clear()
        for child in list(self._running.values()):
            child.kill()
        for child in list(self._running.values()):
            await child.ended

    @property
    def running(self) -> int:
        return len(self._running)

    # --- jobs

    async def _begin(self, kind: str, subject: int, given: Mapping[str, Any] | None = None) -> bool:
        job = await self._jobs.begin(kind, subject, given)
        if job is None or self._stopped:
            return job is not None
        self._drop(kind, subject)
        self._waiting.append(job)
        self._next()
        return True

    def _drop(self, kind: str, subject: int) -> None:
        self._waiting = deque(j for j in self._waiting if (j.kind, j.subject) != (kind, subject))
        child = self._running.get((kind, subject))
        if child is not None:
            child.kill()

    def _next(self) -> None:
        while not self._stopped and len(self._running) < self._settings().processes:
            ready = [job for job in self._waiting if not self._blocked(job)]
            if not ready:
                return
            # Of those who have least under way, the first: nobody waits behind all that another customer has begun.
            under_way = Counter(child.job.customer_id for child in self._running.values())
            job = min(ready, key=lambda j: under_way[j.customer_id])
            self._waiting.remove(job)
            self._spawn(job)

    def _blocked(self, job: Job) -> bool:
        """What is to be measured must be gathered first; and a job's former child must be gone."""
        return (job.kind, job.subject) in self._running or (job.kind == MEASURE and self._is_there(GATHER, job.subject))

    def _is_there(self, kind: str, subject: int) -> bool:
        return (kind, subject) in self._running or any((j.kind, j.subject) == (kind, subject) for j in self._waiting)

    def _spawn(self, job: Job) -> None:
        s = self._settings()
        task = {
            "dsn": self._dsn, "parent": os.getpid(), "kind": job.kind, "subject": job.subject, "token": job.token, "given": dict(job.given),
            "rows": s.max_rows, "unpacked": s.unpacked_megabytes * 1024**2, "memory": s.memory_megabytes * 1024**2,
        }  # fmt: skip
        child = self._running[job.kind, job.subject] = _Child(job, orjson.dumps(task), self._said)
        child.ended.addCallback(self._gone, child)
        self._reactor.spawnProcess(
            child, sys.executable, [sys.executable, "-P", "-m", "protei_bulk.campaigns.child"], path="/",
            env=_environment(),
        )  # fmt: skip

    def _said(self, child: _Child, report: dict[str, Any]) -> None:
        """A report of a child: passed on one at a time, the newest."""
        if child.reporting:
            child.newest = report
            return
        child.reporting = True
        d = self._jobs.report(child.job, report)
        d.addBoth(self._told, child)

    def _told(self, result: Any, child: _Child) -> None:
        child.reporting = False
        if isinstance(result, Failure):
            log.warn("job {kind} {subject}: {why}", kind=child.job.kind, subject=child.job.subject, why=result.getErrorMessage())
        elif not result:
            child.superseded = True
            child.kill()
        if child.newest is not None and not child.superseded and not child.over:
            report, child.newest = child.newest, None
            self._said(child, report)

    def _gone(self, code: int | None, child: _Child) -> None:
        """Its process is over: 0 after it wrote down the end itself, good or bad."""
        self._running.pop((child.job.kind, child.job.subject), None)
        if self._stopped:
            return
        if code != 0 and not child.superseded and not child.killed:
            job = child.job
            log.error("job {kind} {subject} ended with {code}: {why}", kind=job.kind, subject=job.subject, code=code, why=child.errors)
            again = child.job.attempts + 1 < ATTEMPTS
            # One that ran out of memory or time would again.
            if again and not child.limited:
                self._waiting.append(evolve(child.job, attempts=child.job.attempts + 1))
            else:
                error = "TOO_MUCH" if child.limited else "FAILED"
                d = self._jobs.report(child.job, {"state": "failed", "error": error}, final=True)
                d.addErrback(lambda f: log.warn("job: {why}", why=f.getErrorMessage()))
        self._next()

    def _look(self) -> Deferred[None]:
        d = Deferred.fromCoroutine(self._look_once())
        return d.addErrback(lambda f: log.warn("jobs: {why}", why=f.getErrorMessage()))

    async def _look_once(self) -> None:
        for job in list(self._waiting):  # a sign of life; those that run give it themselves
            if not await self._jobs.report(job, None) and job in self._waiting:
                self._waiting.remove(job)
        for child in list(self._running.values()):
            if not child.reporting and not child.over:
                child.reporting = True
                self._jobs.report(child.job, None).addBoth(self._told, child)
        for job in await self._jobs.take(self._first):
            if job.attempts >= ATTEMPTS:
                await self._jobs.report(job, {"state": "failed", "error": "FAILED"}, final=True)
            elif not self._stopped:
                self._waiting.append(job)
        self._first = False
        self._next()
        if self._tend is not None and self._looks % 60 == 0:
            await self._tend()
        self._looks += 1


def _environment() -> dict[str, str]:
    """Nothing of ours but what libpq reads beside the DSN."""
    kept = {k: v for k, v in os.environ.items() if k.startswith("PG") or k in ("HOME", "TMPDIR")}
    return kept | {
        "PYTHONPATH": str(Path(protei_bulk.__file__).parents[1]), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1", "MALLOC_ARENA_MAX": "2",
    }  # fmt: skip


class _Child(ProcessProtocol):
    """One process. `ended` fires with its exit code, None where a signal ended it."""

    def __init__(self, job: Job, task: bytes, said: Callable[[_Child, dict[str, Any]], None]) -> None:
        self.job, self._task, self._said = job, task, said
        self.ended: Deferred[int | None] = Deferred()
        self.newest: dict[str, Any] | None = None
        self.reporting = self.superseded = self.killed = self.over = self.limited = False
        self.errors = ""
        self._rest = b""

    def connectionMade(self) -> None:  # noqa: N802
        assert self.transport is not None
        self.transport.write(self._task + b"\n")
        self.transport.closeStdin()
        self._task = b""

    def outReceived(self, data: bytes) -> None:  # noqa: N802
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE:
            self.kill()
            return
        for line in lines[-1:]:  # the newest says it all
            self._said(self, orjson.loads(line))

    def errReceived(self, data: bytes) -> None:  # noqa: N802
        self.errors = (self.errors + data.decode("utf-8", "replace"))[-2000:]

    def kill(self) -> None:
        self.killed = True
        if not self.over and self.transport is not None and self.transport.pid is not None:
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        self.over = True
        ended: Any = reason.value
        code: int | None = 0 if reason.check(ProcessDone) else ended.exitCode
        signal = 0 if code == 0 else ended.signal or 0
        # Exit code 3: MemoryError; SIGABRT: a library found no memory; SIGXCPU.
        self.limited = code == 3 or signal in (6, 24)
        self.ended.callback(code)
