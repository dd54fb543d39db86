"""query_sm, cancel_sm, replace_sm and replace_if_present, for any number of accounts at once, in batches.

What is answered "cancelled" or "replaced" is never sent as it was: see recall.py. Quota stays taken: it counts what is
submitted in a day. Money for what did not go out comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from protei_bulk.intake.recall import Held, Key, Recall
from protei_bulk.intake.recall import Store as RecallStore
from protei_bulk.model import lifecycle
from protei_bulk.model.account import Account
from protei_bulk.model.long import OWN_RECEIPT
from protei_bulk.model.message import Message, Origin
from protei_bulk.model.standing import Standing
from protei_bulk.smpp import statuses
from protei_bulk.smpp.errors import RejectPdu

log = Logger()


class Store(RecallStore, Protocol):
    def replace(self, row: dict[str, Any]) -> Deferred[str]: ...


class Takes(Protocol):
    """The intake."""

    def submit(self, account: Account, m: Message) -> None: ...


class Gathers(Protocol):
    def add(self, item: Any) -> None: ...

    def drained(self) -> Deferred[None]: ...


class Forwards(Protocol):
    """Asks SMSCs."""

    def may_cancel(self, smsc: str) -> bool: ...

    def cancel(self, user_id: int, standing: Standing) -> Deferred[bool]:
        """Whether the SMSC has cancelled it; told after what follows from that is committed."""


@define(eq=False)
class Cancel:
    """A cancel_sm. `id` is empty where all that matches is meant."""

    user_id: int
    id: str
    source: str
    dest: str
    service_type: str
    answer: Deferred[int] = field(factory=Deferred)

    def means(self, s: Standing) -> bool:
        if self.source and s.source != self.source:
            return False
        if self.dest and s.dest != self.dest:
            return False
        return bool(self.id) or not self.service_type or s.service_type == self.service_type


@define(eq=False)
class Query:
    user_id: int
    id: str
    answer: Deferred[list[Standing]] = field(factory=Deferred)


@define(eq=False)
class Replace:
    """A replace_sm. `rewrite` makes the new message out of the old one, or raises RejectPdu."""

    account: Account
    id: str
    source: str
    rewrite: Callable[[Message], Message]
    answer: Deferred[int] = field(factory=Deferred)


@define(eq=False)
class _Submission:
    account: Account
    message: Message

    @property
    def key(self) -> Key:
        return (self.account.user_id, self.message.source, self.message.dest)


class _Replacing:
    """The origin of a message that takes the place of an earlier one, or of none."""

    def __init__(self, operations: Operations, origin: Origin | None, held: Held | None) -> None:
        self._operations, self._origin, self._held = operations, origin, held
        self.done: Deferred[None] = Deferred()

    def answered(self, messages: list[Message]) -> None:
        d = Deferred.fromCoroutine(self._answered(messages))
        d.addErrback(lambda f: log.failure("after a replacing submit_sm", f))

    async def _answered(self, messages: list[Message]) -> None:
        recall = self._operations.recall
        try:
            if self._held is not None:
                if messages[0].refusal is None:
                    await recall.end([self._held])
                else:
                    await recall.give_back([self._held])
            if self._origin is not None:
                self._origin.answered(messages)
        finally:
            self.done.callback(None)


class Operations:
    """`day` is the day of an account's quota; `gather` makes a batcher around the
    function that works off a batch, with so many of them at a time.
    """

    def __init__(self, store: Store, recall: Recall, intake: Takes, forwards: Forwards, day: Callable[[Account], str],
                 gather: Callable[[Callable[[list[Any]], Deferred[None]], int], Gathers]) -> None:  # fmt: skip
        self._store, self.recall, self._intake, self._forwards, self._day = store, recall, intake, forwards, day
        self._queries = gather(lambda batch: self._run(self._query, batch), 2)
        self._cancels = gather(lambda batch: self._run(self._cancel, batch), 8)
        self._replaces = gather(lambda batch: self._run(self._replace, batch), 8)
        self._submissions = gather(lambda batch: self._run(self._submit, batch), 1)

    def query(self, user_id: int, id: str) -> Deferred[list[Standing]]:
        """The messages that an id stands for; none where it is not the account's. Fails where the database does."""
        item = Query(user_id, id)
        self._queries.add(item)
        return item.answer

    def cancel(self, item: Cancel) -> Deferred[int]:
        """The command_status of the answer."""
        self._cancels.add(item)
        return item.answer

    def replace(self, item: Replace) -> Deferred[int]:
        """The command_status of the answer."""
        self._replaces.add(item)
        return item.answer

    def submit(self, account: Account, m: Message) -> None:
        """A message that takes the place of the latest one of the same service_type, sender and recipient that still waits."""
        self._submissions.add(_Submission(account, m))

    def drained(self) -> Deferred[Any]:
        """Fires once everything asked so far is answered."""
        return DeferredList([g.drained() for g in (self._queries, self._cancels, self._replaces, self._submissions)])

    def _run(self, work: Callable[[list[Any]], Any], batch: list[Any]) -> Deferred[None]:
        return Deferred.fromCoroutine(work(batch))

    # --- query_sm

    async def _query(self, batch: list[Query]) -> None:
        try:
            found = await self._store.standings([(q.user_id, q.id) for q in batch])
        except Exception as error:
            for q in batch:
                q.answer.errback(error)
            return
        for q, standings in zip(batch, found, strict=True):
            q.answer.callback(standings)

    # --- cancel_sm

    async def _cancel(self, batch: list[Cancel]) -> None:
        try:
            meant = await self._meant(batch)
            held = await self.recall.hold({s.id: (c.user_id, s) for c, found in zip(batch, meant, strict=True) for s in found}.values())
            ended = await self.recall.end(held.values())
        except Exception as error:
            log.warn("cancelling: {why}", why=str(error))
            for c in batch:
                c.answer.callback(statuses.ESME_RSYSERR)
            return
        over = {id for id, status in ended.items() if status == lifecycle.DELETED}
        for c, found in zip(batch, meant, strict=True):
            left = [s for s in found if s.id not in over and s.status != lifecycle.DELETED]
            if not found or not c.id:
                none = statuses.ESME_RINVMSGID if c.id else statuses.ESME_RCANCELFAIL
                c.answer.callback(0 if any(s.id in over for s in found) else none)
            elif all(self._forwards.may_cancel(s.smsc) for s in left):
                Deferred.fromCoroutine(self._forward(c, left))  # an SMSC may take its time: nobody else waits for it
            else:
                c.answer.callback(statuses.ESME_RCANCELFAIL)

    async def _meant(self, batch: list[Cancel]) -> list[list[Standing]]:
        keys = {(c.user_id, c.source, c.dest) for c in batch if not c.id}
        by_key: dict[Key, list[str]] = {}
        for key, id in await self.recall.matching(keys) if keys else ():
            by_key.setdefault(key, []).append(id)
        meant: list[list[Standing]] = [[] for _ in batch]
        wanted = [
            (n, c.user_id, id) for n, c in enumerate(batch) for id in ([c.id] if c.id else by_key.get((c.user_id, c.source, c.dest), ()))
        ]
        if wanted:
            standings = await self._store.standings([w[1:] for w in wanted])
            for (n, _, _), found in zip(wanted, standings, strict=True):
                meant[n] += [s for s in found if batch[n].means(s)]
        return meant

    async def _forward(self, c: Cancel, left: list[Standing]) -> None:
        """SMSCs have these, or had them a moment ago."""
        status = 0
        try:
            for s in left:
                if s.status != lifecycle.SENT:
                    [now] = await self._store.standings([(c.user_id, s.id)])
                    s = next((n for n in now if n.id == s.id), s)
                if s.status != lifecycle.SENT or not await self._forwards.cancel(c.user_id, s):
                    status = statuses.ESME_RCANCELFAIL
        except Exception as error:
            log.warn("cancelling at an SMSC: {why}", why=str(error))
            status = statuses.ESME_RSYSERR
        c.answer.callback(status)

    # --- replace_sm

    async def _replace(self, batch: list[Replace]) -> None:
        for item in batch:
            try:
                status = await self._replaced(item)
            except RejectPdu as error:
                status = error.status
            except Exception as error:
                log.warn("replacing: {why}", why=str(error))
                status = statuses.ESME_RSYSERR
            item.answer.callback(status)

    async def _replaced(self, item: Replace) -> int:
        [found] = await self._store.standings([(item.account.user_id, item.id)])
        found = [s for s in found if not item.source or s.source == item.source]
        if not found:
            return statuses.ESME_RINVMSGID
        if len(found) > 1:
            return statuses.ESME_RREPLACEFAIL
        held = await self.recall.hold([(item.account.user_id, found[0])])
        if not held:
            return statuses.ESME_RREPLACEFAIL
        h = held[found[0].id]
        try:
            new = item.rewrite(h.message)
        except BaseException:
            await self.recall.give_back([h])
            raise
        return await self._changed(h, new, self._day(item.account))

    async def _changed(self, h: Held, new: Message, day: str) -> int:
        old = h.message
        price = Decimal(old.price) / old.segments * new.segments
        row: dict[str, Any] = {
            "i": old.id, "x": new.text, "b": new.body.hex() if new.binary else None, "s": new.segments, "p": str(price), "d": day,
            "r": new.registered | old.registered & OWN_RECEIPT, "v": new.valid_until or None,
            "w": new.not_before or (h.due_at if h.claimed else None),
        }  # fmt: skip
        answer = await self.recall.until_done("replacing", self._store.replace, row)
        if answer != "K":
            await self.recall.give_back([h])
            return statuses.ESME_RSUBMITFAIL if answer in "QB" else statuses.ESME_RREPLACEFAIL
        if row["w"] is not None:
            self.recall.forget([h])
            return 0
        old.text, old.body, old.binary, old.segments, old.price = new.text, new.body, new.binary, new.segments, price
        old.registered, old.valid_until, old.part_results = row["r"], new.valid_until, None
        await self.recall.into_lanes([h])
        return 0

    # --- replace_if_present

    async def _submit(self, batch: list[_Submission]) -> None:
        """Two of a kind go one after the other: the second replaces the first."""
        now: dict[Key, _Submission] = {}
        for item in batch:
            if item.key in now:
                self._submissions.add(item)
            else:
                now[item.key] = item
        try:
            earlier = await self._earlier(now)
        except Exception as error:  # without a database the intake will refuse them
            log.warn("looking for what is to be replaced: {why}", why=str(error))
            earlier = {}
        waiting = []
        for key, item in now.items():
            m = item.message
            m.origin = origin = _Replacing(self, m.origin, earlier.get(key))
            self._intake.submit(item.account, m)
            waiting.append(origin.done)
        await DeferredList(waiting)
        await self.recall.sleep(0.0)  # they are answered before they come into their lanes

    async def _earlier(self, wanted: dict[Key, _Submission]) -> dict[Key, Held]:
        found = await self.recall.matching(wanted)
        if not found:
            return {}
        latest: dict[Key, Standing] = {}
        standings = await self._store.standings([(key[0], id) for key, id in found])
        for (key, id), of_id in zip(found, standings, strict=True):
            for s in of_id:
                if s.id == id and s.waits and s.service_type == wanted[key].message.service_type:
                    latest[key] = s
        held = await self.recall.hold([(key[0], s) for key, s in latest.items()])
        return {key: held[s.id] for key, s in latest.items() if s.id in held}
