"""The report of recipients that a campaign leaves out, as a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.reasons import number_reason
from protei_bulk.channels.portal.shell import Answer, Fault, Page
from protei_bulk.channels.portal.streaming import Exports
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.store.refusals import Refusals

_AT_ONCE = 5000


class RefusedReport:
    def __init__(self, refusals: Refusals, exports: Exports) -> None:
        self._refusals, self._exports = refusals, exports

    def pages(self) -> list[Page]:
        return [Page("GET", "/campaigns/{id}/refused.csv", Permission.ANALYTICS, self.export)]

    async def export(self, visit: Visit) -> Answer:
        pk = await self._refusals.campaign(reach_of(visit), visit.places["id"])
        if pk is None:
            raise Fault(404)
        campaign = pk

        async def batches() -> AsyncIterator[list[Sequence[Any]]]:
            after = 0
            while rows := await self._refusals.some(campaign, after, _AT_ONCE):
                yield [(r.line or "", _given(r.given), r.code, number_reason(visit, r.code), r.detail) for r in rows]
                after = rows[-1].refusal_id

        return self._exports.csv(visit, f"refused-{visit.places['id'][:60]}", ("line", "number", "code", "reason", "detail"), batches())


def _given(text: str) -> str:
    """A number as it is: its plus is no formula."""
    return text.removeprefix("+") if text.removeprefix("+").replace(" ", "").isdigit() else text
