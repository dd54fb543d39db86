"""Pages of people and money put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.threads import deferToThreadPool

from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.portal.blacklist import Blacklist
from protei_bulk.channels.portal.customers import Customers
from protei_bulk.channels.portal.guards import Guards
from protei_bulk.channels.portal.money import Money
from protei_bulk.channels.portal.opt_outs import OptOuts
from protei_bulk.channels.portal.rates import RatePages
from protei_bulk.channels.portal.shell import Page, Shell
from protei_bulk.channels.portal.user_actions import UserActions
from protei_bulk.channels.portal.users import Users
from protei_bulk.settings import Settings
from protei_bulk.store.administration import Administration
from protei_bulk.store.audit_reads import AuditReads
from protei_bulk.store.decks import RateRows
from protei_bulk.store.guards import GuardRows
from protei_bulk.store.money import Ledger
from protei_bulk.store.pages_guards import GuardPages
from protei_bulk.store.pages_money import MoneyPages
from protei_bulk.store.pages_names import Names
from protei_bulk.store.pages_people import PeoplePages
from protei_bulk.store.pool import Database


def people_pages(shell: Shell, db: Database, auth: UnifiedAuthService, settings: Callable[[], Settings],
                 reactor: Any) -> list[Page]:  # fmt: skip
    """`settings`: the node's whole configuration, as it is now."""
    def heavy(work: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work, *args)

    store, reads = Administration(db, source="portal"), PeoplePages(db)
    money, guards, lists = MoneyPages(db), GuardRows(db), GuardPages(db)
    users = Users(shell, auth, store, reads, AuditReads(db), Names(db))
    return [
        *users.pages(),
        *UserActions(shell, auth, store, users).pages(),
        *Customers(shell, store, reads, money).pages(),
        *Money(shell, store, Ledger(db), reads, money, lambda: settings().routing.currency).pages(),
        *OptOuts(shell, guards, lists, reads, heavy).pages(),
        *Blacklist(shell, guards, lists, reads, heavy).pages(),
        *Guards(shell, guards, lists, lambda: settings().guards).pages(),
        *RatePages(shell, RateRows(db), reads, money, heavy).pages(),
    ]
