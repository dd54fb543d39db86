"""Puts the HTTP API and the callbacks together: what the composition root starts and stops."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred

from protei_bulk.access import secrets
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.callbacks.client import make_client
from protei_bulk.callbacks.payload import dlr_payload
from protei_bulk.callbacks.signing import account_secret, signature_headers
from protei_bulk.callbacks.trial import Trials
from protei_bulk.callbacks.worker import CallbackWorker
from protei_bulk.campaigns.desk import CampaignDesk
from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.channels.http.api import HttpApi, make_resource
from protei_bulk.channels.http.budgets import Budgets
from protei_bulk.channels.http.bulk import Intake
from protei_bulk.channels.http.callbacks_api import Callbacks
from protei_bulk.channels.http.exchange import Audit
from protei_bulk.channels.http.guards_api import GuardsAdmin
from protei_bulk.channels.http.idempotency import IdempotencyKeys
from protei_bulk.channels.http.management import management
from protei_bulk.channels.http.receipts import ReceiptSink
from protei_bulk.channels.http.reports import Balances
from protei_bulk.channels.http.routing_api import RoutingAdmin
from protei_bulk.channels.http.site import ApiSite
from protei_bulk.channels.portal.callbacks import CallbackService
from protei_bulk.channels.portal.wiring import PortalChannel
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.settings import Settings
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.callbacks import CallbackOutbox, CallbackRow, CallbackSecrets
from protei_bulk.store.campaigns import CampaignRows
from protei_bulk.store.deliveries import Deliveries
from protei_bulk.store.drafts import Drafts
from protei_bulk.store.explaining import Explaining
from protei_bulk.store.guards import GuardRows
from protei_bulk.store.idempotency import IdempotencyKeyRows
from protei_bulk.store.pool import Database
from protei_bulk.store.rates import Rates
from protei_bulk.store.routes import CostRows, RouteRows


def most_connections() -> int:
    """As many as files may be open, but for those that the rest of the gateway needs."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return files - min(500, files // 4) if files != resource.RLIM_INFINITY else 2**31


async def new_campaign(intake: Intake, account: Account) -> Campaign:
    """Numbers for a campaign that is made in the portal."""
    return await intake.open_campaign(
        account, channel="WEB", name=None, sender="", content=None, encoding="AUTO", priority="NORMAL", dlr_url=None, schedule_time=None
    )


class HttpChannel:
    """`resource` is the API's root, `site` what listens; `callbacks` sends the customers' receipts."""

    dlr_payload = staticmethod(dlr_payload)

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        db: Database,
        auth: UnifiedAuthService,
        intake: Intake,
        audit: Audit,
        usage: Balances,
        health: Callable[[], Mapping[str, Any]],
        receipt: ReceiptSink,
        metrics: Callable[[], bytes] | None = None,
        *,
        recipients: Recipients | None = None,
        node: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        secret = secrets.load_or_create(settings.node.state_dir)
        self.budgets = Budgets(Rates(db.dedicated("rates", max_wait=2.0), node), reactor, monotonic)
        db.listen("protei_rates", self.budgets.recall)
        self.keys = IdempotencyKeys(IdempotencyKeyRows(db), reactor, monotonic, lambda: uuid4().hex)
        desk = CampaignDesk(CampaignRows(db), Drafts(db), reactor.seconds, lambda account: new_campaign(intake, account))
        self.resource = make_resource(
            HttpApi(
                auth, intake, Deliveries(db), usage, settings.http, reactor, audit, health, receipt, metrics, management(auth, db),
                budgets=self.budgets,
                callbacks=Callbacks(CallbackOutbox(db), CallbackSecrets(db), secret, lambda: self.callbacks.wake()),
                desk=desk, keys=self.keys, guards=GuardsAdmin(GuardRows(db), lambda: self._settings.guards),
                routing=RoutingAdmin(RouteRows(db), CostRows(db), Explaining(db), Accounts(db).by_username, lambda: self._settings),
            )
        )

        def sign(row: CallbackRow, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
            versions = (row.version, row.version - 1) if row.overlap else (row.version,)
            keys = [account_secret(secret, row.user_id, version) for version in versions]
            return signature_headers(keys, webhook_id, timestamp, body)

        self._settings = settings
        client, self._pool = make_client(reactor, lambda: self._settings.callbacks.allow_private_addresses)
        service = CallbackService(
            CallbackOutbox(db), CallbackSecrets(db), secret, lambda: self.callbacks.wake(),
            Trials(reactor, client.post, sign, lambda: self._settings.callbacks, os.urandom), audit,
        )  # fmt: skip
        self.portal = PortalChannel(
            reactor, db, auth, lambda: self._settings.http, secret, self.resource, lambda: self._settings, service, intake,
            desk, recipients,
        )  # fmt: skip
        self.site = ApiSite(self.portal.root, settings.http, reactor=reactor, monotonic=monotonic, most=most_connections)
        self.callbacks = CallbackWorker(
            reactor,
            CallbackOutbox(db.dedicated("callbacks")),
            client.post,
            settings.callbacks,
            random=Random().random,
            sign=sign,
            keep_days=settings.retention.messages_days,
        )

    def change(self, settings: Settings) -> None:
        """Other limits and time-outs, from now on (SIGHUP)."""
        self._settings = settings
        self.resource.change(settings.http)
        self.site.change(settings.http)
        self.callbacks.change(settings.callbacks)

    def start(self) -> None:
        self.budgets.start()
        self.keys.start()
        self.callbacks.start()

    def wind_up(self) -> None:
        """Nobody new comes: idle connections close, and the others once they are answered."""
        self.portal.wind_up()
        self.site.wind_up()

    def stop(self) -> Deferred[None]:
        """Call it once nothing is accepted any more."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.keys.close()
        await self.budgets.close()
        await self.callbacks.stop()
        await self._pool.closeCachedConnections()
