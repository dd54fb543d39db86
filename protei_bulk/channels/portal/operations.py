"""The operator's pages together."""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.channels.portal.audit import AuditPages
from protei_bulk.channels.portal.costs import CostPages
from protei_bulk.channels.portal.events import Events
from protei_bulk.channels.portal.queues import Queues
from protei_bulk.channels.portal.routes import RoutePages
from protei_bulk.channels.portal.sessions import Sessions
from protei_bulk.channels.portal.shell import Page, Shell
from protei_bulk.channels.portal.smscs import Smscs
from protei_bulk.channels.portal.traces import Traces
from protei_bulk.settings import Settings
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.audit_reads import AuditReads
from protei_bulk.store.explaining import Explaining
from protei_bulk.store.pages_names import Names
from protei_bulk.store.pages_operations import OperationPages
from protei_bulk.store.pool import Database
from protei_bulk.store.rehoming import RehomingStore
from protei_bulk.store.routes import CostRows, RouteRows
from protei_bulk.store.sessions import SmppSessions
from protei_bulk.store.smscs import SmscRows
from protei_bulk.store.traces import TraceTable

_NO_NODE = -1


def operations_pages(shell: Shell, events: Events, db: Database, settings: Callable[[], Settings],
                     now: Callable[[], float]) -> list[Page]:  # fmt: skip
    """`settings`: the node's whole configuration, as it is now."""
    reads = OperationPages(db)
    return [
        *Sessions(shell, events, reads, SmppSessions(db)).pages(),
        *AuditPages(shell, AuditReads(db), Accounts(db), Names(db)).pages(),
        *RoutePages(shell, RouteRows(db), Explaining(db), Accounts(db).by_username, settings, now).pages(),
        *CostPages(shell, reads, CostRows(db), settings).pages(),
        *Queues(shell, events, reads, SmscRows(db), now).pages(),
        *Smscs(shell, events, SmscRows(db), RehomingStore(db, _NO_NODE), settings).pages(),
        *Traces(shell, TraceTable(db), settings).pages(),
    ]
