"""Long exports: rows are read as fast as the browser takes them, and nothing is held but what is under way."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from protei_bulk.channels.portal.export import safe_cell
from protei_bulk.channels.portal.shell import Answer, Fault
from protei_bulk.channels.portal.visit import Visit

log = Logger()

AT_ONCE, OF_A_USER = 8, 2  # exports on one node


@implementer(IPushProducer)
class _Export:
    def __init__(self, request: Any) -> None:
        self.request = request
        self.gone = False
        self.done: Deferred[None] = Deferred()
        self._resumed: Deferred[None] | None = None
        request.notifyFinish().addBoth(lambda _: self.stopProducing())
        request.registerProducer(self, True)

    async def write(self, octets: bytes) -> None:
        """Waits while the browser is behind."""
        if not self.gone:
            self.request.write(octets)
        if self._resumed is not None:
            await self._resumed

    def pauseProducing(self) -> None:  # noqa: N802
        if self._resumed is None and not self.gone:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:  # noqa: N802
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:  # noqa: N802
        self.gone = True
        self.resumeProducing()


class Exports:
    """All long exports of a node."""

    def __init__(self) -> None:
        self._users: list[int] = []

    def csv(self, visit: Visit, name: str, headings: Sequence[str], batches: AsyncIterator[list[Sequence[Any]]]) -> Answer:
        """A download that is made while it goes out. What cannot be finished breaks off, so that nobody takes it for the whole."""
        user = visit.who.user_id
        if len(self._users) >= AT_ONCE or self._users.count(user) >= OF_A_USER:
            raise Fault(503, visit._("Too many exports are under way"), visit._("Wait until one of them has ended."))
        self._users.append(user)
        export = _Export(visit.request)
        work = Deferred.fromCoroutine(self._run(export, headings, batches))

        def over(result: Any) -> None:
            self._users.remove(user)
            if not export.gone:
                export.gone = True
                export.request.unregisterProducer()
                if result is not None:
                    log.warn("an export broke off: {why}", why=result.getErrorMessage())
                    export.request.channel.transport.abortConnection()
            export.done.callback(None)

        work.addBoth(over)
        return Answer(
            "\ufeff", content_type="text/csv; charset=utf-8", then=export.done,
            headers=(("Content-Disposition", f'attachment; filename="{name}.csv"'), ("X-Accel-Buffering", "no")),
        )  # fmt: skip

    async def _run(self, export: _Export, headings: Sequence[str], batches: AsyncIterator[list[Sequence[Any]]]) -> None:
        first: list[Sequence[Any]] = [headings]
        async for rows in batches:
            out = io.StringIO()
            csv.writer(out).writerows([[safe_cell(v) for v in row] for row in first + list(rows)])
            first = []
            await export.write(out.getvalue().encode("utf-8", "replace"))
            if export.gone:
                return
        if first:
            await export.write((",".join(headings) + "\r\n").encode())
