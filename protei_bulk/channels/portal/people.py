"""Pages of people and money put together."""

from __future__ import annotations

from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.portal.shell import Page, Shell
from protei_bulk.channels.portal.user_actions import UserActions
from protei_bulk.channels.portal.users import Users
from protei_bulk.store.administration import Administration
from protei_bulk.store.audit_reads import AuditReads
from protei_bulk.store.pages_names import Names
from protei_bulk.store.pages_people import PeoplePages
from protei_bulk.store.pool import Database


def people_pages(shell: Shell, db: Database, auth: UnifiedAuthService) -> list[Page]:
    store, reads = Administration(db, source="portal"), PeoplePages(db)
    users = Users(shell, auth, store, reads, AuditReads(db), Names(db))
    return [
        *users.pages(),
        *UserActions(shell, auth, store, users).pages(),
    ]
