"""Puts together what sessions need beside the intake: operations on stored messages, ids of other kinds, how busy we are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from protei_bulk.channels.smpp.alerts import Alerts
from protei_bulk.channels.smpp.factory import SmppFactory
from protei_bulk.channels.smpp.outbind import Outbinds
from protei_bulk.channels.smpp.short_ids import ShortIds
from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.forwarding import Forwarding
from protei_bulk.intake.accept import Intake
from protei_bulk.intake.operations import Operations
from protei_bulk.intake.recall import CHANNEL, Recall
from protei_bulk.model import lifecycle
from protei_bulk.model.ids import IdMaker
from protei_bulk.receipts.matcher import Matcher
from protei_bulk.receipts.outcomes import Outcomes
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.messages import Messages
from protei_bulk.store.operations import BLOCK, OperationStore
from protei_bulk.store.pool import Database

log = Logger()

_EXPIRE_EVERY = 5.0  # seconds
_BATCH = 500


class SmppOperations:
    """`payload` makes the body of a callback; `wake_callbacks` is called once some are stored.

    `mo_user(smsc, source, dest)` names the user whom messages from mobiles go to by rule.
    """

    def __init__(self, smpp: SmppFactory, db: Database, messages: Messages, node: int, reactor: Any, fleet: Fleet, intake: Intake,
                 outcomes: Outcomes, matcher: Matcher, maker: IdMaker, payload: Callable[..., dict[str, Any]],
                 wake_callbacks: Callable[[], None], mo_user: Callable[[str, str, str], str]) -> None:  # fmt: skip
        store = OperationStore(db, node)
        self._intake, self._fleet, self._reactor = intake, fleet, reactor

        def told(users: set[int], callbacks: bool) -> None:
            smpp.delivery.wake(users)
            if callbacks:
                wake_callbacks()

        def gather(run: Callable[[list[Any]], Deferred[None]], concurrency: int) -> Batcher[Any]:
            return Batcher(run, reactor=reactor, max_rows=_BATCH, concurrency=concurrency)

        self.recall = Recall(
            store, messages, fleet, node, reactor, payload, told, lambda m: outcomes.failed(m, lifecycle.EXPIRED, "EXPIRED")
        )  # fmt: skip
        self.operations = Operations(
            store, self.recall, intake, Forwarding(fleet, matcher, store.part_ids),
            lambda account: intake.calendar.day(account.timezone, reactor.seconds()), gather,
        )  # fmt: skip
        db.listen(CHANNEL, self.recall.heard)
        smpp.operations = self.operations
        smpp.short_ids = self._short_ids = ShortIds(store.short_ids, BLOCK)
        smpp.shared_id = maker.message
        smpp.load = self.load
        self.alerts = Alerts(smpp, mo_user)
        self._outbinds = Outbinds(smpp, store, lambda host, port: HostnameEndpoint(reactor, host.encode(), port, timeout=10), reactor)
        self._loop = LoopingCall(self._expire)
        self._loop.clock = reactor

    def start(self) -> None:
        self._short_ids.start()
        self._loop.start(_EXPIRE_EVERY, now=False)
        self._outbinds.start()

    def stop(self) -> Deferred[Any]:
        """Fires once everything asked so far is answered."""
        if self._loop.running:
            self._loop.stop()
        self._outbinds.stop()
        return self.operations.drained()

    def _expire(self) -> Deferred[None]:
        d = Deferred.fromCoroutine(self.recall.expire())
        return d.addErrback(lambda f: log.warn("ending what has expired: {why}", why=f.getErrorMessage()))

    def load(self) -> int:
        """How full the intake or the fullest lane is, 0 to 100: what congestion_state tells."""
        lanes = (100 * len(c.lane) // c.settings.queue_memory for c in self._fleet.connectors.values())
        return min(100, max(self._intake.fullness, *lanes, 0))
