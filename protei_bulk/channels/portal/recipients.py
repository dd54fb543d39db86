"""Pages about recipients, put together: uploads, contact lists, and who was not taken."""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.channels.portal.shell import Page, Shell
from protei_bulk.channels.portal.uploads import UploadPages
from protei_bulk.settings import Settings
from protei_bulk.store.pool import Database
from protei_bulk.store.uploads import Uploads


def recipient_pages(shell: Shell, db: Database, recipients: Recipients, whole: Callable[[], Settings]) -> list[Page]:
    uploads = Uploads(db)
    return [*UploadPages(shell, uploads, recipients, whole).pages()]
