"""Takes messages back that have not gone out yet, wherever they wait: in this node's lanes, in another's, or in the queue table.

What is held here cannot be sent by anybody: it is out of its lane, or its row in the queue table is claimed for us. Only
then may it be ended, and called cancelled, or changed and given back. A message that an SMSC may have
(`in_doubt`), or that is with one now, is never held. Another node is asked to put its message into the queue table.

While it is held in memory only, a message counts for the node's low-water mark: a crash brings it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from protei_bulk.model import lifecycle
from protei_bulk.model.message import Message
from protei_bulk.model.standing import IN_TABLE, Standing

log = Logger()
T = TypeVar("T")

CHANNEL = "protei_recall"
Key = tuple[int, str, str]  # user, sender, recipient

_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between looks, while a message is neither here nor there
_ASK_TIMEOUT = 2.0  # seconds until another node has answered
_ASK_MOST = 200  # ids or keys in one question: a NOTIFY holds 8000 octets
_AHEAD = 10.0  # seconds that a message which another node put into the table waits for whoever asked


class Store(Protocol):
    def standings(self, wanted: Sequence[tuple[int, str]]) -> Deferred[list[list[Standing]]]: ...

    def waiting(self, keys: Sequence[Key]) -> Deferred[list[tuple[Key, str]]]: ...

    def take(self, message_ids: Sequence[str]) -> Deferred[list[Message]]: ...

    def take_expired(self, most: int) -> Deferred[list[Message]]: ...

    def take_held(self, campaign: int, most: int) -> Deferred[list[Message]]: ...

    def release(self, message_ids: Sequence[str]) -> Deferred[int]: ...

    def end(self, rows: list[dict[str, Any]]) -> Deferred[dict[str, str]]: ...

    def other_nodes(self) -> Deferred[list[int]]: ...

    def tell(self, channel: str, payload: str) -> Deferred[Any]: ...


class Queue(Protocol):
    def enqueue(self, rows: list[dict[str, Any]]) -> Deferred[int]: ...


class Lanes(Protocol):
    """The connectors' memory."""

    @property
    def waiting(self) -> int:
        """How many messages."""

    def withdraw(self, ids: set[str]) -> list[Message]: ...

    def matching(self, keys: set[Key]) -> list[Message]: ...

    def give_back(self, messages: list[Message]) -> list[Message]:
        """Those that have no lane any more."""


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


def _stays(m: Message) -> bool:
    """An SMSC may have it, or it stands for several that go out as one."""
    return m.in_doubt or bool(m.joined)


class _Walk:
    """One walk over the lanes for all who ask within a moment: a microsecond for each message that waits, ten times what it takes."""

    def __init__(self, lanes: Lanes, clock: Clock, walk: Callable[[set[Any]], list[Message]], key: Callable[[Message], Any], *,
                 once: bool) -> None:  # fmt: skip
        self._lanes, self._clock, self._walk, self._key, self._once = lanes, clock, walk, key, once
        self._asked: list[tuple[set[Any], Deferred[list[Message]]]] = []

    def ask(self, wanted: set[Any]) -> Deferred[list[Message]]:
        """What is wanted and there; where `once`, the first who asks gets it."""
        d: Deferred[list[Message]] = Deferred()
        self._asked.append((wanted, d))
        if len(self._asked) == 1:
            self._clock.callLater(min(0.5, self._lanes.waiting * 1e-6), self._go)
        return d

    def _go(self) -> None:
        asked, self._asked = self._asked, []
        found = self._walk(set().union(*(wanted for wanted, _ in asked)))
        shares = []
        for wanted, d in asked:
            shares.append((d, [m for m in found if self._key(m) in wanted]))
            if self._once:
                found = [m for m in found if self._key(m) not in wanted]
        for d, share in shares:
            d.callback(share)


@frozen(eq=False)
class Held:
    """A message that nobody else can send. `claimed`: its row in the queue table is ours for the purpose."""

    message: Message
    claimed: bool
    due_at: float  # of that row, Unix seconds


