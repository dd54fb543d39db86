"""Fair queueing: customers share what an SMSC takes by their weights, and within a customer its campaigns. Pure.

Self-clocked fair queueing (Golestani 1994): a message's finish tag is what the flow's
last one had, or the tag now being served where the flow was idle, plus segments over
weight; the smallest tag goes first. A backlogged flow gets its share within one
message, whatever the others do; a flow that was idle has saved up nothing.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator

from protei_bulk.model.message import Message


class _Flow:
    """The messages of one campaign, oldest first."""

    __slots__ = ("finish", "messages")

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()
        self.finish = 0.0  # tag of its first message


class FlowQueue:
    """Flows of equal weight, one a campaign."""

    __slots__ = ("_clock", "_count", "_flows", "_heap", "_order")

    def __init__(self) -> None:
        self._flows: dict[object, _Flow] = {}
        self._heap: list[tuple[float, int, object, _Flow]] = []
        self._clock = 0.0
        self._count = 0
        self._order = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Message]:
        for flow in self._flows.values():
            yield from flow.messages

    def add(self, m: Message) -> None:
        key = m.campaign_id
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = _Flow()
            flow.finish = self._clock + m.segments
            self._order += 1
            heapq.heappush(self._heap, (flow.finish, self._order, key, flow))
        flow.messages.append(m)
        self._count += 1

    def head(self) -> Message:
        """The message that `pop` would give. Raises IndexError where there is none."""
        return self._heap[0][3].messages[0]

    def pop(self) -> Message:
        """The next message. Raises IndexError where there is none."""
        finish, _, key, flow = self._heap[0]
        messages = flow.messages
        m = messages.popleft()
        self._count -= 1
        self._clock = finish
        if messages:
            flow.finish = finish + messages[0].segments
            self._order += 1
            heapq.heapreplace(self._heap, (flow.finish, self._order, key, flow))
        else:
            heapq.heappop(self._heap)
            del self._flows[key]
            if not self._flows:
                self._clock = 0.0
        return m

    def take_alone(self, most: int) -> list[Message]:
        """Where there is one flow only: its first messages, in one go."""
        flow = self._heap[0][3]
        messages = flow.messages
        if most >= len(messages):
            out = list(messages)
            self._flows.clear()
            self._heap.clear()
            self._clock = 0.0
        else:
            pop = messages.popleft
            out = [pop() for _ in range(most)]
        self._count -= len(out)
        return out

    @property
    def alone(self) -> bool:
        return len(self._flows) == 1


class FairQueue:
    """Customers by weight, then campaigns evenly. `weight(customer_id)` is above 0; it is asked for at each message's turn."""

    __slots__ = ("_clock", "_count", "_customers", "_heap", "_order", "_weight")

    def __init__(self, weight: Callable[[int], float]) -> None:
        self._weight = weight
        self._customers: dict[int, FlowQueue] = {}
        self._heap: list[tuple[float, int, int, FlowQueue]] = []
        self._clock = 0.0
        self._count = 0
        self._order = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Message]:
        for queue in self._customers.values():
            yield from queue

    def add(self, m: Message) -> None:
        """At the end of its campaign's messages."""
        customer = m.customer_id
        queue = self._customers.get(customer)
        if queue is None:
            queue = self._customers[customer] = FlowQueue()
            queue.add(m)
            self._order += 1
            heapq.heappush(self._heap, (self._clock + m.segments / self._weight(customer), self._order, customer, queue))
        else:
            queue.add(m)
        self._count += 1

    def pop(self) -> Message:
        """The next message. Raises IndexError where there is none."""
        finish, _, customer, queue = self._heap[0]
        m = queue.pop()
        self._count -= 1
        self._clock = finish
        if len(queue):
            self._order += 1
            tag = finish + queue.head().segments / self._weight(customer)
            heapq.heapreplace(self._heap, (tag, self._order, customer, queue))
        else:
            heapq.heappop(self._heap)
            del self._customers[customer]
            if not self._customers:
                self._clock = 0.0
        return m

    def take(self, most: int) -> list[Message]:
        """Up to `most` messages, removed."""
        if most <= 0 or not self._count:
            return []
        if len(self._customers) == 1:
            _, _, customer, queue = self._heap[0]
            if queue.alone:
                out = queue.take_alone(most)
                self._count -= len(out)
                if not self._count:
                    self._customers.clear()
                    self._heap.clear()
                    self._clock = 0.0
                return out
        pop = self.pop
        return [pop() for _ in range(min(most, self._count))]
