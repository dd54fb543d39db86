"""What waits in memory for one SMSC: four priority classes, fair within each, and what came back. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from protei_bulk.model.message import Message
from protei_bulk.pacing.fair import FairQueue

CLASSES = 4
_SHARE = 10  # one of so many turns goes to the lower classes, in rotation: nobody starves


class _Class:
    """One priority: what came back goes before everything else, in the old order."""

    __slots__ = ("fair", "returned")

    def __init__(self, weight: Callable[[int], float]) -> None:
        self.fair = FairQueue(weight)
        self.returned: list[tuple[str, int, Message]] = []

    def __len__(self) -> int:
        return len(self.fair) + len(self.returned)

    def __iter__(self) -> Iterator[Message]:
        for item in self.returned:
            yield item[2]
        yield from self.fair

    def take(self, most: int) -> list[Message]:
        returned = self.returned
        if not returned:
            return self.fair.take(most)
        out = [heapq.heappop(returned)[2] for _ in range(min(most, len(returned)))]
        return out + self.fair.take(most - len(out))


class Lane:
    """Messages in the order in which they shall be sent.

    A higher class goes first, except that every tenth message comes from the lower
    classes that wait, in rotation. Within a class customers share by `weight(customer_id)` and their
    campaigns evenly; what a throttling SMSC sent back goes first. What is put aside waits for something else:
    `take` leaves it, all others see it.
    """

    __slots__ = ("_classes", "_count", "_turn", "aside")

    def __init__(self, weight: Callable[[int], float] = lambda _: 1.0) -> None:
        self._classes: tuple[_Class, ...] = tuple(_Class(weight) for _ in range(CLASSES))
        self._count = 0
        self._turn = 0
        self.aside: dict[str, Message] = {}

    def __len__(self) -> int:
        return self._count + len(self.aside)

    def __iter__(self) -> Iterator[Message]:
        yield from self.aside.values()
        for queue in self._classes:
            yield from queue

    @property
    def by_priority(self) -> list[int]:
        """How many wait in each class, the lowest first; without what is put aside."""
        return [len(queue) for queue in self._classes]

    def add(self, message: Message) -> None:
        self._classes[message.priority].fair.add(message)
        self._count += 1

    def give_back(self, message: Message) -> None:
        heapq.heappush(self._classes[message.priority].returned, (message.id, id(message), message))
        self._count += 1

    def put_aside(self, message: Message) -> None:
        self.aside[message.id] = message

    def fetch(self, id: str) -> Message | None:
        """One that was put aside, removed; None where somebody else has taken it."""
        return self.aside.pop(id, None)

    def take(self, most: int) -> list[Message]:
        """Up to `most` messages, removed."""
        waiting = [q for q in reversed(self._classes) if len(q)]
        if not waiting or most <= 0:
            return []
        if len(waiting) == 1:
            out = waiting[0].take(most)
            self._count -= len(out)
            return out
        out = []
        while len(out) < most and waiting:
            until_lower = _SHARE - 1 - self._turn % _SHARE
            if until_lower or len(waiting) == 1:
                queue, n = waiting[0], min(until_lower or 1, most - len(out))
            else:
                queue, n = waiting[1 + self._turn // _SHARE % (len(waiting) - 1)], 1
            got = queue.take(n)
            self._turn += len(got)
            out += got
            if not len(queue):
                waiting.remove(queue)
        self._count -= len(out)
        return out

    def withdraw(self, ids: set[str]) -> list[Message]:
        """Messages of these ids, removed; walks over all that waits."""
        found = [self.aside.pop(id) for id in ids & self.aside.keys()] if self.aside else []
        aside = len(found)
        for queue in self._classes:
            hits = [m for m in queue if m.id in ids]
            if not hits:
                continue
            found += hits
            if any(item[2].id in ids for item in queue.returned):
                queue.returned = [item for item in queue.returned if item[2].id not in ids]
                heapq.heapify(queue.returned)
            for m in queue.fair.take(len(queue.fair)):
                if m.id not in ids:
                    queue.fair.add(m)
        self._count -= len(found) - aside
        return found

    def clear(self) -> list[Message]:
        """Everything, removed, the most urgent first."""
        out = [m for queue in reversed(self._classes) for m in queue.take(len(queue))]
        out += self.aside.values()
        self.aside.clear()
        self._count = 0
        return out
