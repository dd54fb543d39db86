"""Rate decks: what a segment costs a customer, from when on. New prices are shown before they are set."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.money import READ, WRITE, customer_of, frame
from protei_bulk.channels.portal.multipart import Form
from protei_bulk.channels.portal.number_lists import Heavy, form_of
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Scope
from protei_bulk.routing.rate_sheet import Entry, SheetError, moment, read_sheet
from protei_bulk.store.decks import RateRows
from protei_bulk.store.pages_money import DeckEntry, MoneyPages
from protei_bulk.store.pages_people import PeoplePages

_PAGE, _EXPORT, _SHOWN = 100, 20_000, 100
_MOST = 20_000  # entries of a file that is shown before: longer ones are for the command line
_OCTETS = 4 * 1024**2
_DEFAULT = re.compile(r"default-([A-Z]{3})\Z")


@frozen
class Deck:
    """Of a customer `x`, or (None) the default one of `currency`."""

    x: dict[str, Any] | None
    currency: str

    @property
    def customer_id(self) -> int | None:
        return None if self.x is None else int(self.x["id"])

    @property
    def key(self) -> str:
        """As the address has it."""
        return f"default-{self.currency}" if self.x is None else str(self.x["id"])

    @property
    def zone(self) -> str:
        return "UTC" if self.x is None else str(self.x["timezone"])


class RatePages:
    def __init__(self, shell: Shell, rates: RateRows, reads: PeoplePages, money: MoneyPages, heavy: Heavy) -> None:
        self._shell, self._rates, self._reads, self._money, self._heavy = shell, rates, reads, money, heavy

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/money/rates", READ, self.show, Scope.CUSTOMER),
            Page("GET", "/money/rates.csv", READ, self.csv, Scope.CUSTOMER),
            Page("GET", "/money/rates/import", WRITE, self.ask, Scope.ALL),
            Page("POST", "/money/rates/import", WRITE, self.take, Scope.ALL),
            Page("POST", "/money/rates/delete", WRITE, self.delete, Scope.ALL),
            Page("POST", "/money/rates/undo", WRITE, self.undo, Scope.ALL),
        ]

    async def _deck(self, visit: Visit) -> Deck:
        default = _DEFAULT.match(visit.text("customer", 20))
        if default and visit.scope is Scope.ALL:
            return Deck(None, default[1])
        x = await customer_of(visit, self._reads)
        return Deck(x, x["currency"])

    async def _frame(self, visit: Visit, deck: Deck) -> dict[str, Any]:
        shown = await frame(visit, deck.x or {"id": 0, "name": "", "currency": ""}, self._reads)
        currencies = await self._money.currencies() if shown["wide"] else []
        if deck.x is None:
            shown["customers"] = [c for c in shown["customers"] if c[0]]
        return {**shown, "x": deck.x, "deck": deck, "currency": deck.currency, "currencies": sorted({*currencies, deck.currency})}

    # --- the list

    async def show(self, visit: Visit) -> Answer:
        deck = await self._deck(visit)
        rows = await self._found(visit, deck, _PAGE)
        page = Listing(visit, len(rows[:_PAGE]), _cursor(rows[_PAGE - 1]) if len(rows) > _PAGE else "")
        removed = visit.whole("removed", high=2**62) if visit.scope is Scope.ALL else 0
        gone = await self._money.removed(removed, deck.customer_id, visit.who.user_id) if removed else None
        return self._shell.page(
            visit, "rates.html", **await self._frame(visit, deck), rows=rows[:_PAGE], page=page, gone=gone, removed=removed
        )

    async def _found(self, visit: Visit, deck: Deck, most: int) -> list[DeckEntry]:
        number = "".join(c for c in visit.text("q", 40) if c.isascii() and c.isdigit())[:20]
        return list(
            await self._money.deck(deck.customer_id, deck.currency, number=number, after=_after(visit.text("after", 80)), most=most)
        )

    async def csv(self, visit: Visit) -> Answer:
        """In the form that an import takes."""
        deck = await self._deck(visit)
        rows = (await self._found(visit, deck, _EXPORT))[:_EXPORT]
        cells = ((r.mccmnc, r.prefix, "" if r.price is None else r.price, r.valid_from.isoformat() if r.valid_from else "") for r in rows)
        return await self._heavy(csv_answer, f"rates-{deck.key}", ("mccmnc", "prefix", "price", "valid_from"), cells)

    async def delete(self, visit: Visit) -> Answer:
        deck = await self._deck(visit)
        number = visit.whole("rate", high=2**62)
        gone = bool(number) and await self._rates.remove(number, customer_id=deck.customer_id, actor=actor_of(visit))
        if not gone:
            return self._shell.to(visit, f"/money/rates?customer={deck.key}", Flash("info", visit._("That entry was gone already.")))
        return self._shell.to(visit, f"/money/rates?customer={deck.key}&removed={number}")

    async def undo(self, visit: Visit) -> Answer:
        deck = await self._deck(visit)
        entry = await self._money.removed(visit.whole("rate", high=2**62), deck.customer_id, visit.who.user_id)
        if entry is None:
            told = Flash("info", visit._("That is too long ago, or there is another entry in its place."))
        else:
            await self._rates.put(deck.customer_id, deck.currency if deck.x is None else "", [entry], actor=actor_of(visit))
            told = Flash("good", visit._("The entry is back."))
        return self._shell.to(visit, f"/money/rates?customer={deck.key}", told)

    # --- new prices

    async def ask(self, visit: Visit) -> Answer:
        return await self._ask(visit, await self._deck(visit), Form())

    async def _ask(self, visit: Visit, deck: Deck, form: Form, problems: list[str] | None = None, text: str = "",
                   preview: dict[str, Any] | None = None, status: int = 200) -> Answer:  # fmt: skip
        return self._shell.page(
            visit, "rates_import.html", 422 if problems else status, **await self._frame(visit, deck), problems=problems or [], text=text,
            begin=form.text("begin", 40), whole=bool(form.text("whole", 5)), preview=preview,
        )  # fmt: skip

    async def take(self, visit: Visit) -> Answer:
        deck = await self._deck(visit)
        form = await form_of(visit, self._heavy, _OCTETS)
        text, step = form.content("text"), form.text("step", 10)
        if step == "change":
            return await self._ask(visit, deck, form, text=text)
        try:
            since = moment(form.text("begin", 40), deck.zone)
            if text.count("\n") > _MOST:
                raise SheetError([visit._("more than %(num)s entries: take the command line for them", num=_MOST)])
            entries = await self._heavy(read_sheet, text, since, deck.zone)
        except SheetError as error:
            return await self._ask(visit, deck, form, error.problems, text)
        except ValueError as error:
            return await self._ask(visit, deck, form, [str(error)], text)
        if step != "confirm":
            return await self._ask(visit, deck, form, None, text, await self._preview(deck, entries, bool(form.text("whole", 5))))
        currency = deck.currency if deck.x is None else ""
        count = await self._rates.put(
            deck.customer_id, currency, entries, whole=bool(form.text("whole", 5)), since=since, actor=actor_of(visit)
        )
        told = visit.ngettext("%(num)s entry is set, on all nodes.", "%(num)s entries are set, on all nodes.", count)
        return self._shell.to(visit, f"/money/rates?customer={deck.key}", Flash("good", told))

    async def _preview(self, deck: Deck, entries: list[Entry], whole: bool) -> dict[str, Any]:
        """What setting these entries does to what holds now."""
        now = await self._money.prices(deck.customer_id, deck.currency)
        rows = [{"mccmnc": m, "prefix": p, "price": price, "valid_from": v, "before": now.get((m, p))} for m, p, price, v in entries]
        given = {(m, p) for m, p, _, _ in entries}
        return {
            "rows": sorted(rows, key=lambda r: r["before"] == r["price"])[:_SHOWN],
            "all": len(rows),
            "new": sum(r["before"] is None and r["price"] is not None for r in rows),
            "changed": sum(None not in (r["before"], r["price"]) and r["before"] != r["price"] for r in rows),
            "ended": sum(r["before"] is not None and r["price"] is None for r in rows),
            "others": sum(price is not None and key not in given for key, price in now.items()) if whole else 0,
        }


def _cursor(e: DeckEntry) -> str:
    return f"{e.mccmnc}.{e.prefix}.{'-infinity' if e.valid_from is None else e.valid_from.astimezone(UTC).isoformat()}"


def _after(cursor: str) -> tuple[str, str, str] | None:
    network, _, rest = cursor.partition(".")
    prefix, _, begin = rest.partition(".")
    if not cursor or not all(t == "" or (t.isascii() and t.isdigit() and len(t) <= 20) for t in (network, prefix)):
        return None
    if begin != "-infinity":
        try:
            datetime.fromisoformat(begin)
        except ValueError:
            return None
    return network, prefix, begin