class Recall:
    """`payload` makes the body of a callback; `told(users, callbacks)` is called once there are receipts for these users.

    `expired(message)` records that a message's validity has passed.
    """

    def __init__(self, store: Store, queue: Queue, lanes: Lanes, node: int, clock: Clock, payload: Callable[..., dict[str, Any]],
                 told: Callable[[set[int], bool], None], expired: Callable[[Message], None]) -> None:  # fmt: skip
        self._store, self._queue, self._lanes, self._node, self._clock = store, queue, lanes, node, clock
        self._payload, self._told, self._expired = payload, told, expired
        self._withdrawing = _Walk(lanes, clock, self._withdraw, lambda m: m.id, once=True)
        self._matching = _Walk(lanes, clock, lanes.matching, lambda m: (m.user_id, m.source, m.dest), once=False)
        self._held: dict[str, Message] = {}
        self._asked: dict[int, Deferred[bool]] = {}
        self._questions = 0

    def oldest(self) -> str | None:
        """The smallest id that is held in memory only."""
        return min((m.id for m in self._held.values() if not m.queued), default=None)

    # --- finding

    async def matching(self, keys: Iterable[Key]) -> list[tuple[Key, str]]:
        """Ids of what waits, by sender and recipient, as far as it is committed. Raises what the store raises."""
        wanted = list(keys)
        found = {(m.user_id, m.source, m.dest, m.id) for m in await self._matching.ask(set(wanted))}
        others = await self._store.other_nodes()
        if others:
            await DeferredList([Deferred.fromCoroutine(self._ask(node, "k", [list(k) for k in wanted])) for node in others])
        found.update((*key, id) for key, id in await self._store.waiting(wanted))
        return [((user, source, dest), id) for user, source, dest, id in sorted(found, key=lambda f: f[3])]

    # --- holding

    async def hold(self, wanted: Iterable[tuple[int, Standing]]) -> dict[str, Held]:
        """Of these (user, standing), by id, what could be held. Raises what the store raises, and then holds nothing."""
        left = {s.id: (user, s) for user, s in wanted if s.waits}
        held: dict[str, Held] = {}
        try:
            for wait in (*_WAITS, None):
                await self._round(left, held)
                for id in held:
                    left.pop(id, None)
                if not left or wait is None:
                    break
                await self.sleep(wait)
                now = await self._store.standings([(user, id) for id, (user, _) in left.items()])
                users = [user for user, _ in left.values()]
                left = {s.id: (u, s) for u, found in zip(users, now, strict=True) for s in found if s.id in left and s.waits}
                if not left:
                    break
        except BaseException:
            await self.give_back(held.values())
            raise
        return held

    def _withdraw(self, ids: set[str]) -> list[Message]:
        """What is out of the lanes counts as held from now on."""
        found = self._lanes.withdraw(ids)
        self._held.update((m.id, m) for m in found)
        return found

    async def _round(self, left: dict[str, tuple[int, Standing]], held: dict[str, Held]) -> None:
        mine = {id for id, (_, s) in left.items() if s.holder == self._node}
        found = await self._withdrawing.ask(mine) if mine else []
        for m in found:
            held[m.id] = Held(m, False, 0.0)
        doubtful = [held.pop(m.id) for m in found if _stays(m)]
        for h in doubtful:
            del left[h.message.id]
        await self.into_lanes(doubtful)
        table = [id for id, (_, s) in left.items() if s.holder == IN_TABLE]
        if table:
            for m in await self._store.take(table):
                self._held[m.id] = m
                held[m.id] = Held(m, True, left[m.id][1].due_at)
        elsewhere: dict[int, list[str]] = {}
        for id, (_, s) in left.items():
            if s.holder not in (IN_TABLE, self._node):
                elsewhere.setdefault(s.holder, []).append(id)
        for node, ids in elsewhere.items():
            if not await self._ask(node, "i", ids):
                for id in ids:  # that node is gone, and will have it back when it starts
                    del left[id]

    async def end(self, held: Iterable[Held]) -> dict[str, str]:
        """Ends messages that are held as DELETED: money back, receipts to those who asked. {id: status}, after the commit.

        One that the database will not end goes on as if nothing had happened.

        Comes back only when the database has said so, however long that takes.
        """
        held = list(held)
        messages = [h.message for h in held]
        if not messages:
            return {}
        stat = lifecycle.TO_RECEIPT[lifecycle.DELETED]
        rows, users, callbacks = [], set(), False
        for m in messages:
            row: dict[str, Any] = {"i": m.id, "z": lifecycle.DELETED, "d": stat}
            if m.long is not None and m.long.merged:
                row["g"] = m.long.of.id
                users.add(m.user_id)
            elif m.channel == "SMPP" and m.registered & 3 in (1, 2):
                row["o"] = True
                users.add(m.user_id)
            if m.dlr_url:
                row["w"], row["p"] = m.dlr_url, self._payload(m.id, m.dest, m.source, stat, None, m.created, None)
                callbacks = True
            rows.append(row)
        now = await self.until_done("ending", self._store.end, rows)
        self.forget(held)
        await self.give_back([h for h in held if now.get(h.message.id) not in lifecycle.FINAL])
        if users or callbacks:
            self._told(users, callbacks)
        return now

    async def give_back(self, held: Iterable[Held]) -> None:
        """As if nothing had happened."""
        held = list(held)
        claimed = [h.message.id for h in held if h.claimed]
        if claimed:
            await self.until_done("giving back", self._store.release, claimed)
        await self._into_lanes([h.message for h in held if not h.claimed])
        self.forget(held)

    async def into_lanes(self, held: Iterable[Held]) -> None:
        """Changed messages go on from memory."""
        held = list(held)
        await self._into_lanes([h.message for h in held])
        self.forget(held)

    def forget(self, held: Iterable[Held]) -> None:
        """They wait in the queue table, for anybody."""
        for h in held:
            self._held.pop(h.message.id, None)

    async def _into_lanes(self, messages: list[Message]) -> None:
        homeless = self._lanes.give_back(messages) if messages else []
        if homeless:
            await self._park(homeless, 0.0)

    async def _park(self, messages: list[Message], delay: float) -> None:
        now = self._clock.seconds()
        due = now + delay
        rows = [
            {"i": m.id, "q": m.smsc, "y": m.priority, "w": due, "a": m.attempts, "h": False, "b": m.in_doubt, "c": now} for m in messages
        ]
        await self.until_done("queueing", self._queue.enqueue, rows)

    async def end_held(self, campaign: int, most: int = 1000) -> int:
        """Ends what is held in the queue table for a campaign that was cancelled; how many it was."""
        messages = await self._store.take_held(campaign, most)
        await self.end([Held(m, True, 0.0) for m in messages])
        return len(messages)

    # --- validity

    async def expire(self) -> None:
        """Ends what waits in the queue table longer than it may: its SMSC may be away for days. Call it every so often."""
        for m in await self._store.take_expired(1000):
            self._expired(m)

    # --- other nodes

    async def _ask(self, node: int, kind: str, values: list[Any]) -> bool:
        """Another node puts messages into the queue table; whether it has said so in time."""
        for i in range(0, len(values), _ASK_MOST):
            self._questions += 1
            number = self._questions
            answer: Deferred[bool] = Deferred()
            self._asked[number] = answer
            timer = self._clock.callLater(_ASK_TIMEOUT, self._answered, number, False)
            question = {"t": node, "f": self._node, "r": number, kind: values[i : i + _ASK_MOST]}
            await self._store.tell(CHANNEL, orjson.dumps(question).decode())
            if not await answer:
                return False
            timer.cancel()
        return True

    def _answered(self, number: int, in_time: bool) -> None:
        answer = self._asked.pop(number, None)
        if answer is not None:
            answer.callback(in_time)

    def heard(self, payload: str) -> None:
        """A notification on CHANNEL; an empty one says that the connection stands anew."""
        if not payload:
            return  # a question that went past meanwhile is asked no more: whoever asked has not waited so long
        try:
            said = orjson.loads(payload)
            if said["t"] != self._node:
                return
            if "a" in said:
                self._answered(int(said["a"]), True)
                return
            d = Deferred.fromCoroutine(self._hand_over(said))
            d.addErrback(lambda f: log.warn("giving messages to another node: {why}", why=f.getErrorMessage()))
        except (ValueError, KeyError, TypeError) as error:
            log.warn("not understood on {channel}: {why}", channel=CHANNEL, why=str(error))

    async def _hand_over(self, said: dict[str, Any]) -> None:
        ids = set(said.get("i", ()))
        keys = {(int(k[0]), str(k[1]), str(k[2])) for k in said.get("k", ())}
        if keys:
            ids |= {m.id for m in await self._matching.ask(keys)}
        messages = await self._withdrawing.ask(ids) if ids else []
        await self.into_lanes([Held(m, False, 0.0) for m in messages if _stays(m)])
        going = [m for m in messages if not _stays(m)]
        if going:
            await self._park(going, _AHEAD)
            for m in going:
                self._held.pop(m.id, None)
        await self._store.tell(CHANNEL, orjson.dumps({"t": said["f"], "f": self._node, "a": said["r"]}).decode())

    # --- time

    async def until_done(self, what: str, f: Callable[[Any], Deferred[T]], argument: Any) -> T:
        """What must not be left half done: again until the database takes it. It may be done twice."""
        n = 0
        while True:
            try:
                return await f(argument)
            except Exception as error:
                n += 1
                if n <= 3 or n % 30 == 0:
                    log.warn("{what} recalled messages, attempt {n}: {why}", what=what, n=n, why=str(error))
                await self.sleep(1.0)

    async def sleep(self, seconds: float) -> None:
        d: Deferred[None] = Deferred()
        self._clock.callLater(seconds, d.callback, None)
        await d
