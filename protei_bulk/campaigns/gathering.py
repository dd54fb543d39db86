"""What a child process does for each kind of job, with a database and a file before it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import orjson
from attrs import define, field

from protei_bulk.campaigns.draft import Columns, read_draft
from protei_bulk.campaigns.gather import Gatherer, TooMany, mapped, typed
from protei_bulk.campaigns.measure import measure
from protei_bulk.campaigns.preview import preview
from protei_bulk.campaigns.tables import Refused, Rows, kind_of
from protei_bulk.campaigns.workbook import SheetRows, Workbook
from protei_bulk.store.gathering import Connection, Copy
from protei_bulk.store.recipient_jobs import GATHER, IMPORT, MEASURE, PREVIEW, Job

EVERY = 0.5  # seconds between two reports


class Superseded(Exception):
    """The job is another process's now."""


class Ended(Exception):
    """The job cannot be done; `report` is its last word."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code)
        self.report = {"state": "failed", "error": code, "detail": detail}


@define
class Task:
    """`most` rows, `unpacked` octets of a workbook; `say` is given what makes a report, and asks for it where it is time."""

    job: Job
    db: Connection
    most: int
    unpacked: int
    say: Callable[[Callable[[], dict[str, Any]]], None]


class Upload:
    """The octets of an upload, from the database."""

    def __init__(self, db: Connection, upload_id: int, size: int) -> None:
        self._db, self._id, self.size = db, upload_id, size

    def chunks(self) -> Iterator[bytes]:
        return self._db.pieces(self._id)

    def file(self) -> BinaryIO:
        """All of it where one can go back and forth; it goes when it is closed."""
        made = tempfile.TemporaryFile()  # noqa: SIM115
        for piece in self.chunks():
            made.write(piece)
        made.seek(0)
        return made


def _upload(task: Task, upload_id: int, customer_id: int | None, user_id: int | None = None) -> Upload:
    found = task.db.upload(upload_id, customer_id, user_id)
    if found is None:
        raise Ended("UPLOAD_GONE")
    return Upload(task.db, upload_id, found[0])


def _records(task: Task, upload: Upload, columns: Columns) -> tuple[Rows | SheetRows, int]:
    """The rows of an upload, and about how many they are."""
    head = next(upload.chunks(), b"")
    if kind_of(head) == "xlsx":
        workbook = Workbook(upload.file(), task.unpacked)
        sheet = workbook.rows(columns.sheet)
        return sheet, sheet.total
    rows = Rows(upload, columns.encoding or "utf-8", columns.delimiter or ",")
    lines = head.count(b"\n") or head.count(b"\r") or 1
    return rows, max(1, int(lines * upload.size / max(1, len(head))))


def run_preview(task: Task) -> dict[str, Any]:
    upload = _upload(task, task.job.subject, None)
    try:
        head = next(upload.chunks(), b"")
        if kind_of(head) == "xlsx":
            return {"state": "done", "preview": preview(None, Workbook(upload.file(), task.unpacked), task.job.given)}
        return {"state": "done", "preview": preview(upload, None, task.job.given)}
    except Refused as refused:
        raise Ended(refused.code, refused.detail) from None


class _Blocks:
    """Where a Gatherer's results go."""

    def __init__(self, blocks: Copy, refusals: Copy) -> None:
        self._blocks, self._refusals, self._n = blocks, refusals, 0

    def block(self, country: str, recipients: Sequence[Sequence[Any]]) -> None:
        self._n += 1
        self._blocks.add(self._n, country, len(recipients), orjson.dumps(recipients))

    def refuse(self, line: int, given: str, code: str) -> None:
        self._refusals.add(line, given[:100], code)

    def flush(self) -> None:
        self._blocks.flush()
        self._refusals.flush()


