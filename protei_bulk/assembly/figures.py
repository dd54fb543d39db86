"""What /metrics says of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from protei_bulk.connectors.connector import Connector
from protei_bulk.guards.figures import counters as guard_counters
from protei_bulk.guards.figures import gauges as guard_gauges
from protei_bulk.inbound import figures
from protei_bulk.observe.metrics import Figure, Metrics, one

if TYPE_CHECKING:
    from protei_bulk.assembly.gateway import Gateway


def metrics_of(gateway: Gateway) -> Metrics:
    """Everything is asked when somebody asks."""
    g = gateway

    def each(read: Callable[[Connector], float]) -> Callable[[], Iterable[tuple[tuple[str, ...], float]]]:
        return lambda: [((c.id,), read(c)) for c in g.fleet.connectors.values()]

    smsc = ("smsc",)
    counters: list[Figure] = [
        ("protei_accepted", "Messages stored.", (), one(lambda: g.intake.accepted)),
        ("protei_refused", "Messages refused.", (), one(lambda: g.intake.refused)),
        ("protei_outcomes", "Messages by outcome.", ("outcome",), lambda: [((k,), v) for k, v in g.outcomes.counts.items()]),
        ("protei_outcomes_set_aside", "Outcomes the database refused.", (), one(lambda: g.outcomes.set_aside)),
        ("protei_receipts_unmatched", "Receipts without a message.", (), one(lambda: g.matcher.unmatched)),
        ("protei_receipts_forwarded", "Receipts acknowledged by ESMEs.", (), one(lambda: g.delivery.delivered)),
        ("protei_smsc_sent", "submit_sm accepted by an SMSC.", smsc, each(lambda c: c.sent)),
        ("protei_smsc_rejected", "submit_sm refused for good.", smsc, each(lambda c: c.rejected)),
        ("protei_smsc_throttled", "submit_sm answered with throttling.", smsc, each(lambda c: c.throttled)),
        ("protei_smsc_breaker_opened", "Times an SMSC failed so often that it was left alone.", smsc, each(lambda c: c.health.opened)),
        *g.routing.counters(),
        *guard_counters(lambda: g.guards, g.intake),
        *figures.counters(lambda: g.inbox, lambda: g.delivery.mo_delivered),
        ("protei_http_refused", "Connections and requests refused before anybody looked at them.", ("status",),
         lambda: [((str(k),), v) for k, v in g.http.site.refused.items()]),
        ("protei_nodes_taken_over", "Dead nodes whose messages this one has queued.", (), one(lambda: g.leases.taken_over)),
        ("protei_campaign_messages", "Messages that campaigns have handed in.", (), one(lambda: g.campaigns.handed_in)),
        ("protei_audit_dropped", "Audit rows dropped.", (), one(lambda: g.audit.dropped)),
    ]
    gauges: list[Figure] = [
        ("protei_http_connections", "Connections of HTTP clients.", (), one(lambda: g.http.site.connections)),
        ("protei_smpp_sessions", "Connections of ESMEs.", (), one(lambda: g.smpp.count)),
        ("protei_intake_pending", "Messages that wait for the database.", (), one(lambda: g.intake.pending)),
        ("protei_outcomes_pending", "Outcomes that wait for the database.", (), one(lambda: g.outcomes.pending)),
        *figures.gauges(lambda: g.inbox),
        ("protei_queue_depth", "Messages in the queue table for an SMSC.", smsc, each(lambda c: g.queue_depths.depths.get(c.id, 0))),
        ("protei_queue_age_seconds", "Since when the oldest of them waits.", smsc, each(lambda c: g.queue_depths.ages.get(c.id, 0))),
        ("protei_smsc_here", "1 where this node runs the connector.", smsc, each(lambda c: int(c.running))),
        ("protei_smsc_binds", "Binds to an SMSC.", smsc, each(lambda c: len(c.links))),
        ("protei_smsc_paused", "1 where an operator has paused it.", smsc, each(lambda c: int(c.paused))),
        ("protei_smsc_breaker", "0 all goes out, 1 a few are tried, 2 left alone.", smsc, each(lambda c: c.health.level)),
        *g.routing.gauges(),
        *guard_gauges(lambda: g.guards, g.intake),
        ("protei_smsc_lane", "Messages in memory for an SMSC.", smsc, each(lambda c: len(c.lane))),
        ("protei_database_connections", "Connections of the pool.", (), one(lambda: g.db.connected)),
    ]
    return Metrics(counters, gauges)
