"""The pages on which campaigns are made, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protei_bulk.channels.portal.message_templates import TemplatePages
from protei_bulk.channels.portal.shell import Page, Shell
from protei_bulk.channels.portal.wizard import Lists, Wizard
from protei_bulk.channels.portal.wizard_message import MessageStep
from protei_bulk.channels.portal.wizard_review import Desk, Review, Usage, Works
from protei_bulk.settings import Settings
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.drafts import Drafts
from protei_bulk.store.message_templates import MessageTemplates
from protei_bulk.store.pages import Pages
from protei_bulk.store.pool import Database


def making_pages(shell: Shell, db: Database, usage: Usage, intake: Any, desk: Desk, works: Works, lists: Lists | None,
                 settings: Callable[[], Settings], now: Callable[[], float]) -> list[Page]:  # fmt: skip
    """`intake` takes messages and says which way they would go; `works` gathers recipients and counts messages."""
    drafts, templates = Drafts(db), MessageTemplates(db)
    message = MessageStep(shell, drafts, templates, intake)
    review = Review(shell, drafts, Accounts(db), Pages(db), usage, intake, works, desk, settings, now)
    wizard = Wizard(shell, drafts, intake, message, review, lists, lambda: settings().uploads.max_megabytes, now)
    return [*wizard.pages(), *message.pages(), *review.pages(), *TemplatePages(shell, templates).pages()]