def run_gather(task: Task) -> dict[str, Any]:
    db, pk = task.db, task.job.subject
    plan = db.plan(pk)
    if plan is None or plan.status != "DRAFT":
        raise Ended("NOT_A_DRAFT")
    wanted = read_draft(plan.draft).recipients
    country = wanted.country or plan.default_country
    lists, listed = db.contacts_of(plan.customer_id, wanted.lists, wanted.groups)
    total, state = listed, {"state": "running", "version": plan.version, "error": "", "detail": ""}
    sink = _Blocks(db.copy_blocks(pk), db.copy_refusals(pk))
    guard = db.guard(plan.customer_id, plan.sender, plan.transactional)

    def tick() -> None:
        task.say(lambda: {**state, "of": max(total, gatherer.result.done), **gatherer.result.report()})

    gatherer = Gatherer(sink, guard, task.most, tick)
    tick()
    db.clear(pk)
    try:
        if wanted.upload:
            upload = _upload(task, wanted.upload, plan.customer_id, None if plan.of_all else plan.user_id)
            records, rows = _records(task, upload, wanted.mapping)
            total += rows
            gatherer.take(mapped(records, wanted.mapping), wanted.country or wanted.mapping.country or plan.default_country)
        for list_id in lists:
            gatherer.take(db.contacts(list_id))
        gatherer.take(typed(wanted.numbers), country)
    except Refused as refused:
        raise Ended(refused.code, refused.detail) from None
    except TooMany:
        raise Ended("TOO_MANY_ROWS", str(task.most)) from None
    result = gatherer.finish()
    sink.flush()
    if not db.claim(task.job):
        raise Superseded
    if not db.keep_gathered(pk, plan.version, result.accepted):
        raise Ended("NOT_A_DRAFT")
    return {**state, "state": "done", "of": result.done, **result.report()}


def run_measure(task: Task) -> dict[str, Any]:
    plan = task.db.plan(task.job.subject)
    if plan is None:
        raise Ended("NOT_A_DRAFT")
    state = {"state": "running", "version": plan.version, "error": ""}
    blocks = task.db.blocks(task.job.subject)
    found = measure(blocks, plan.text, plan.encoding, plan.smart, plan.defaults, lambda done: task.say(lambda: {**state, "done": done}))
    return {**state, "state": "done", **found}


@define
class _Contacts:
    """Where an import's rows go: their variable NAME is the name of the contact. `samples`: the first refusals."""

    rows: Copy
    samples: list[list[Any]] = field(factory=list)

    def block(self, country: str, recipients: Sequence[Sequence[Any]]) -> None:
        for number, *rest in recipients:
            values = dict(rest[0]) if rest else {}
            name = values.pop("NAME", "")
            self.rows.add(number, name, orjson.dumps(values))

    def refuse(self, line: int, given: str, code: str) -> None:
        if len(self.samples) < 100:
            self.samples.append([line, given[:40], code])


class _Everybody:
    """No guard: whoever gets nothing may be in a list."""

    def hits(self, numbers: Sequence[int]) -> Mapping[int, str]:
        return {}


def run_import(task: Task) -> dict[str, Any]:
    db, given, list_id = task.db, task.job.given, task.job.subject
    columns = read_draft({"recipients": {"mapping": given.get("mapping")}}).recipients.mapping
    sink = _Contacts(db.copy_contacts())
    state = {"state": "running", "error": "", "detail": ""}
    total = 0

    def tick() -> None:
        task.say(lambda: {**state, "of": max(total, gatherer.result.done), **gatherer.result.report()})

    gatherer = Gatherer(sink, _Everybody(), task.most, tick)
    try:
        records, total = _records(task, _upload(task, int(given["upload"]), int(given["customer"])), columns)
        gatherer.take(mapped(records, columns), columns.country or str(given.get("country", "")))
    except Refused as refused:
        raise Ended(refused.code, refused.detail) from None
    except TooMany:
        raise Ended("TOO_MANY_ROWS", str(task.most)) from None
    result = gatherer.finish()
    sink.rows.flush()
    if not db.claim(task.job):
        raise Superseded
    new, changed = db.merge_contacts(list_id)
    return {**state, "state": "done", "of": result.done, **result.report(), "new": new, "changed": changed, "refusals": sink.samples}


JOBS: dict[str, Callable[[Task], dict[str, Any]]] = {
    PREVIEW: run_preview, GATHER: run_gather, MEASURE: run_measure, IMPORT: run_import,
}  # fmt: skip
