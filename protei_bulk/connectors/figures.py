"""How the connectors of this node do, written every few seconds for the pages of any node."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
from attrs import define, field
from twisted.internet.defer import Deferred

from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.link import Link
from protei_bulk.settings import Smsc

EVERY = 3.0  # seconds
_RATE = 10.0  # seconds that throughput is the mean of
_ERRORS = 60.0  # and the share of errors


class Store(Protocol):
    def report(self, node: int, version: str, figures: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Deferred[int]: ...


@define
class _Counts:
    """Of one connector at a moment, since it was made."""

    at: float
    sent: int
    refused: int
    errors: int  # those that were refused for a while, or not answered, too
    delivered: int
    undelivered: int

    @classmethod
    def of(cls, c: Connector, now: float) -> _Counts:
        v = c.vitals
        return cls(now, c.sent, c.rejected, c.rejected + c.throttled + v.temporary + v.unanswered, v.delivered, v.undelivered)


@define
class _Known:
    """What was counted and told of a connector."""

    connector: Connector
    told: _Counts
    settings: Smsc | None = None  # as told
    past: deque[_Counts] = field(factory=deque)


class ConnectorFigures:
    """`depths` and `ages` are those of QueueDepths; `node` gives the node's own figures, JSON at heart."""

    def __init__(self, store: Store, fleet: Fleet, clock: Any, node_id: int, version: str, depths: Callable[[], tuple[Mapping[str, float],
                 Mapping[str, float]]], node: Callable[[], dict[str, Any]]) -> None:  # fmt: skip
        self._store, self._fleet, self._clock, self._node_id, self._version = store, fleet, clock, node_id, version
        self._depths, self._node = depths, node
        self._known: dict[str, _Known] = {}

    def report(self) -> Deferred[Any]:
        """Of the connectors that run here."""
        now = self._clock.seconds()
        depths, ages = self._depths()
        rows, told = [], []
        for c in self._fleet.connectors.values():
            if not c.running:
                continue
            counts = _Counts.of(c, now)
            known = self._known.get(c.id)
            if known is None or known.connector is not c:
                known = self._known[c.id] = _Known(c, _Counts(now, 0, 0, 0, 0, 0))
            known.past.append(counts)
            while known.past[0].at < now - _ERRORS - EVERY:
                known.past.popleft()
            figures = {**_figures(c, known.past, now), "depth": depths.get(c.id, 0), "age": ages.get(c.id, 0)}
            old = known.told
            row = {
                "q": c.id, "f": figures, "s": counts.sent - old.sent, "d": counts.delivered - old.delivered,
                "u": counts.undelivered - old.undelivered, "r": counts.refused - old.refused,
            }  # fmt: skip
            if known.settings is not c.settings:
                row["c"] = shown_settings(c.settings)
            rows.append(row)
            told.append((known, counts, c.settings))

        def written(_: object) -> None:
            for known, counts, settings in told:
                known.told, known.settings = counts, settings

        return self._store.report(self._node_id, self._version, self._node(), rows).addCallback(written)


def _figures(c: Connector, past: deque[_Counts], now: float) -> dict[str, Any]:
    last = past[-1]
    lately = next((p for p in past if p.at >= now - _RATE), last)
    minute = next((p for p in past if p.at >= now - _ERRORS), last)
    seconds = last.at - lately.at
    answers = last.sent - minute.sent + last.errors - minute.errors
    return {
        "state": c.state, "binds": [_bind(link) for link in c.links], "lane": len(c.lane), "lanes": c.lane.by_priority,
        "outstanding": sum(link.outstanding for link in c.links), "window": c.settings.window * max(1, len(c.senders)),
        "tps": round((last.sent - lately.sent) / seconds, 1) if seconds > 0 else 0.0,
        "errors": round((last.errors - minute.errors) / answers, 4) if answers else None,
        "latency": round(c.vitals.latency, 4) if c.vitals.latency else None,
        "sent": c.sent, "rejected": c.rejected, "throttled": c.throttled, "temporary": c.vitals.temporary,
        "unanswered": c.vitals.unanswered, "opened": c.health.opened, "rest": round(c.health.wait(), 1) if not c.health.sound else 0,
        "error": c.vitals.error, "error_at": c.vitals.error_at or None,
    }  # fmt: skip


def _bind(link: Link) -> dict[str, Any]:
    version = f"{link.version >> 4}.{link.version & 15}"
    return {"kind": link.kind, "since": link.since, "outstanding": link.outstanding, "version": version}


def shown_settings(settings: Smsc) -> dict[str, Any]:
    """Everything but passwords, JSON at heart."""
    return {a.name: _plain(getattr(settings, a.name)) for a in attrs.fields(Smsc) if a.repr}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
