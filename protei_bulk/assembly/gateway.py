"""The composition root: the only place that knows every part and what each is given."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import HostnameEndpoint, serverFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from protei_bulk import __version__
from protei_bulk.access import secrets
from protei_bulk.access.accounts import AccountDirectory
from protei_bulk.access.passwords import Passwords
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.access.threads import password_threads
from protei_bulk.access.unified_auth_service import unified_auth_service
from protei_bulk.assembly.figures import metrics_of
from protei_bulk.assembly.listeners import Listeners
from protei_bulk.assembly.recovery import recover
from protei_bulk.callbacks.payload import mo_payload
from protei_bulk.campaigns.engine import CHANNEL as CAMPAIGNS
from protei_bulk.campaigns.engine import Engine
from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.channels.http.wiring import HttpChannel
from protei_bulk.channels.smpp.delivery import Delivery
from protei_bulk.channels.smpp.factory import SmppFactory
from protei_bulk.channels.smpp.wiring import SmppOperations
from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.figures import EVERY as REPORT_EVERY
from protei_bulk.connectors.figures import ConnectorFigures
from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.journal import SentJournal
from protei_bulk.connectors.leases import Leases
from protei_bulk.connectors.nudges import OUTBOX, QUEUE, Nudges
from protei_bulk.connectors.routing import Routing
from protei_bulk.connectors.steering import AGAIN, Steering
from protei_bulk.connectors.tls import SmscTls
from protei_bulk.guards import desk
from protei_bulk.inbound.inbox import Inbox
from protei_bulk.inbound.rules import MoRouter
from protei_bulk.intake.accept import Intake
from protei_bulk.intake.long import SECONDS
from protei_bulk.intake.prices import CHANNEL as DECKS
from protei_bulk.intake.prices import RateDecks
from protei_bulk.model import ids
from protei_bulk.observe.traces import Traces
from protei_bulk.observe.upkeep import Upkeep
from protei_bulk.receipts.matcher import DirectReceipt, Matcher
from protei_bulk.receipts.outcomes import Outcomes
from protei_bulk.settings import Settings, Smsc
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.addresses import KnownAddressBook
from protei_bulk.store.audit import AuditLog
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.binds import NodeSessions
from protei_bulk.store.decks import RateRows
from protei_bulk.store.depths import EVERY as SAMPLE_EVERY
from protei_bulk.store.depths import QueueDepths
from protei_bulk.store.embedded import EmbeddedPostgres
from protei_bulk.store.expansion import Expansion
from protei_bulk.store.guard_lists import GuardStore
from protei_bulk.store.inbound import InboundStore
from protei_bulk.store.keys import SigningKeys
from protei_bulk.store.leases import LeaseStore, enter_node
from protei_bulk.store.messages import SUMMARIZE_EVERY, Messages, row_of
from protei_bulk.store.migrate import migrate
from protei_bulk.store.money import Ledger
from protei_bulk.store.pool import Database
from protei_bulk.store.receipts import Receipts
from protei_bulk.store.recipient_jobs import RecipientJobs
from protei_bulk.store.smscs import CHANNEL as SMSCS
from protei_bulk.store.smscs import SmscRows
from protei_bulk.store.traces import TraceTable
from protei_bulk.store.uploads import Uploads
from protei_bulk.store.usage import UsageReads
from protei_bulk.store.websessions import WebSessions

log = Logger()

_ANSWERS_AT_STOP = 10.0  # seconds that an orderly stop waits for the SMSCs' answers
_STOP = 25.0  # seconds for all steps of a stop together; those that are left then have one each
_STOP_ALONE = 5.0  # the same, without a database
_RECEIPT_TIMEOUT = 10.0  # seconds until a receipt by HTTP is answered with an error: whoever sent it tries again


def build(settings: Settings, reactor: Any, *, fatal: Callable[[str], None]) -> Gateway:
    """The whole gateway as one service. `fatal(why)` is called when it cannot start or go on."""
    return Gateway(settings, reactor, fatal)


class _Wall:
    """Unix time where parts need it; everything else of the reactor."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # Asked several times a message: no frame of ours between.
        self.seconds: Callable[[], float] = time.time
        self.callLater = reactor.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class Gateway(Service):
    """Starts the parts in their order and stops them in the reverse one."""

    def __init__(self, settings: Settings, reactor: Any, fatal: Callable[[str], None]) -> None:
        self.settings, self.reactor, self._fatal = settings, _Wall(reactor), fatal
        self._listeners = Listeners(self.reactor)
        self._closing: list[Callable[[], Any]] = []
        self._smsc_tls: dict[str, SmscTls] = {}
        self._ready = False
        self._starting: Deferred[None] | None = None

    # --- start

    def startService(self) -> None:  # noqa: N802
        super().startService()  # type: ignore[no-untyped-call]
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._cannot_start)

    def _cannot_start(self, failure: Any) -> None:
        log.failure("the gateway cannot start", failure)
        self._fatal(failure.getErrorMessage() or failure.type.__name__)

    async def _start(self) -> None:
        s, reactor = self.settings, self.reactor
        s.node.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        dsn = s.database.dsn or await self._embedded(s.node.state_dir)
        for name in await deferToThread(migrate, dsn):
            log.info("schema: applied {name}", name=name)
        self.dsn = dsn
        self.db = db = Database(reactor, dsn, s.database.pool_size)
        intake_lane, outcome_lane = db.dedicated("intake", max_wait=2.0), db.dedicated("outcomes")
        await db.start()
        self._closing.append(db.close)
        node, epoch = await enter_node(db, s.node.name)
        self.epoch = epoch
        life = db.dedicated("life")
        self.lease_rows = LeaseStore(life, db, node, epoch)
        self.messages = messages = Messages(db, intake_lane, outcome_lane, node, epoch, life)
        messages.over = self._life_over
        alive = LoopingCall(self._alive)
        alive.clock = cast("Any", reactor)
        alive.start(1.0, now=False)
        await messages.partitions(s.retention.messages_days, s.retention.audit_days)
        self.receipts = Receipts(db, node)
        self.mo = InboundStore(db, db.dedicated("inbound"))
        await self.mo.partitions(s.retention.messages_days)
        self.journal = SentJournal(s.node.state_dir / "journal")
        await recover(db, self.messages, self.receipts, self.journal, self._held_after_crash())
        self._build(node)
        await self.routing.start()
        await self.decks.start()
        await self.guards.start()
        self.db.listen(desk.CHANNEL, self.guards.changed)
        since = ids.first_at(int((self.reactor.seconds() - SECONDS) * 1000))
        self.intake.long.read_back(await messages.long_parts(since), self.reactor.seconds())
        await self.sessions.mark_stale(node)
        await self._listeners.listen(s, self.smpp, self.http.site)
        await self.steering.start()
        self.db.listen(SMSCS, self.steering.changed)
        await self.campaigns.prepare()
        await self.leases.start()
        self.smsc_figures.report().addErrback(lambda f: log.warn("figures of the connectors: {why}", why=f.getErrorMessage()))
        alive.stop()
        self._ready = True
        log.info("node {name} ({n}) is ready", name=s.node.name, n=node)

    def _alive(self) -> Deferred[Any]:
        """Before everything runs: the low-water mark stays where the last life left it until that is recovered."""
        return self.messages.heartbeat().addErrback(lambda f: log.warn("heartbeat: {why}", why=f.getErrorMessage()))

    def _life_over(self) -> None:
        """Others have taken over what this node held: it was silent for too long, or a second process has its name."""
        leases = getattr(self, "leases", None)
        if leases is not None:
            leases.void()
        self._fatal(f"another process has taken over what node {self.settings.node.name} held")

    async def _embedded(self, state_dir: Path) -> str:
        server = EmbeddedPostgres(self.reactor, state_dir, lost=lambda why: self._fatal(f"PostgreSQL has ended: {why}"))
        self._closing.append(server.stop)
        return await server.start()

    def _build(self, node: int) -> None:
        s, reactor, db = self.settings, self.reactor, self.db
        accounts = Accounts(db)
        self.directory = directory = AccountDirectory(accounts, reactor)
        self.audit = AuditLog(db.dedicated("audit"), reactor)
        self.sessions = session_rows = NodeSessions(db, node, reactor, lambda: self.settings.smpp.max_binds_per_user)
        threads = password_threads()
        self._closing.append(threads.stop)
        usage, addresses = UsageReads(db), KnownAddressBook(db, reactor)
        self.auth = UnifiedAuthService(
            accounts=accounts, directory=directory, passwords=Passwords(reactor, threads, s.access.bcrypt_cost), smpp_sessions=session_rows,
            web_sessions=WebSessions(db), usage=usage, audit=self.audit, keys=SigningKeys(db), addresses=addresses,
            clock=reactor, secret=secrets.load_or_create(s.node.state_dir),
            bind_attempts_per_minute=s.smpp.bind_attempts_per_minute, verified_seconds=s.access.verified_seconds,
            failures_before_delay=s.access.failures_before_delay, session_seconds=s.access.session_seconds,
            idle_seconds=s.access.idle_seconds,
            second_factor=s.access.second_factor,
        )  # fmt: skip
        unified_auth_service.install(self.auth)
        self.fleet = fleet = Fleet()
        smscs = SmscRows(db)
        self.steering = Steering(smscs, fleet, reactor, lambda: self.settings)
        self.leases = Leases(self.lease_rows, fleet, reactor, node, self._held_after_crash, self._others)
        self.routing = Routing(s, reactor, db, self.dsn, node, self.messages, self.fleet, directory.load_many)
        maker = ids.IdMaker(reactor.seconds, node)
        self.intake = Intake(
            self.messages, self.routing.router, self.fleet, maker, reactor,
            lambda run: Batcher(run, reactor=reactor), row_of,
        )  # fmt: skip
        self.intake.max_parts = s.text.max_parts
        self.decks = RateDecks(RateRows(db), self.routing.router.network, reactor, self._decks_known)
        self.guards = desk.GuardDesk(s.guards, GuardStore(db, self.dsn, reactor), self.intake, reactor, node)
        self.delivery = Delivery(self.receipts, reactor)
        self.queue_nudges = Nudges(QUEUE, self.lease_rows, reactor, node, fleet.look, twice=True)
        self.outbox_nudges = Nudges(OUTBOX, self.lease_rows, reactor, node, self.delivery.heard)
        self.queue_depths = QueueDepths(db, lambda: self.leases.held)
        fleet.tell, self.delivery.absent = self.queue_nudges.add, self.outbox_nudges.update
        fleet.anew = lambda id: self._connector(next(c for c in self.settings.smsc if c.id == id))
        self.journal.told = fleet.recorded
        self.recipients = Recipients(RecipientJobs(db, node), reactor, self.dsn, lambda: self.settings.uploads, Uploads(db).tend)
        self.http = HttpChannel(
            s, reactor, db, self.auth, self.intake, self.audit, usage, self.health, self._direct_receipt, metrics_of(self).text,
            recipients=self.recipients, node=node,
        )  # fmt: skip
        self.outcomes = Outcomes(
            self.messages, self.delivery, self.journal, reactor, self.http.dlr_payload, self.http.callbacks.wake
        )
        self.outcomes.kept = self.outbox_nudges.update
        self.routing.connect(self.outcomes)
        self.matcher = Matcher(self.outcomes, self.messages, self.receipts, reactor)
        self.inbox = Inbox(
            self.mo, self.messages, self.mo, lambda run: Batcher(run, reactor=reactor), MoRouter(s.mo), maker, reactor, s.inbound,
            s.retention.messages_days, wake=self.delivery.wake, wake_callbacks=self.http.callbacks.wake, payload=mo_payload,
        )  # fmt: skip
        self.inbox.heard = self.guards.heard
        self.traces = Traces(TraceTable(db), reactor)
        self.fleet.add(self._connector(c) for c in s.smsc)
        self.smpp = SmppFactory(s.smpp, reactor, self.auth, self.intake, self.delivery, session_rows, self.traces)
        self.esme_operations = SmppOperations(
            self.smpp, db, self.messages, node, reactor, self.fleet, self.intake, self.outcomes, self.matcher, maker,
            self.http.dlr_payload, self.http.callbacks.wake, self.inbox.user_for,
        )  # fmt: skip
        expansion = Expansion(db, node, self.epoch)
        self.campaigns = Engine(
            expansion, self.intake, fleet, fleet.holding, reactor, directory.load, directory.get,
            lambda campaign: Deferred.fromCoroutine(self.esme_operations.recall.end_held(campaign)),
        )  # fmt: skip
        db.listen(CAMPAIGNS, self.campaigns.heard)
        directory.subscribe(self.smpp.account_changed)
        directory.on_forget(lambda _: self.routing.router.forget())
        db.listen("protei_accounts", directory.changed)
        db.listen("protei_keys", self.auth.keys_changed)
        db.listen("protei_leases", lambda _: self.leases.wake())
        db.listen(QUEUE, self.queue_nudges.notified)
        db.listen(OUTBOX, self.outbox_nudges.notified)
        db.listen("protei_sessions", self.smpp.disconnect)
        self.traces.subscribe(self._retrace)
        db.listen("protei_traces", self.traces.changed)
        db.listen(DECKS, self.decks.changed)
        self.smsc_figures = ConnectorFigures(
            smscs, fleet, reactor, node, __version__, lambda: (self.queue_depths.depths, self.queue_depths.ages), self._node_figures
        )  # fmt: skip
        self.upkeep = Upkeep(
            reactor, self.messages, self.receipts, self.matcher, s.retention, maker, self._oldest,
            [
                (SAMPLE_EVERY, self.queue_depths.sample),
                (15.0, lambda: self.messages.merge_overdue().addCallback(self.delivery.wake)),
                (SUMMARIZE_EVERY, self.messages.summarize),
                (30.0, lambda: Deferred.fromCoroutine(self.guards.tend())),
                (3600.0, lambda: session_rows.drop_old(s.retention.audit_days)),
                (120.0, Ledger(db).fold),
                (3600.0, lambda: expansion.forget(s.retention.messages_days)),
                (REPORT_EVERY, self.smsc_figures.report),
                (AGAIN, self.steering.look),
                (3600.0, lambda: smscs.drop_old(s.retention.audit_days)),
            ],
        )  # fmt: skip
        self.smpp.start()
        self.esme_operations.start()
        self.delivery.start()
        self.http.start()
        self.inbox.start()
        self.upkeep.start()
        self.recipients.start()
        self.campaigns.start()

    def _held_after_crash(self) -> list[str]:
        return [c.id for c in self.settings.smsc if c.outcome_unknown == "hold"]

    def _others(self, alone: bool) -> None:
        """Whether other nodes live."""
        self.fleet.alone(alone)
        self.queue_nudges.alone = self.outbox_nudges.alone = alone

    def _connector(self, c: Smsc) -> Connector:
        connector = Connector(
            c, self.reactor, self._endpoint(c), self.outcomes, self.matcher, self.journal, self.routing.ways, self.fleet.move,
            inbound=self.inbox, outbind=serverFromString(self.reactor, c.outbind_listen) if c.outbind_listen else None,
            weight=self.directory.weight, grant=self.leases.grant(c.id), holding=self.fleet.holding,
        )  # fmt: skip
        connector.failures.validity = self.routing.validity
        connector.alerted = lambda pdu: self.esme_operations.alerts.take(c.id, pdu)
        connector.trace = self.traces.get("SMSC", c.id)
        self.steering.steer(connector)
        return connector

    def _node_figures(self) -> dict[str, Any]:
        """What operators see of this node."""
        return {
            "intake": self.intake.pending, "fullness": self.intake.fullness, "outcomes": self.outcomes.pending, "lanes": self.fleet.waiting,
            "sessions": self.smpp.count, "http": self.http.site.connections,
        }  # fmt: skip

    def _decks_known(self, known: bool) -> None:
        """Without any rate deck nobody is asked for a price."""
        self.intake.prices = self.decks if known else None

    def _retrace(self) -> None:
        """What operators look at has changed."""
        for connector in self.fleet.connectors.values():
            connector.trace = self.traces.get("SMSC", connector.id)

    def reload(self, settings: Settings) -> None:
        """SIGHUP: routes, connectors, limits and certificates. Listeners, database and node stay as they were."""
        if not self._ready:
            return
        old = {c.id: c for c in self.settings.smsc}
        new = {c.id: c for c in settings.smsc}
        self.settings = settings
        self.routing.configure(settings)
        self.inbox.change(settings.mo, settings.inbound)
        self.guards.configure(settings.guards)
        self.http.change(settings)
        self.smpp.settings = settings.smpp
        self.intake.max_parts = settings.text.max_parts
        self.auth.bind_attempts.limit = settings.smpp.bind_attempts_per_minute
        self.fleet.remove(old.keys() - new.keys())
        for id in old.keys() - new.keys():
            self._smsc_tls.pop(id, None)
        unchanged: list[str] = []
        for id, c in new.items():
            if old.get(id) == c or (id in old and self.fleet.connectors[id].change(c)):
                continue
            try:
                connector = self._connector(c)
            except (OSError, ValueError) as error:  # its certificates
                log.error("{smsc} stays as it was: {why}", smsc=id, why=str(error))
                unchanged.append(id)
                continue
            if id in old:
                self.fleet.connectors[id].retire()
            self.fleet.add([connector])
            if id in self.leases.held:
                connector.start()
        self.steering.apply()
        self.leases.change(new)
        if unchanged:  # the next SIGHUP tries again
            kept = [old[c.id] if c.id in unchanged else c for c in settings.smsc if c.id in old or c.id not in unchanged]
            self.settings = evolve(settings, smsc=tuple(kept))
        for load in [c.load for c in self._listeners.certificates] + [t.load for t in self._smsc_tls.values()]:
            try:
                load()
            except (OSError, ValueError) as error:
                log.error("the certificates stay as they were: {why}", why=str(error))
        log.info("configuration read again")

    def _endpoint(self, c: Smsc) -> Callable[[], IStreamClientEndpoint]:
        tls = SmscTls(c) if c.tls else None
        self._smsc_tls.pop(c.id, None)
        if tls is not None:
            self._smsc_tls[c.id] = tls

        def make() -> IStreamClientEndpoint:
            plain = HostnameEndpoint(self.reactor, c.host.encode(), c.port, timeout=10)
            return plain if tls is None else tls.wrap(plain)

        return make

    # --- what others ask

    def health(self) -> dict[str, Any]:
        """For /readyz."""
        if not self._ready:
            return {"ready": False, "reasons": ["starting"]}
        reasons = []
        if not self.db.connected:
            reasons.append("no connection to PostgreSQL")
        return {
            "ready": not reasons, "reasons": reasons,
            "smsc": {c.id: c.state if c.running else "ELSEWHERE" for c in self.fleet.connectors.values()},
            "sessions": self.smpp.count,
        }  # fmt: skip

    def _direct_receipt(self, smsc: str, id: str, stat: str, err: str) -> Deferred[bool]:
        """A receipt by HTTP: whether the SMSC is known, told after the commit; TimeoutError when that takes too long."""
        if smsc not in self.fleet.connectors:
            return succeed(False)
        answer, clock = DirectReceipt(), cast("Any", self.reactor)
        self.matcher.receipt(smsc, id, stat, err, answer, 0)
        return answer.committed.addTimeout(_RECEIPT_TIMEOUT, clock)

    def _oldest(self) -> str | None:
        """Below this id, no message waits in this process's memory."""
        found = [x for x in (self.intake.oldest(), self.fleet.oldest(), self.outcomes.oldest(), self.esme_operations.recall.oldest()) if x]
        return min(found, default=None)

    # --- stop

    def stopService(self) -> Deferred[None]:  # noqa: N802
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        started, self._ready = self._ready, False
        if started:
            end = self.reactor.seconds() + (_STOP if self.db.connected else _STOP_ALONE)
            for step in self._stop_steps():  # without a database some would wait for ever
                await self._at_most(Deferred.fromCoroutine(self._guarded(step)), max(1.0, end - self.reactor.seconds()))
        elif self._starting is not None:
            self._starting.cancel()
        for close in reversed(self._closing):
            await self._guarded(close)

    def _stop_steps(self) -> list[Callable[[], Any]]:
        """In this order nothing that was acknowledged is lost, and no message is sent twice after the next start."""
        at_most, wait = self._at_most, _ANSWERS_AT_STOP
        return [
            self._listeners.stop,
            self.http.wind_up,
            self.recipients.stop,
            lambda: at_most(self.campaigns.stop(), wait),
            self.smpp.close,
            self.leases.wind_up,
            lambda: at_most(self.intake.drained(), wait),
            lambda: at_most(self.esme_operations.stop(), wait),
            lambda: at_most(self.routing.stop(), wait),
            lambda: at_most(self.fleet.stop_sending(), wait),
            lambda: at_most(DeferredList([self.outcomes.drained(), self.inbox.drained()]), wait),
            self.delivery.stop,
            lambda: at_most(self.fleet.stop(), 2.0),
            lambda: at_most(self.leases.stop(), 2.0),
            lambda: at_most(DeferredList([self.outcomes.drained(), self.inbox.drained()]), wait),
            self.inbox.stop,
            lambda: at_most(self.guards.stop(), wait),
            self.guards.close,
            self.smpp.stop,
            self.http.stop,
            self.traces.close,
            self.steering.close,
            self.routing.close,
            self.decks.close,
            self.upkeep.stop,
            self.audit.close,
            self.directory.close,
            lambda: self.leases.leave() if self.journal.clean else None,
            self.journal.close,
        ]

    async def _guarded(self, step: Callable[[], Any]) -> None:
        """One step that fails does not keep the others from happening."""
        try:
            result = step()
            if hasattr(result, "__await__"):
                await result
        except Exception:
            log.failure("while stopping")

    async def _at_most(self, d: Deferred[Any], seconds: float) -> None:
        """Waits for `d`, no longer than so many seconds."""
        over: Deferred[None] = Deferred()
        timer = self.reactor.callLater(seconds, over.callback, None)
        await DeferredList([d, over], fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
        if timer.active():
            timer.cancel()


