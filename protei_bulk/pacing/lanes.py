"""What waits in memory for one SMSC: four priority classes, oldest first, and what came back. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

from protei_bulk.model.message import Message

CLASSES = 4
_SHARE = 10  # at least one of so many turns goes to a lower class: nobody starves


class Lane:
    """Messages in the order in which they shall be sent.

    A higher class goes first, except that every tenth message comes from the lowest
    class that waits. What a throttling SMSC sent back goes before everything else of
    its class, in the old order.
    """

    __slots__ = ("_classes", "_count", "_returned", "_turn")

    def __init__(self) -> None:
        self._classes: tuple[deque[Message], ...] = tuple(deque() for _ in range(CLASSES))
        self._returned: list[tuple[int, str, int, Message]] = []
        self._count = 0
        self._turn = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Message]:
        for item in self._returned:
            yield item[3]
        for queue in self._classes:
            yield from queue

    def add(self, message: Message) -> None:
        self._classes[message.priority].append(message)
        self._count += 1

    def give_back(self, message: Message) -> None:
        heapq.heappush(self._returned, (-message.priority, message.id, id(message), message))
        self._count += 1

    def take(self, most: int) -> list[Message]:
        """Up to `most` messages, removed."""
        out: list[Message] = []
        returned = self._returned
        while returned and len(out) < most:
            out.append(heapq.heappop(returned)[3])
        left = most - len(out)
        waiting = [q for q in reversed(self._classes) if q]
        if len(waiting) == 1:
            queue = waiting[0]
            if left >= len(queue):
                out.extend(queue)
                queue.clear()
            else:
                pop = queue.popleft
                out.extend([pop() for _ in range(left)])
        else:
            while left > 0 and waiting:
                self._turn += 1
                queue = waiting[-1] if self._turn % _SHARE == 0 else waiting[0]
                out.append(queue.popleft())
                left -= 1
                if not queue:
                    waiting.remove(queue)
        self._count -= len(out)
        return out

    def withdraw(self, ids: set[str]) -> list[Message]:
        """Messages of these ids, removed; walks over all that waits."""
        found: list[Message] = []
        found += [item[3] for item in self._returned if item[3].id in ids]
        if found:
            self._returned = [item for item in self._returned if item[3].id not in ids]
            heapq.heapify(self._returned)
        for queue in self._classes:
            hits = [m for m in queue if m.id in ids]
            if hits:
                left = [m for m in queue if m.id not in ids]
                queue.clear()
                queue.extend(left)
                found += hits
        self._count -= len(found)
        return found

    def clear(self) -> list[Message]:
        """Everything, removed, in order."""
        return self.take(self._count)
