"""The same text to the same recipient by the same account, within a window. Pure.

Two generations of hashed keys, each with the time it was taken: what was there is forgotten after the longest window asked for, or
when there is too much of it. A key that was forgotten too early lets a duplicate pass; none ever stops a message that is none, but
for equal 64-bit hashes. Kept by each node for itself, and lost with its process.
"""

from __future__ import annotations

from protei_bulk.model.message import Message
from protei_bulk.smpp import tags

_SAR = (tags.SAR_MSG_REF_NUM, tags.SAR_TOTAL_SEGMENTS, tags.SAR_SEGMENT_SEQNUM)


def key_of(user_id: int, m: Message) -> int:
    """Equal for messages that are the same. Parts of a long message differ by their reference and number."""
    tlvs = m.tlvs
    place = tuple(tlvs[tag] for tag in _SAR if tag in tlvs) if tlvs else ()
    return hash((user_id, m.dest, m.body, m.data_coding, m.udh, place))


class Duplicates:
    """At most `most` keys; half of them in each generation."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.most = most
        self._young: dict[int, float] = {}
        self._old: dict[int, float] = {}
        self._turned = 0.0
        self._longest = 0  # window of what is in the young generation
        self.early = 0  # generations that were forgotten before their time

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def take(self, key: int, window: int, now: float) -> bool:
        """Whether it is the first within `window` seconds; then it is remembered from now on."""
        young = self._young
        seen = young.get(key)
        if seen is None:
            seen = self._old.get(key)
        if seen is not None and now - seen < window:
            return False
        if window > self._longest:
            self._longest = window
        full = len(young) >= max(1, self.most // 2)
        if full or now - self._turned >= self._longest:
            self._turn(now, full)
        self._young[key] = now
        return True

    def forget(self, key: int) -> None:
        """It was not accepted after all."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def _turn(self, now: float, full: bool) -> None:
        if full and self._old and now - self._turned < self._longest:
            self.early += 1
        self._old, self._young, self._turned = self._young, {}, now
