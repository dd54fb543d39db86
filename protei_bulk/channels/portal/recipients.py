"""Pages about recipients, put together: uploads, contact lists, and who was not taken."""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.channels.portal.contact_import import ContactImport
from protei_bulk.channels.portal.contact_list import ContactPages
from protei_bulk.channels.portal.contacts import ContactLists
from protei_bulk.channels.portal.refused import RefusedReport
from protei_bulk.channels.portal.shell import Page, Shell
from protei_bulk.channels.portal.streaming import Exports
from protei_bulk.channels.portal.uploads import UploadPages
from protei_bulk.settings import Settings
from protei_bulk.store.contacts import Contacts
from protei_bulk.store.drafts import Drafts
from protei_bulk.store.pool import Database
from protei_bulk.store.refusals import Refusals
from protei_bulk.store.uploads import Uploads


def recipient_pages(
    shell: Shell, db: Database, recipients: Recipients, exports: Exports, whole: Callable[[], Settings]
) -> tuple[ContactLists, list[Page]]:
    """The lists, for the wizard, and all pages."""
    uploads, contacts, drafts = Uploads(db), Contacts(db), Drafts(db)
    lists = ContactLists(shell, contacts)
    return lists, [
        *UploadPages(shell, uploads, recipients, whole).pages(),
        *lists.pages(),
        *ContactPages(shell, contacts, drafts, exports).pages(),
        *ContactImport(shell, contacts, uploads, drafts, recipients, whole).pages(),
        *RefusedReport(Refusals(db), exports).pages(),
    ]
