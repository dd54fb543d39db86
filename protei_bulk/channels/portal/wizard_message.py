"""The wizard's third step: what the page needs to count and to show the text, texts kept to use again, and a test to one's own phone."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.campaigns.draft import Draft, sender_fault
from protei_bulk.campaigns.numbers import BadNumber, Numbers
from protei_bulk.campaigns.rendering import Rendered, Text, Unsendable
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.model.senders import read_sender
from protei_bulk.store.drafts import TESTS_A_DAY, TESTS_AN_HOUR, Drafts, Stored
from protei_bulk.store.message_templates import MessageTemplates, NameTaken, TooMany
from protei_bulk.text.browser import tables

_CHOICES = 100  # templates to choose from; the page of templates has them all


class Intake(Protocol):
    def open_campaign(self, account: Account, *, channel: str, name: str | None, sender: str, content: str | None, encoding: str,
                      priority: str, dlr_url: str | None, schedule_time: float | None) -> Deferred[Campaign]: ...  # fmt: skip

    def submit(self, account: Account, m: Message, /) -> None: ...


class MessageStep:
    def __init__(self, shell: Shell, drafts: Drafts, templates: MessageTemplates, intake: Intake) -> None:
        self._shell, self._drafts, self._templates, self._intake = shell, drafts, templates, intake
        self._tables = orjson.dumps(tables())

    def pages(self) -> list[Page]:
        return [Page("GET", "/campaigns/alphabet.json", None, self.alphabet)]

    async def alphabet(self, visit: Visit) -> Answer:
        """The tables that static/js/sms.js counts with: the same for everybody."""
        return Answer(self._tables, content_type="application/json")

    async def values(self, visit: Visit, stored: Stored, draft: Draft) -> dict[str, Any]:
        samples = await self._drafts.first_recipients(stored.pk) if stored.recipients_ready else []
        known = dict.fromkeys((*draft.recipients.mapping.variables, *_counted(stored.gathering)))
        templates = await self._templates.some(visit.who.customer_id, most=_CHOICES)
        return {
            "samples": samples, "known": list(known), "templates": templates[:_CHOICES], "count": counted(draft, samples),
            "data": {"samples": [[n, v] for n, v in samples]},
            "default_names": list(dict.fromkeys((*draft.message.names, *draft.message.defaults))),
            "test": None, "test_to": "", "keep_name": "", "ready": stored.recipients_ready,
        }  # fmt: skip

    async def act(self, visit: Visit, go: str, stored: Stored) -> tuple[Draft | None, dict[str, Any]]:
        """A changed draft, or what the page is to say."""
        if go == "template":
            return await self._take(visit, stored)
        return None, await (self._keep(visit, stored) if go == "keep" else self._test(visit, stored))

    # --- templates

    async def _take(self, visit: Visit, stored: Stored) -> tuple[Draft | None, dict[str, Any]]:
        found = await self._templates.get(visit.who.customer_id, visit.whole("template", high=2**62))
        if found is None:
            return None, {"status": 422, "errors": {"template": visit._("Choose a template.")}}
        message = evolve(stored.draft.message, text=found.text, encoding=found.encoding, smart=found.smart, template=found.id)
        return evolve(stored.draft, message=message), {}

    async def _keep(self, visit: Visit, stored: Stored) -> dict[str, Any]:
        name, m = " ".join(visit.text("keep_name", 400).split())[:100], stored.draft.message
        error = ""
        if not name:
            error = visit._("Give the template a name.")
        elif not m.text.strip():
            error = visit._("There is no text to keep.")
        else:
            try:
                await self._templates.make(visit.who.customer_id, name, m.text, m.encoding, m.smart, actor_of(visit))
            except NameTaken:
                error = visit._("There is a template with this name already.")
            except TooMany:
                error = visit._("There are too many templates. Delete some first.")
        if error:
            return {"status": 422, "errors": {"keep_name": error}, "keep_name": name}
        return {"said": visit._("The text is kept as a template.")}

    # --- test

    async def _test(self, visit: Visit, stored: Stored) -> dict[str, Any]:
        draft, account = stored.draft, visit.who
        given = visit.text("test_to", 40)

        def refuse(why: str) -> dict[str, Any]:
            return {"status": 422, "errors": {"test_to": why}, "test_to": given}

        if sender_fault(draft.sender) is not None:
            return refuse(visit._("Choose a sender first."))
        try:
            number = Numbers(await self._drafts.default_country(account.customer_id)).read(given)
        except BadNumber:
            return refuse(visit._("Enter your number with its country code."))
        samples = await self._drafts.first_recipients(stored.pk, 1) if stored.recipients_ready else []
        try:
            rendered = rendered_for(draft, samples[0][1] if samples else {})
        except Unsendable as error:
            return refuse(unsendable(visit, error))
        if not await self._drafts.take_test(account.user_id):
            return refuse(visit._("That were %(hour)s tests within an hour or %(day)s within a day: no more for now.",
                                  hour=TESTS_AN_HOUR, day=TESTS_A_DAY))  # fmt: skip
        m = message_of(draft, number, rendered)
        refusal = await self._send(account, draft, m)
        await self._drafts.tested(account.user_id, stored.id, number, m.id if refusal is None else refusal, actor_of(visit))
        if refusal is not None:
            return refuse(refusal_text(visit, refusal))
        return {"test": {"id": m.id, "number": number, "parts": m.segments}, "test_to": given}

    async def _send(self, account: Account, draft: Draft, m: Message) -> str | None:
        """The code of why it was not taken."""
        opened = await self._intake.open_campaign(
            account, channel="WEB", name=f"Test: {draft.name}"[:200], sender=m.source, content=draft.message.text,
            encoding=draft.message.encoding, priority=draft.message.priority, dlr_url=None, schedule_time=None,
        )  # fmt: skip
        m.campaign_id, m.opens = opened.id, opened
        origin = m.origin = _Waits()
        self._intake.submit(account, m)
        await origin.answer
        return None if m.refusal is None else m.refusal.code


class _Waits:
    def __init__(self) -> None:
        self.answer: Deferred[None] = Deferred()

    def answered(self, messages: list[Message]) -> None:
        self.answer.callback(None)


def text_of(draft: Draft) -> Text:
    m = draft.message
    return Text(m.text, m.encoding, m.smart, {k: v for k, v in m.defaults.items() if v})


def rendered_for(draft: Draft, variables: dict[str, str]) -> Rendered:
    """Raises Unsendable."""
    return text_of(draft).render(variables)


def counted(draft: Draft, samples: list[tuple[str, dict[str, str]]]) -> dict[str, Any]:
    """How the text goes out to the first recipient; the page counts by itself from then on."""
    text = text_of(draft)
    values = {name: f"%{name}%" for name in text.names} | (samples[0][1] if samples else {})
    try:
        r = text.render(values)
    except Unsendable as error:
        return {"code": error.code, "detail": error.detail, "text": draft.message.text, "parts": 0, "alphabet": "", "characters": 0}
    return {
        "code": "", "detail": "", "text": r.text, "parts": r.segments, "alphabet": "UCS-2" if r.data_coding == 8 else "GSM 7-bit",
        "characters": len(r.text),
    }  # fmt: skip


def message_of(draft: Draft, number: str, rendered: Rendered | None = None, segments: int = 1, channel: str = "WEB") -> Message:
    """As the engine makes it."""
    m = Message()
    m.channel = channel
    m.source, m.source_ton, m.source_npi = read_sender(draft.sender)
    m.dest, m.registered, m.tags = number, 1, draft.tags
    m.priority = PRIORITIES.index(draft.message.priority)
    m.segments = segments
    if rendered is not None:
        m.text, m.body, m.data_coding, m.segments = rendered.text, rendered.body, rendered.data_coding, rendered.segments
    return m


def actor_of(visit: Visit) -> Actor:
    return Actor(visit.who.user_id, visit.ip, visit.user_agent)


def unsendable(visit: Visit, error: Unsendable) -> str:
    _ = visit._
    return {
        "MISSING_VARIABLE": _("%(name)s has no value: give it a default.", name=error.detail),
        "NO_MESSAGE": _("Write the message."),
        "MESSAGE_TOO_LONG": _("The message is too long."),
        "INVALID_TEXT": _("The alphabet you chose lacks %(character)s.", character=error.detail),
    }.get(error.code, error.code)


def refusal_text(visit: Visit, code: str) -> str:
    _ = visit._
    return {
        "QUOTA_EXCEEDED": _("Your quota of today is used up."),
        "INSUFFICIENT_BALANCE": _("The balance is not enough."),
        "SENDER_NOT_ALLOWED": _("Your account may not send under this name."),
        "NO_ROUTE": _("No route leads to this number."),
        "NO_ALLOWED_SMSC": _("No route leads to this number."),
        "BLACKLISTED": _("The number is on a blacklist."),
        "OPTED_OUT": _("The recipient does not want messages from you."),
        "COUNTRY_NOT_ALLOWED": _("Messages to this country are not allowed."),
        "DUPLICATE": _("The same message was sent to this number a moment ago."),
        "MESSAGE_TOO_LONG": _("The message is too long."),
        "QUEUE_FULL": _("The gateway is very busy. Try again in a moment."),
        "SYSTEM_ERROR": _("The gateway could not store the message. Try again in a moment."),
        "INVALID_DESTINATION": _("This is no number that messages can go to."),
        "VELOCITY": _("Traffic to these numbers is paused."),
    }.get(code, code)


def _counted(gathering: dict[str, Any]) -> list[str]:
    found = gathering.get("variables")
    return [str(k) for k in found] if isinstance(found, dict) else []
