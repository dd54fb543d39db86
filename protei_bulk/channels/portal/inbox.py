"""What mobiles have sent: the list, one message, and what was said with one number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.periods import moment_of, period_of
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.story import moment
from protei_bulk.channels.portal.visit import Listing, Visit
from protei_bulk.guards.keywords import Keywords
from protei_bulk.model import ids
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.settings import Settings
from protei_bulk.smpp import statuses
from protei_bulk.store import pages_messages as messages
from protei_bulk.store.pages_inbox import InboxReads, Wanted
from protei_bulk.store.pages_messages import MessageSearch
from protei_bulk.store.walking import Found

_PAGE, _EXPORT = 50, 10_000
_EXPORT_STRETCHES = 25
_THREAD = 40  # of each direction on one page of a conversation
STATES = ("ROUTED", "DELIVERED", "REFUSED", "PARKED", "UNROUTED")


class Inbox:
    def __init__(self, shell: Shell, reads: InboxReads, sent: MessageSearch, settings: Callable[[], Settings]) -> None:
        self._shell, self._reads, self._sent, self._settings = shell, reads, sent, settings

    def pages(self) -> list[Page]:
        seen = Permission.ANALYTICS  # its scope says whose traffic
        return [
            Page("GET", "/inbox", seen, self.show),
            Page("GET", "/inbox.csv", seen, self.csv),
            Page("GET", "/inbox/{id}", seen, self.message),
            Page("GET", "/inbox/with/{number}", seen, self.conversation),
        ]

    def _meaning(self) -> Callable[[str | None], bool | None]:
        """Of a text: whether its writer wants to be left alone, or to hear again."""
        guards = self._settings().guards
        return Keywords(guards.stop_words, guards.start_words).read

    # --- the list

    async def show(self, visit: Visit) -> Answer:
        wanted, errors = self._wanted(visit)
        found = Found([]) if errors else await self._reads.page(wanted, _PAGE)
        listing = Listing(visit, len(found.rows), str(found.next) if found.full else "")
        searched = any(visit.text(name) for name in ("q", "status", "from", "to"))
        return self._shell.page(
            visit, "inbox.html", 422 if errors else 200, rows=found.rows, page=listing, states=STATES, errors=errors, searched=searched,
            wide=visit.scope is not Scope.OWN, all=visit.scope is Scope.ALL, further="" if found.full else found.next,
            reached=moment_of(str(found.next)), wish=self._meaning(),
        )  # fmt: skip

    async def csv(self, visit: Visit) -> Answer:
        wanted, errors = self._wanted(visit)
        found = Found([]) if errors else await self._reads.many(wanted, _EXPORT, _EXPORT_STRETCHES)
        names = ("id", "received", "source", "dest", "text", "status", "username", "url", "parts", "missing", "error", "delivered")
        return csv_answer("inbox", names, ([_plain(r[n]) for n in names] for r in found.rows))

    @staticmethod
    def _wanted(visit: Visit) -> tuple[Wanted, dict[str, str]]:
        period, asked, status = period_of(visit), visit.text("q", 160), visit.text("status", 20)
        after, end = visit.text("after", 64), period.end_id(ids.MO_PREFIX)
        number = _number(asked)
        id = asked.upper() if asked.upper().startswith(ids.MO_PREFIX) else ""
        wanted = Wanted(
            number=number, text="" if id else asked, id=id, status=status if status in STATES else "",
            after=min(after, end) if after and end else after or end, since=period.first_id(ids.MO_PREFIX), reach=reach_of(visit),
        )  # fmt: skip
        return wanted, period.errors

    # --- one message

    async def message(self, visit: Visit) -> Answer:
        m = await self._reads.one(visit.places["id"])
        if m is None or not await self._may_see(visit, m["user_id"]):
            raise Fault(404)
        wish = m["opt_out"] if m["opt_out"] is not None else self._meaning()(m["message_text"])
        error = m["error_code"] or ""
        said = statuses.name(int(error)) if error.isascii() and error.isdigit() and len(error) < 10 else error
        return self._shell.page(
            visit, "inbox_message.html", m=m, moment=moment, wish=wish, recorded=m["opt_out"] is not None, said=said,
            all=visit.scope is Scope.ALL,
        )  # fmt: skip

    async def _may_see(self, visit: Visit, user_id: int | None) -> bool:
        reach = reach_of(visit)
        if reach.user_id is not None:
            return user_id == reach.user_id
        if reach.customer_id is not None:
            return user_id is not None and await self._reads.customer_of(user_id) == reach.customer_id
        return True

    # --- a conversation

    async def conversation(self, visit: Visit) -> Answer:
        """Both directions, the newest last. Each goes back as far as one look reaches, and both only as far as the nearer of them."""
        number, reach, before = visit.places["number"][:21], reach_of(visit), _moment(visit.text("after", 20))
        if not number.strip():
            raise Fault(404)
        mo, mt = ((ids.first_at(before, prefix) if before else "") for prefix in (ids.MO_PREFIX, ids.MESSAGE_PREFIX))
        heard = await self._reads.page(Wanted(source=number, after=mo, reach=reach), _THREAD)
        said = await self._sent.page(messages.Wanted(dest=number, after=mt, reach=reach), _THREAD, messages.SAID)
        ends = [moment_of(str(f.next)) for f in (heard, said) if f.next]
        edge = max((e for e in ends if e is not None), default=None)
        lines = [{**r, "at": r["received"], "out": False} for r in heard.rows]
        lines += [{**r, "at": r["submitted"], "out": True} for r in said.rows]
        if edge is not None:
            lines = [line for line in lines if (moment_of(line["id"]) or 0) >= edge]
        lines.sort(key=lambda line: line["id"].rpartition("-")[2])
        further = "" if edge is None else str(int(edge * 1000))
        return self._shell.page(
            visit, "inbox_with.html", number=number, lines=lines, wish=self._meaning(), further=further, reached=edge,
            page=Listing(visit, len(lines)), wide=visit.scope is not Scope.OWN, day=lambda at: at.astimezone(visit.zone).date(),
        )  # fmt: skip


def _number(asked: str) -> str:
    """Digits, where nothing but a number was asked for."""
    digits = asked.translate({ord(c): None for c in "+-() \u00a0"})
    return digits.removeprefix("00")[:21] if digits.isascii() and digits.isdigit() else ""


def _moment(given: str) -> int:
    """Milliseconds since 1970 that an id can have; else 0."""
    ms = int(given) if given.isascii() and given.isdigit() else 0
    return ms if ids.EPOCH_MS <= ms < ids.EPOCH_MS + 2**40 else 0


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat(timespec="seconds") if isinstance(value, datetime) else value
