"""Messages from mobiles: to whom they go, and how long parts are waited for."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen

from protei_bulk.settings.rules import Name, Number, Text, WebAddress, Whole, Word

Entries = tuple[Annotated[str, Text(1, 64)], ...]


@frozen
class Inbound:
    reassembly_seconds: Annotated[float, Number(1, 86_400)] = 300.0  # from the first part; then what is there goes out
    max_pending_parts: Annotated[int, Whole(1000, 100_000_000)] = 100_000  # in the database; with more, the oldest go out as they are


@frozen
class MoMatch:
    """What a message must be for its rule; an empty condition holds for all, an entry ending in * is a prefix."""

    smsc: Entries = ()
    dest: Entries = ()
    sender: Entries = ()
    keyword: tuple[Annotated[str, Word()], ...] = ()  # its first word


@frozen
class MoTarget:
    user: Annotated[str, Text(0, 100)] = ""
    url: Annotated[str, WebAddress()] = ""


@frozen
class MoRule:
    name: Annotated[str, Name()]
    to: MoTarget
    order: Annotated[int, Whole(None)] = 100
    match: MoMatch = MoMatch()
