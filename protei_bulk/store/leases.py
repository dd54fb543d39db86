"""Who runs what: leases of connectors, the life of this node, and what others left when they died."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs


@frozen
class Lease:
    """`left` in seconds, 0 or less where nobody holds it. `state`: how the holder sees that SMSC."""

    resource: str
    node: int
    fencing: int
    left: float
    state: str


@frozen
class Peer:
    """Another node that has not ended in order. `heartbeat` is what it wrote last, by the database's clock."""

    node: int
    name: str
    epoch: int
    heartbeat: datetime


@frozen
class Holder:
    """Who runs a connector, for people."""

    smsc: str
    node: str
    fencing: int
    left: float
    since: datetime


def enter_node(db: Runs, name: str) -> Deferred[tuple[int, int]]:
    """The number of a node, by its name, and the epoch of the life that begins. A former life that still runs is over."""
    return db.query("SELECT * FROM enter_node(%s)", (name,)).addCallback(lambda rows: (int(rows[0][0]), int(rows[0][1])))


class LeaseStore:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error; PB001 says that this life of the node is over.

    What the node's life depends on goes by a connection of its own, `life`: what may take long must not be before it.
    """

    def __init__(self, life: Runs, db: Runs, node: int, epoch: int) -> None:
        self._life, self._db, self._node, self._epoch = life, db, node, epoch

    def renew(self, resources: Collection[str], seconds: float, take: bool) -> Deferred[list[Lease]]:
        """See renew_leases() in the schema."""
        d = self._life.query(
            "SELECT * FROM renew_leases(%s, %s, %s::text[], %s, %s)", (self._node, self._epoch, list(resources), seconds, take)
        )
        return d.addCallback(lambda rows: [Lease(*r) for r in rows])

    def release(self, resources: Collection[str]) -> Deferred[Any]:
        return self._life.query("SELECT release_leases(%s, %s, %s::text[])", (self._node, self._epoch, list(resources)))

    def leave(self) -> Deferred[bool]:
        """See leave_node() in the schema."""
        return self._db.query("SELECT leave_node(%s, %s)", (self._node, self._epoch)).addCallback(lambda rows: bool(rows[0][0]))

    def peers(self) -> Deferred[list[Peer]]:
        d = self._life.query(
            "SELECT node_id, name, epoch, heartbeat_at FROM tbl_nodes WHERE gone_at IS NULL AND node_id <> %s", (self._node,)
        )
        return d.addCallback(lambda rows: [Peer(*r) for r in rows])

    def take_over(self, peer: Peer, hold: Sequence[str]) -> Deferred[tuple[int, int] | None]:
        """(messages queued, receipts) of a dead node; None where somebody else was faster, or it lives."""
        d = self._db.query(
            "SELECT * FROM take_over_node(%s, %s, %s, %s::text[])", (peer.node, peer.epoch, peer.heartbeat, list(hold))
        )
        return d.addCallback(lambda rows: (rows[0][0], rows[0][1]) if rows else None)

    def tell(self, channel: str, values: Sequence[int | str]) -> Deferred[Any]:
        return self._db.query("SELECT pg_notify(%s, %s)", (channel, orjson.dumps([self._node, *values]).decode()))


def holders(db: Runs) -> Deferred[list[Holder]]:
    """Of all connectors that some node runs now."""
    d = db.query(
        "SELECT substr(l.resource, 6), n.name, l.fencing, extract(epoch FROM l.until - now())::float8, l.since FROM tbl_leases l"
        " JOIN tbl_nodes n ON n.node_id = l.node_id WHERE l.resource LIKE 'smsc:%%' AND l.until > now() ORDER BY 1",
        (),
    )
    return d.addCallback(lambda rows: [Holder(*r) for r in rows])
