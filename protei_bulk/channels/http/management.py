"""What stands behind the routes for people and administrators, in one piece for the composition root."""

from __future__ import annotations

from attrs import frozen

from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.http.money_api import Money
from protei_bulk.store.administration import Administration
from protei_bulk.store.audit_reads import AuditReads
from protei_bulk.store.decks import RateRows
from protei_bulk.store.money import Ledger
from protei_bulk.store.pool import Database
from protei_bulk.store.sessions import SmppSessions
from protei_bulk.store.usage import UsageReads


@frozen
class Management:
    auth: UnifiedAuthService
    accounts: Administration
    sessions: SmppSessions
    usage: UsageReads
    audit: AuditReads
    money: Money


def management(auth: UnifiedAuthService, db: Database) -> Management:
    return Management(auth, Administration(db), SmppSessions(db), UsageReads(db), AuditReads(db), Money(Ledger(db), RateRows(db)))
