"""The days of a filter, in the reader's time zone, as ends of what is looked at."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import define, field

from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model import ids


@define
class Period:
    """Moments; None where the filter says nothing. `errors` by field."""

    since: datetime | None = None
    until: datetime | None = None  # the first that is not within any more
    errors: dict[str, str] = field(factory=dict)

    def first_id(self, prefix: str = ids.MESSAGE_PREFIX) -> str:
        return _id(self.since, prefix)

    def end_id(self, prefix: str = ids.MESSAGE_PREFIX) -> str:
        return _id(self.until, prefix)


def period_of(visit: Visit) -> Period:
    """What the fields `from` and `to` say: whole days."""
    period = Period()
    for name, days in (("from", 0), ("to", 1)):
        given = visit.text(name, 20)
        if not given:
            continue
        try:
            day = datetime.fromisoformat(given).replace(tzinfo=visit.zone, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days)
            day.timestamp()
        except (ValueError, OverflowError):
            period.errors[name] = visit._("Write a day such as 2026-01-31.")
            continue
        if name == "from":
            period.since = day
        else:
            period.until = day
    return period


def moment_of(id: str) -> float | None:
    """When an id was made, in Unix seconds; None where it is none."""
    try:
        return ids.time_ms(id) / 1000
    except ValueError:
        return None


def _id(at: datetime | None, prefix: str) -> str:
    return "" if at is None else ids.first_at(min(max(int(at.timestamp() * 1000), 0), ids.EPOCH_MS + 2**40 - 1), prefix)
