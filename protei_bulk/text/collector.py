"""Parts of long messages, put together: in any order, each once, not for ever and not without bound.

Pure: time is an argument. What a part is, the caller knows; here it has a key (say account, source, destination, reference
and total), a number from 1, and octets by which a part that comes twice is told from another message under an old reference.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from attrs import frozen

from protei_bulk.text.segments import MAX_SEGMENTS

T = TypeVar("T")


@frozen
class Step(Generic[T]):
    """What came of one part: a complete message in the order of its numbers, a part known already, or neither yet.

    given_back: what will not be put together any more, each inner tuple the parts of one message by their numbers.
    """

    complete: tuple[T, ...] = ()
    duplicate: bool = False
    given_back: tuple[tuple[T, ...], ...] = ()


class _Set(Generic[T]):
    __slots__ = ("parts", "touched")

    def __init__(self) -> None:
        self.parts: dict[int, tuple[T, bytes]] = {}
        self.touched = 0.0

    def ordered(self) -> tuple[T, ...]:
        return tuple(self.parts[n][0] for n in sorted(self.parts))


class PartCollector(Generic[T]):
    """`seconds` after its last part a message is given up; `most` parts are held at once, or the oldest message goes.

    A part that comes again after its message was complete begins a new one: it may be the same beginning of another message
    under the same reference, and dropping it would lose that.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds, self.most = seconds, most
        self._sets: OrderedDict[Hashable, _Set[T]] = OrderedDict()  # the one whose last part is oldest comes first
        self._held = 0

    def __len__(self) -> int:
        """Parts held."""
        return self._held

    @property
    def next_deadline(self) -> float | None:
        """When `late` has something to give back; None while nothing waits."""
        first = next(iter(self._sets.values()), None)
        return None if first is None else first.touched + self.seconds

    def add(self, key: Hashable, number: int, total: int, part: T, octets: bytes, now: float) -> Step[T]:
        """Takes one part. A place that cannot be is given back at once."""
        if not 1 <= number <= total <= MAX_SEGMENTS:
            return Step(given_back=((part,),))
        back: list[tuple[T, ...]] = []
        found = self._sets.get(key)
        if found is not None and number in found.parts:
            if found.parts[number][1] == octets:
                return Step(duplicate=True)
            back.append(self._take(key))  # the reference is in use again: the message before it stays in pieces
            found = None
        if found is None:
            found = self._sets[key] = _Set()
        found.parts[number] = part, octets
        found.touched = now
        self._held += 1
        self._sets.move_to_end(key)
        if len(found.parts) == total:
            return Step(self._take(key), given_back=tuple(back))
        while self._held > self.most:
            back.append(self._take(next(iter(self._sets))))
        return Step(given_back=tuple(back))

    def late(self, now: float) -> list[tuple[T, ...]]:
        """What has waited too long: the parts of each message by their numbers."""
        back = []
        while self._sets and (now - next(iter(self._sets.values())).touched) >= self.seconds:
            back.append(self._take(next(iter(self._sets))))
        return back

    def clear(self) -> list[tuple[T, ...]]:
        """All that waits, as `late` gives it."""
        return [self._take(key) for key in list(self._sets)]

    def _take(self, key: Hashable) -> tuple[T, ...]:
        taken = self._sets.pop(key)
        self._held -= len(taken.parts)
        return taken.ordered()
