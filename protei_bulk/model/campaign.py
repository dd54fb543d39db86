"""A campaign that is made together with its first messages."""

from __future__ import annotations

from typing import Any


class Campaign:
    """`row` is what the store takes; `stored` once that is committed: until then each batch with messages of it brings it along."""

    __slots__ = ("id", "public_id", "row", "stored")

    def __init__(self, id: int, public_id: str, row: dict[str, Any]) -> None:
        self.id = id  # campaigns.id
        self.public_id = public_id  # "CAMP-…"
        self.row = row
        self.stored = False
