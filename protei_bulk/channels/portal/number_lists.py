"""What the pages of blacklist and opt-outs share: whose list, numbers as people write them, and files of them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from attrs import frozen

from protei_bulk.channels.portal.multipart import BadForm, Form, read_form
from protei_bulk.channels.portal.shell import Fault
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.permissions import Scope
from protei_bulk.store.pages_people import PeoplePages

T = TypeVar("T")
R = TypeVar("R")
C = TypeVar("C")

MOST = 100_000  # numbers of a file; longer ones are for the command line
CHUNK = 5_000  # numbers to a statement: the gateway turns between two
EXPORT, PAGE = 100_000, 5_000  # rows of an export, and of one statement of it
SHOWN = 20  # lines that were not understood
OCTETS = 4 * 1024**2
_LINE = re.compile(r"(?:\+|00)?([1-9][0-9]{0,17})(\*?)")


@frozen
class Found:
    """Numbers of a file, prefixes, and the lines that are neither: (line, text)."""

    numbers: list[int]
    prefixes: list[int]
    bad: list[tuple[int, str]]
    faults: int

    @property
    def count(self) -> int:
        return len(self.numbers) + len(self.prefixes)


def one_number(text: str, prefixes: bool) -> tuple[int, bool] | None:
    """(number, is_prefix) of digits, with * after those of a prefix; None where it is neither."""
    match = _LINE.fullmatch(re.sub(r"[\s().\-\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", text))
    if match is None or (match[2] and not prefixes) or (not match[2] and len(match[1]) < 3):
        return None
    return int(match[1]), bool(match[2])


def read_lines(text: str, prefixes: bool) -> Found:
    """A number a line; what follows a comma, semicolon or tab is left out. A first line of words is a heading."""
    numbers: dict[int, None] = {}
    heads: dict[int, None] = {}
    bad: list[tuple[int, str]] = []
    faults = 0
    for n, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        word = re.split(r"[,;\t]", line.strip(), maxsplit=1)[0].strip().strip("'\"")
        if not word or word.startswith("#"):
            continue
        found = one_number(word, prefixes)
        if found is not None:
            (heads if found[1] else numbers)[found[0]] = None
        elif n > 1 or any(c.isdigit() for c in word):
            faults += 1
            if len(bad) < SHOWN:
                bad.append((n, word[:60]))
    return Found(list(numbers), list(heads), bad, faults)


class Heavy(Protocol):
    """Runs what takes long in a thread, so that the gateway goes on meanwhile."""

    def __call__(self, work: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...


async def form_of(visit: Visit, heavy: Heavy, most: int = OCTETS) -> Form:
    """The form with a file that was sent. Raises Fault 413."""
    try:
        return await heavy(read_form, visit.request, most)
    except BadForm:
        raise Fault(413, visit._("That file is too long"), visit._("Take the command line for it.")) from None


async def all_rows(fetch: Callable[[C | None], Awaitable[list[R]]], cursor: Callable[[R], C]) -> list[R]:
    """EXPORT rows at most, of PAGE at a time: the gateway turns between two. `fetch` gives one more where there are more."""
    found: list[R] = []
    after: C | None = None
    while True:
        rows = await fetch(after)
        found += rows[:PAGE]
        if len(rows) <= PAGE or len(found) >= EXPORT:
            return found[:EXPORT]
        after = cursor(rows[PAGE - 1])


async def list_of(visit: Visit, reads: PeoplePages, everybody: bool) -> tuple[int | None, dict[str, Any]]:
    """Whose list the address asks for (None: all of them; 0: everybody's, where there is such a list), and what the choice of it shows."""
    if visit.scope is not Scope.ALL:
        if visit.text("customer", 20) not in ("", str(visit.who.customer_id)):
            raise Fault(404, visit._("There is no such customer"))
        return visit.who.customer_id, {"wide": False, "customers": [], "chosen": ""}
    customers = await reads.names()
    given = visit.text("customer", 20)
    wanted = visit.whole("customer", -1, high=2**62)
    if given and wanted == 0 and not everybody:
        given = ""
    if given and wanted > 0 and all(c[0] != wanted for c in customers):
        row = await reads.customer(wanted)
        if row is None:
            raise Fault(404, visit._("There is no such customer"))
        customers.append((row["id"], row["name"], row["currency"]))
    return (wanted if given and wanted >= 0 else None), {"wide": True, "customers": customers, "chosen": given}
