"""Portal and API on one site: what the composition root puts under its listeners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.resource import IResource

from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.campaigns.desk import CampaignDesk
from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.channels.http.bulk import Intake
from protei_bulk.channels.portal.analytics import AnalyticsPages
from protei_bulk.channels.portal.callbacks import CallbackPages, CallbackService
from protei_bulk.channels.portal.campaigns import Campaigns
from protei_bulk.channels.portal.dashboard import Dashboard
from protei_bulk.channels.portal.events import Events
from protei_bulk.channels.portal.inbox import Inbox
from protei_bulk.channels.portal.making import making_pages
from protei_bulk.channels.portal.messages import Messages
from protei_bulk.channels.portal.operations import operations_pages
from protei_bulk.channels.portal.people import people_pages
from protei_bulk.channels.portal.portal import Root, make_portal
from protei_bulk.channels.portal.recipients import recipient_pages
from protei_bulk.channels.portal.streaming import Exports
from protei_bulk.settings import Http, Settings
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.inspect import Inspection
from protei_bulk.store.pages import Pages
from protei_bulk.store.pages_account import OwnReads
from protei_bulk.store.pages_analytics import Analytics
from protei_bulk.store.pages_callbacks import CallbackReads
from protei_bulk.store.pages_campaigns import CampaignPages
from protei_bulk.store.pages_dashboard import DashboardReads
from protei_bulk.store.pages_inbox import InboxReads
from protei_bulk.store.pages_messages import MessageSearch
from protei_bulk.store.pool import Database
from protei_bulk.store.rehoming import RehomingStore
from protei_bulk.store.routes import RouteRows


class PortalChannel:
    """`root` serves everything; `api` is the API's resource, `secret` the node's, `whole` gives its whole configuration."""

    def __init__(self, reactor: Any, db: Database, auth: UnifiedAuthService, settings: Callable[[], Http], secret: bytes,
                 api: IResource, whole: Callable[[], Settings], callbacks: CallbackService, intake: Intake,
                 desk: CampaignDesk, recipients: Recipients | None) -> None:  # fmt: skip
        reads = Pages(db)
        accounts = Accounts(db, source="portal")
        self.shell, pages = make_portal(auth, settings, secret, reads.customer_name, accounts.set_user, OwnReads(db), reactor.seconds)
        self.events = Events(reactor, auth, self.shell.renderer, settings)
        campaigns, exports = CampaignPages(db), Exports(reactor)
        pages += Dashboard(self.shell, self.events, DashboardReads(db), campaigns, desk, CallbackReads(db), RehomingStore(db, 0)).pages()
        pages += Campaigns(self.shell, self.events, campaigns, desk, MessageSearch(db), exports).pages()
        pages += AnalyticsPages(self.shell, Analytics(db), MessageSearch(db), reactor.seconds).pages()
        pages += Messages(self.shell, reads, MessageSearch(db), Inspection(db), RouteRows(db), whole).pages()
        pages += Inbox(self.shell, InboxReads(db), MessageSearch(db), whole).pages()
        pages += CallbackPages(self.shell, callbacks, CallbackReads(db), accounts).pages()
        pages += operations_pages(self.shell, self.events, db, whole, reactor.seconds)
        pages += people_pages(self.shell, db, auth, whole, reactor)
        if recipients is not None:
            lists, more = recipient_pages(self.shell, db, recipients, exports, whole)
            pages += more
            pages += making_pages(self.shell, db, auth, intake, desk, recipients, lists, whole, reactor.seconds)
        self.root = Root(api, self.shell.resource(pages))

    def wind_up(self) -> None:
        """The gateway is about to stop: live pages end, and come back to whoever answers then."""
        self.events.close()
