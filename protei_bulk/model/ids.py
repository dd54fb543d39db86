"""Time-ordered 60-bit identifiers, written as a prefix and 12 characters of base 32.

Layout, from the top: 40 bits of milliseconds since 2025-01-01 UTC (enough until
2059), 10 bits of node number, 10 bits of sequence. Twelve characters of Crockford's alphabet,
whose letters stand in ASCII order, so the text sorts (collation "C") as the number
does, and thus by time: tables are partitioned by day on the text itself.
"""

from __future__ import annotations

from collections.abc import Callable

EPOCH_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MESSAGE_PREFIX = "MSG-"
CAMPAIGN_PREFIX = "CAMP-"
MO_PREFIX = "MO-"
MAX_NODE = 1023

_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
_VALUES = {c: i for i, c in enumerate(ALPHABET)}


def encode(number: int) -> str:
    """Twelve base-32 characters for a number of 0 to 2^60-1."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in (50, 40, 30, 20, 10, 0)])


def decode(text: str) -> int:
    """The number behind twelve characters, with or without a prefix ending in ``-``.

    Raises ValueError where the text is no identifier.
    """
    digits = text.rpartition("-")[2]
    if len(digits) != 12:
        raise ValueError(f"not an identifier: {text!r}")
    number = 0
    try:
        for c in digits:
            number = number << 5 | _VALUES[c]
    except KeyError:
        raise ValueError(f"not an identifier: {text!r}") from None
    return number


def time_ms(text: str) -> int:
    """Unix time in milliseconds at which an identifier was made."""
    return (decode(text) >> 20) + EPOCH_MS


def node_of(text: str) -> int:
    """Number of the node that made an identifier."""
    return (decode(text) >> 10) & 1023


def mark(node: int) -> str:
    """The two characters by which a node's identifiers are told: the ninth and tenth of twelve."""
    return _PAIRS[node]


def first_at(unix_ms: int, prefix: str = MESSAGE_PREFIX) -> str:
    """The smallest identifier of a moment: the border between two partitions."""
    return prefix + encode(max(0, unix_ms - EPOCH_MS) << 20)


class IdMaker:
    """Makes identifiers that grow strictly, whatever the clock does.

    `now` gives Unix time in seconds. A clock that stands still or runs backwards
    makes the identifiers run ahead of it; more than 1,024 in a millisecond take
    the following milliseconds.
    """

    def __init__(self, now: Callable[[], float], node: int = 0) -> None:
        if not 0 <= node <= MAX_NODE:
            raise ValueError(f"node number {node} is not in 0..{MAX_NODE}")
        self._now = now
        self._node = node
        self._middle = _PAIRS[node]
        self._ms = 0
        self._head = ""
        self._sequence = 1023

    def _next(self) -> str:
        self._sequence += 1
        if self._sequence > 1023:
            self._ms = max(self._ms + 1, int(self._now() * 1000) - EPOCH_MS)
            self._sequence = 0
            ms = self._ms
            self._head = (
                _PAIRS[ms >> 30 & 1023] + _PAIRS[ms >> 20 & 1023]
                + _PAIRS[ms >> 10 & 1023] + _PAIRS[ms & 1023] + self._middle
            )  # fmt: skip
        return self._head + _PAIRS[self._sequence]

    def refresh(self) -> None:
        """Start the next identifier at the clock's time: call it once a turn, not once an id."""
        if int(self._now() * 1000) - EPOCH_MS > self._ms:
            self._sequence = 1023

    def message(self) -> str:
        return MESSAGE_PREFIX + self._next()

    def campaign(self) -> str:
        return CAMPAIGN_PREFIX + self._next()

    def mo(self) -> str:
        return MO_PREFIX + self._next()
