"""Long exports: rows are read as fast as the browser takes them, and nothing is held but what is under way.

There is room for a few at once: nobody keeps it by reading nothing, and one customer leaves some of it to the others.
"""

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

AT_ONCE, OF_A_CUSTOMER, OF_A_USER = 8, 4, 2  # exports on one node
SLOW = 120.0  # seconds that a browser may leave a batch of rows unread


@implementer(IPushProducer)
class _Export:
    def __init__(self, request: Any, clock: Any) -> None:
        self.request, self._clock = request, clock
        self.gone = False
        self.done: Deferred[None] = Deferred()
        self._resumed: Deferred[None] | None = None
        self._patience: Any = None  # the end of it, as a timer
        request.notifyFinish().addBoth(lambda _: self.leave())
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
            self._patience = self._clock.callLater(SLOW, self._give_up)

    def resumeProducing(self) -> None:  # noqa: N802
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is gone: notifyFinish tells, when the request knows it, too."""

    def leave(self) -> None:
        """Nothing more is to be written."""
        self.gone = True
        self.resumeProducing()

    def _give_up(self) -> None:
        """What lies in buffers goes, too: nothing would ever come out of them."""
        self.request.channel.transport.abortConnection()


class Exports:
    """All long exports of a node. `clock`: IReactorTime."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._under_way: list[tuple[int, int]] = []  # customer and user of each

    def csv(self, visit: Visit, name: str, headings: Sequence[str], batches: AsyncIterator[list[Sequence[Any]]]) -> Answer:
        """A download that is made while it goes out. What cannot be finished breaks off, so that nobody takes it for the whole."""
        who = visit.who.customer_id, visit.who.user_id
        of_customer = sum(customer == who[0] for customer, _ in self._under_way)
        if len(self._under_way) >= AT_ONCE or of_customer >= OF_A_CUSTOMER or self._under_way.count(who) >= OF_A_USER:
            raise Fault(503, visit._("Too many exports are under way"), visit._("Wait until one of them has ended."))
        self._under_way.append(who)
        export = _Export(visit.request, self._clock)
        work = Deferred.fromCoroutine(self._run(export, headings, batches))

        def over(result: Any) -> None:
            self._under_way.remove(who)
            if not export.gone:
                export.leave()
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
