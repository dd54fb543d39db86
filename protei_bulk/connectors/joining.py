"""Parts that ESMEs have made, put together for an SMSC that wants long messages in one PDU. Pure.

A part that is taken out of the lane waits beside it until the others are there: whoever asks the lane what waits, takes from it
or clears it finds it all the same. Each part stays a message of its own; what goes out stands for all of them (Message.joined).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from protei_bulk.model.message import Message
from protei_bulk.pacing.lanes import Lane
from protei_bulk.smpp import tags
from protei_bulk.text.canonical import Body
from protei_bulk.text.collector import PartCollector
from protei_bulk.text.joining import join

_SAR = (tags.SAR_MSG_REF_NUM, tags.SAR_TOTAL_SEGMENTS, tags.SAR_SEGMENT_SEQNUM)
_Key = tuple[str, str]  # of the long message, of the part


class Joiner:
    """`seconds` after its last part a message goes out as it is, and the oldest goes where more than `most` parts wait.

    `in_one(message)` says whether that fits into one PDU, in this SMSC's alphabet.
    """

    def __init__(self, lane: Lane, seconds: float, most: int, in_one: Callable[[Message], bool]) -> None:
        self._lane, self._in_one = lane, in_one
        self._collector: PartCollector[_Key] = PartCollector(seconds, most)
        self._twice: dict[str, list[str]] = {}  # parts that came once more, by their long message

    def fill(self, taken: list[Message], most: int, now: float) -> list[Message]:
        """What goes out now, up to `most`: `taken` out of the lane, and more from there in the place of parts that wait."""
        going: list[Message] = []
        while taken:
            for m in taken:
                if m.long is None or m.long.alone or (m.valid_until and m.valid_until <= now):
                    going.append(m)
                else:
                    going += self._add(m, now)
            taken = self._lane.take(most - len(going))
        for m in going[most:]:
            for part in m.joined or (m,):
                self._lane.give_back(part)
        return going[:most]

    def late(self, now: float) -> None:
        """What has waited too long for other parts goes back into the lane, to go out as it is."""
        for keys in self._collector.late(now):
            for m in self._alone(keys):
                self._lane.give_back(m)

    def _add(self, m: Message, now: float) -> list[Message]:
        part = m.long
        assert part is not None
        id = part.of.id
        step = self._collector.add(id, part.number, part.total, (id, m.id), m.body, now)
        self._lane.put_aside(m)
        if step.duplicate:
            self._twice.setdefault(id, []).append(m.id)
        going = [m for keys in step.given_back for m in self._alone(keys)]
        return going + self._together(step.complete) if step.complete else going

    def _together(self, keys: Sequence[_Key]) -> list[Message]:
        here = set(self._lane.aside)
        if all(id in here for _, id in keys):
            parts = self._fetch(keys)
            whole = joined(parts[: len(keys)], parts[len(keys) :])
            if whole is not None and self._in_one(whole):
                return [whole]
            return _by_themselves(parts)
        return self._alone(keys)  # one was taken back, say

    def _alone(self, keys: Sequence[_Key]) -> list[Message]:
        return _by_themselves(self._fetch(keys))

    def _fetch(self, keys: Sequence[_Key]) -> list[Message]:
        """Those of a message that wait, the doubled ones last."""
        ids = [id for _, id in keys] + self._twice.pop(keys[0][0], [])
        return [m for m in map(self._lane.fetch, ids) if m is not None]


def _by_themselves(parts: list[Message]) -> list[Message]:
    for m in parts:
        if m.long is not None:
            m.long.alone = True
    return parts


def joined(parts: Sequence[Message], doubled: Sequence[Message] = ()) -> Message | None:
    """One message for all parts, in their order; None where their texts cannot be laid together.

    Where the parts differ the first one counts, but that it is as urgent as the most urgent, valid as long as the shortest, and wants the
    receipts that any of them wants.
    """
    body = join([Body(m.data_coding, m.udh, m.body, m.text) for m in parts])
    if body is None:
        return None
    everything = (*parts, *doubled)
    whole = Message()
    for name in Message.__slots__:
        setattr(whole, name, getattr(parts[0], name))
    whole.id = min(m.id for m in everything)  # what waits here is not older than that
    whole.long, whole.origin, whole.joined = None, None, everything
    whole.data_coding, whole.udh, whole.body = body.data_coding, b"", body.octets
    whole.text = body.text if body.text is not None else "".join(m.text for m in parts)
    whole.segments, whole.parts, whole.part_results = len(parts), 0, None
    if whole.tlvs is not None:
        whole.tlvs = {tag: value for tag, value in whole.tlvs.items() if tag not in _SAR} or None
    whole.priority = max(m.priority for m in everything)
    whole.valid_until = min((m.valid_until for m in everything if m.valid_until), default=0.0)
    registered = 0
    for m in everything:
        registered |= m.registered
    whole.registered = registered
    return whole
