"""A store without a database, and the SMSC's connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from protei_bulk.inbound.inbox import Inbox
from protei_bulk.inbound.message import Mo
from protei_bulk.inbound.rules import MoRouter
from protei_bulk.model import ids
from protei_bulk.model.message import Message
from protei_bulk.settings import Inbound, MoRule, Smsc
from protei_bulk.smpp import commands, fast
from protei_bulk.store.batcher import Batcher

Row = dict[str, Any]


class Unavailable(Exception):
    """The database cannot be reached."""


class FakeLink:
    def __init__(self) -> None:
        self.alive = True
        self.acknowledged: list[int] = []
        self.refused: list[tuple[int, int]] = []

    def acknowledge(self, sequences: list[int]) -> None:
        self.acknowledged += sequences

    def refuse(self, sequence: int, status: int) -> None:
        self.refused.append((sequence, status))


class FakeStore:
    """`hold` keeps the answers back until `release`; `broken` fails them; `poison` is a text that cannot be stored."""

    def __init__(self) -> None:
        self.broken = self.hold = False
        self.poison = ""
        self.held: list[tuple[Deferred[Any], Any]] = []
        self.batches: list[list[Row]] = []
        self.finished: list[Row] = []
        self.complete: list[str] = []
        self.set_rows: list[tuple[Any, ...]] = []
        self.due_sets: list[list[str]] = []
        self.sure: list[str] = []
        self.calls: list[str] = []
        self.known: list[tuple[str, str, Message, str, int]] = []
        self.by_reference: list[tuple[str, str, str, int, str]] = []

    def _answer(self, name: str, result: Any) -> Deferred[Any]:
        self.calls.append(name)
        if self.broken:
            return fail(Unavailable(name))
        if self.hold:
            d: Deferred[Any] = Deferred()
            self.held.append((d, result))
            return d
        return succeed(result)

    def release(self) -> None:
        held, self.held = self.held, []
        for d, result in held:
            d.callback(result)

    def receive(self, rows: list[Row], parts: bool, seconds: float) -> Deferred[Row]:
        if self.poison and any(r.get("tx") == self.poison for r in rows):
            self.calls.append("receive")
            return fail(ValueError("will not have it"))
        if not self.broken:
            self.batches.append(rows)
        complete, self.complete = self.complete, []
        whole = [r for r in rows if "n" not in r]
        return self._answer("receive", {
            "fresh": len(rows), "users": sorted({7 for r in whole if "un" in r}), "calls": sum("w" in r for r in whole),
            "routed": sum("un" in r or "w" in r for r in whole), "unrouted": sum("un" not in r and "w" not in r for r in whole),
            "complete": complete,
        })  # fmt: skip

    def sets(self, ids: list[str]) -> Deferred[list[Any]]:
        return self._answer("sets", [r for r in self.set_rows if r[0] in ids])

    def finish(self, rows: list[Row]) -> Deferred[Row]:
        if self.poison and any(r.get("tx") == self.poison for r in rows):
            return fail(ValueError("will not have it"))
        if not self.broken:
            self.finished += rows
        return self._answer("finish", {"users": [7], "calls": 0, "routed": len(rows), "unrouted": 0})

    def due(self, seconds: float, parts: int, most: int) -> Deferred[list[str]]:
        return self._answer("due", self.due_sets.pop(0) if self.due_sets else [])

    def pending(self) -> Deferred[int]:
        return self._answer("pending", 3)

    def acknowledged(self, digests: list[str]) -> Deferred[int]:
        self.sure += digests
        return self._answer("acknowledged", len(digests))

    def forget(self) -> Deferred[int]:
        return self._answer("forget", 0)

    def answers(self) -> Deferred[bool]:
        return self._answer("answers", True)

    def partitions(self, days: int) -> Deferred[Any]:
        return self._answer(f"partitions {days}", None)

    def find_by_smsc_ids(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[Any]]:
        return self._answer("find", [k for k in self.known if (k[0], k[1]) in wanted])

    def senders_by_reference(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[Any]]:
        return self._answer("references", [k for k in self.by_reference if (k[0], k[1]) in wanted])


class World:
    def __init__(self, *rules: MoRule, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.store = FakeStore()
        self.woken: list[int] = []
        self.calls = 0
        maker = ids.IdMaker(self.clock.seconds, 1)

        def batches(run: Callable[[list[Any]], Deferred[Any]]) -> Batcher[Any]:
            return Batcher(run, reactor=self.clock)  # type: ignore[arg-type]

        self.inbox = Inbox(
            self.store, self.store, self.store, batches, MoRouter(rules), maker, self.clock, Inbound(**settings), 30,
            wake=self.woken.extend, wake_callbacks=self._called, payload=self._payload,
        )  # fmt: skip
        self.link = FakeLink()
        self.sequence = 0

    def _called(self) -> None:
        self.calls += 1

    @staticmethod
    def _payload(m: Mo) -> Row:
        return {"text": m.text}

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.clock.advance(0)

    def say(self, body: bytes = b"STOP", *, link: FakeLink | None = None, smsc: str = "A", source: str = "962790000001", esm_class: int = 0,
            coding: int = 0, tlvs: dict[int, bytes] | None = None, message_id: str = "text") -> int:  # fmt: skip
        """One deliver_sm; its number where it was taken, else the status that refused it, negative."""
        pdu = fast.encode_sm(
            commands.DELIVER_SM, 1, b"", 1, 1, source, 1, 1, "12345", esm_class, 0, 0, b"", b"", 0, 0, coding, 0, body[:254],
            fast.encode_tlvs(tlvs or {}),
        )  # fmt: skip
        self.sequence += 1
        settings = Smsc(smsc, "host", 1, message_id=message_id)
        status = self.inbox.receive(settings, fast.decode_sm(pdu, 16, len(pdu)), body, link or self.link, self.sequence)
        return -status if status else self.sequence
