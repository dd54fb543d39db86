"""Messages: the search, and the whole story of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import evolve

from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.meanings import meaning
from protei_bulk.channels.portal.periods import moment_of, period_of
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.story import moment, story
from protei_bulk.channels.portal.visit import Listing, Visit
from protei_bulk.model import ids
from protei_bulk.model.permissions import Permission, Scope, scope_of
from protei_bulk.settings import Settings
from protei_bulk.settings.routes import read_route, shown_route
from protei_bulk.smpp import tags
from protei_bulk.store.inspect import Inspection
from protei_bulk.store.pages import Pages
from protei_bulk.store.pages_messages import MessageSearch, Wanted
from protei_bulk.store.routes import RouteRows
from protei_bulk.store.walking import Found
from protei_bulk.text.alphabets import BINARY, alphabet

_PAGE, _EXPORT = 50, 10_000
_EXPORT_STRETCHES = 25
MESSAGE_STATES = ("QUEUED", "SCHEDULED", "SENT", "DELIVERED", "FAILED", "REJECTED", "EXPIRED", "DELETED", "UNKNOWN")
CHANNELS = ("SMPP", "HTTP_API", "WEB", "SCHEDULER")
#: the fields of the filter that stand behind "more"
_MORE = ("sender", "channel", "campaign", "user", "customer", "smsc")
_ALPHABETS = {"gsm7": "GSM 03.38", "latin1": "Latin 1", "ascii": "ASCII", "ucs2": "UCS-2"}
_SLACK = timedelta(minutes=5)  # of clocks, around the time in which a campaign's messages were made


class Messages:
    """`rules` and `settings` say what the rule was that took a message."""

    def __init__(self, shell: Shell, pages: Pages, search: MessageSearch, inspection: Inspection, rules: RouteRows,
                 settings: Callable[[], Settings]) -> None:  # fmt: skip
        self._shell, self._pages, self._search, self._inspection = shell, pages, search, inspection
        self._rules, self._settings = rules, settings

    def pages(self) -> list[Page]:
        seen = Permission.ANALYTICS  # its scope says whose traffic
        return [
            Page("GET", "/messages", seen, self.messages),
            Page("GET", "/messages.csv", seen, self.messages_csv),
            Page("GET", "/messages/{id}", seen, self.message),
        ]

    # --- the search

    async def messages(self, visit: Visit) -> Answer:
        wanted, errors, about = await self._wanted(visit)
        found = Found([]) if wanted is None else await self._search.page(wanted, _PAGE)
        listing = Listing(visit, len(found.rows), str(found.next) if found.full else "")
        searched = any(visit.text(name) for name in ("q", "status", "from", "to", *_MORE))
        return self._shell.page(
            visit, "messages.html", 422 if errors else 200, rows=found.rows, page=listing, states=MESSAGE_STATES, channels=CHANNELS,
            errors=errors, searched=searched, more=any(visit.text(name) for name in _MORE), about=about, operator=operates(visit),
            wide=visit.scope is not Scope.OWN, further="" if found.full else found.next, reached=moment_of(str(found.next)),
            meaning=lambda row: meaning(row["error"], row["status"] == "REJECTED", visit._),
        )  # fmt: skip

    async def messages_csv(self, visit: Visit) -> Answer:
        wanted, _, _ = await self._wanted(visit)
        found = Found([]) if wanted is None else await self._search.many(wanted, _EXPORT, _EXPORT_STRETCHES)
        names = ("id", "username", "sender", "dest", "text", "channel", "status", "error", "segments", "price", "currency", "submitted",
                 "delivered")  # fmt: skip
        reached = moment_of(str(found.next))
        name = "messages" if reached is None else f"messages-back-to-{datetime.fromtimestamp(reached, visit.zone):%Y-%m-%dT%H%M}"
        return csv_answer(name, names, ([_plain(r[n]) for n in names] for r in found.rows))

    async def _wanted(self, visit: Visit) -> tuple[Wanted | None, dict[str, str], dict[str, Any]]:
        """What the filters say, what is wrong with them, and what they are about. None: nothing can match."""
        reach, period, operator = reach_of(visit), period_of(visit), operates(visit)
        about: dict[str, Any] = {"campaign": None}
        if period.errors:
            return None, period.errors, about
        status, channel = visit.text("status", 20), visit.text("channel", 20)
        after, end = visit.text("after", 64), period.end_id()
        w = Wanted(
            sender=visit.text("sender", 21), status=status if status in MESSAGE_STATES else "",
            channel=channel if channel in CHANNELS else "", smsc=visit.text("smsc", 64) if operator else "", since=period.first_id(),
            after=min(after, end) if after and end else after or end, reach=reach,
        )  # fmt: skip
        if visit.text("campaign", 64):
            campaign = about["campaign"] = await self._search.campaign(reach, visit.text("campaign", 64))
            if campaign is None:
                return None, {}, about
            w = of_campaign(w, campaign)
        if visit.text("user", 100) and visit.scope is not Scope.OWN:
            user = await self._search.user_named(reach, visit.text("user", 100))
            if user is None:
                return None, {}, about
            w = evolve(w, user_id=user)
        if visit.text("customer", 100) and operator:
            customer = await self._search.customer_named(visit.text("customer", 100))
            if customer is None:
                return None, {}, about
            w = evolve(w, customer_id=customer)
        return await self._about(visit.text("q", 64), w, operator), {}, about

    async def _about(self, asked: str, w: Wanted, operator: bool) -> Wanted:
        """A number, an id of ours, one that an SMSC gave, or a sender: whichever it is."""
        if not asked:
            return w
        if asked.upper().startswith(ids.MESSAGE_PREFIX):
            id = asked.upper()
            return evolve(w, ids=(id, *await self._search.shown(id)))
        others = await self._search.by_other_id(asked) if operator else await self._search.shown(asked)
        if others:
            return evolve(w, ids=tuple(others))
        digits = asked.translate({ord(c): None for c in "+-() \u00a0"})
        if digits.isascii() and digits.isdigit():
            return evolve(w, dest=digits.removeprefix("00"))
        return evolve(w, sender=asked[:21])

    # --- one message

    async def message(self, visit: Visit) -> Answer:
        id = visit.places["id"]
        owner = await self._pages.owner_of(id)
        if owner is None or not _may_see(visit, *owner):
            raise Fault(404)
        found = await self._inspection.message(id)
        if found is None:
            raise Fault(404)
        operator = operates(visit)
        return self._shell.page(
            visit, "message.html", m=found, steps=story(found, visit._, operator), operator=operator, moment=moment,
            meaning=lambda code, refused: meaning(code, refused, visit._), price=Decimal(str(found["price"] or 0)),
            currency=found["currency"] or "USD", alphabet=_alphabet(found["data_coding"], visit),
            receipt=found["registered_delivery"], technical=_technical(found) if operator else [],
            rule=await self._rule(found.get("route") or "") if operator else None,
        )  # fmt: skip

    async def _rule(self, name: str) -> dict[str, Any] | None:
        """What a rule says now, in the configuration or in the database: its candidates, and what it matches. None where there is none."""
        route = next((r for r in self._settings().route if r.name == name), None)
        id = 0
        if route is None and name:
            stored = next((r for r in await self._rules.all() if r.name == name), None)
            route, id = (None, 0) if stored is None else (read_route(stored.table, None)[0], stored.route_id)
        if route is None:
            return None
        return {
            "id": id, "match": shown_route(route).get("match", {}), "to": route.to, "strategy": route.strategy, "weights": route.weights,
            "reject": route.reject, "next": route.next_after_receipt,
        }  # fmt: skip


def _alphabet(data_coding: int, visit: Visit) -> str:
    name = alphabet(data_coding)
    return visit._("8-bit data") if name == BINARY else _ALPHABETS.get(name, name)


def _technical(m: dict[str, Any]) -> list[tuple[str, str]]:
    """What the PDU said, by SMPP's names."""
    types = m["addr_types"]
    lines = [
        ("source_addr_ton/npi", f"{types >> 24 & 255}/{types >> 16 & 255}"), ("dest_addr_ton/npi", f"{types >> 8 & 255}/{types & 255}"),
        ("data_coding", f"0x{m['data_coding']:02X}"), ("esm_class", f"0x{m['esm_class']:02X}"), ("protocol_id", str(m["protocol_id"])),
        ("registered_delivery", str(m["registered_delivery"])),
    ]  # fmt: skip
    if m.get("service_type"):
        lines.append(("service_type", m["service_type"]))
    if m.get("udh"):
        lines.append(("udh", str(m["udh"]).removeprefix("\\x")))
    for tag, value in (m.get("tlvs") or {}).items():
        lines.append((tags.name(int(tag)) if str(tag).isdigit() else str(tag), str(value)))
    return lines


def operates(visit: Visit) -> bool:
    return scope_of(visit.who.role, Permission.CUSTOMERS_WRITE) is Scope.ALL


def of_campaign(w: Wanted, campaign: dict[str, Any]) -> Wanted:
    """Between the ids that its messages can have: those before and after are not walked."""
    since = ids.first_at(max(0, int((campaign["created"] - _SLACK).timestamp() * 1000)))
    after = w.after
    if campaign["completed"] is not None:
        end = ids.first_at(max(0, int((campaign["completed"] + _SLACK).timestamp() * 1000)))
        after = min(after, end) if after else end
    return evolve(w, campaign=campaign["pk"], since=max(w.since, since), after=after)


def _may_see(visit: Visit, user_id: int, customer_id: int) -> bool:
    reach = reach_of(visit)
    if reach.user_id is not None:
        return user_id == reach.user_id
    return reach.customer_id is None or customer_id == reach.customer_id


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
