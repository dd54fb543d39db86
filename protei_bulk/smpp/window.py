"""What was sent and not answered, by sequence number."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
MAX_SEQUENCE = 0x7FFFFFFF


class Window(Generic[T]):
    """At most `size` items outstanding: look at `free`, `put` lets in more.

    Sequence numbers run from 1 to 0x7FFFFFFF and again (SMPP 3.4 section 5.1.4).
    """

    __slots__ = ("_items", "_next", "size")

    def __init__(self, size: int, first: int = 1) -> None:
        self.size = size
        self._next = first
        self._items: dict[int, tuple[T, float]] = {}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def free(self) -> int:
        left = self.size - len(self._items)
        return left if left > 0 else 0

    def put(self, item: T, now: float) -> int:
        """The sequence_number under which the item goes out now."""
        number = self._next
        while number in self._items:  # a whole round without an answer
            number = number + 1 if number < MAX_SEQUENCE else 1
        self._next = number + 1 if number < MAX_SEQUENCE else 1
        self._items[number] = (item, now)
        return number

    @property
    def newest(self) -> int:
        """The sequence_number that was given out last; 0 before the first."""
        return self._next - 1

    def holds(self, sequence: int) -> bool:
        """Whether this one still waits for its answer."""
        return sequence in self._items

    def pop(self, sequence: int) -> T | None:
        """The item that an answer belongs to; None for an answer that nobody waits for."""
        found = self._items.pop(sequence, None)
        return None if found is None else found[0]

    def sent_at(self, sequence: int) -> float:
        """When the item that an answer belongs to went out; infinity where there is none."""
        found = self._items.get(sequence)
        return float("inf") if found is None else found[1]

    def expired(self, now: float, timeout: float) -> list[T]:
        """Removes and returns what has waited longer than `timeout` seconds."""
        late = []
        for number, (_, at) in self._items.items():
            if now - at <= timeout:
                break  # in the order of sending
            late.append(number)
        return [self._items.pop(n)[0] for n in late]

    def items(self) -> list[T]:
        return [item for item, _ in self._items.values()]

    def clear(self) -> list[T]:
        """Removes and returns everything, in the order of sending."""
        left = self.items()
        self._items.clear()
        return left
