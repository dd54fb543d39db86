"""Acknowledgements of SMEs: a mobile's answer to one message goes to the ESME that sent that message.

The message is named by receipted_message_id (the SMSC's id) or user_message_reference (the ESME's own number). What names none,
or one that no ESME sent, is routed as any message from a mobile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.inbound.entry import Batches, Clock, Entry
from protei_bulk.model import ids
from protei_bulk.model.message import Message
from protei_bulk.receipts.ids import FORMS, variants
from protei_bulk.settings import Smsc
from protei_bulk.smpp import tags

log = Logger()

#: delivery acknowledgement, manual or user acknowledgement, conversation abort, intermediate notification (SMPP 3.4 section 5.2.12)
DELIVERED, MANUAL, ABORT, INTERMEDIATE = 0x08, 0x10, 0x18, 0x20
TYPES = frozenset({DELIVERED, MANUAL, ABORT, INTERMEDIATE})
_LOOK_BACK_DAYS = 7
_AGAIN = 1.0  # seconds


def is_answer(esm_class: int, body: bytes) -> bool:
    """Whether a deliver_sm is an SME's answer. Some SMSCs send receipts as 0x08: those say id and stat."""
    kind = esm_class & 0x3C
    return kind in (MANUAL, ABORT) or (kind == DELIVERED and not (b"stat:" in body and b"id:" in body))


class Finds(Protocol):
    def find_by_smsc_ids(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[tuple[str, str, Message, str, int]]]: ...


class References(Protocol):
    def senders_by_reference(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[tuple[str, str, str, int, str]]]: ...


class Answers:
    """`onward(entry)` gets each once its sender is known, or known to be nobody."""

    def __init__(self, finds: Finds, references: References, batches: Batches, clock: Clock, onward: Callable[[Entry], object]) -> None:
        self._finds, self._references, self._clock, self._onward = finds, references, clock, onward
        self._batch = batches(lambda batch: Deferred.fromCoroutine(self._run(batch)))

    def add(self, entry: Entry, smsc: Smsc) -> None:
        self._batch.add((entry, smsc))

    def drained(self) -> Deferred[None]:
        return self._batch.drained()

    async def _run(self, batch: list[tuple[Entry, Smsc]]) -> None:
        """Once more after a second for those not found: what the SMSC took a moment ago may not be recorded yet."""
        await self._until_looked_up(batch)
        missing = [(entry, smsc) for entry, smsc in batch if not entry.mo.user_id and _names(entry)]
        if missing:
            await self._pause(_AGAIN)
            await self._until_looked_up(missing)
        for entry, _ in batch:
            self._onward(entry)

    async def _until_looked_up(self, batch: list[tuple[Entry, Smsc]]) -> None:
        attempt = 0
        while True:
            try:
                await self._look_up(batch)
                return
            except Exception as error:  # not acknowledged meanwhile, so the SMSC keeps them too
                attempt += 1
                if attempt <= 3 or attempt % 10 == 0:
                    log.warn("looking up {n} acknowledgements, attempt {a}: {why}", n=len(batch), a=attempt, why=str(error))
            await self._pause(min(5.0, 0.2 * attempt))

    def _pause(self, seconds: float) -> Deferred[None]:
        d: Deferred[None] = Deferred()
        self._clock.callLater(seconds, d.callback, None)
        return d

    async def _look_up(self, batch: list[tuple[Entry, Smsc]]) -> None:
        since = ids.first_at(int((self._clock.seconds() - _LOOK_BACK_DAYS * 86_400) * 1000))
        named = [(entry, smsc.id, _smsc_ids(entry, smsc)) for entry, smsc in batch]
        wanted = list(dict.fromkeys((smsc, id) for _, smsc, found in named for id in found))
        by_id: dict[tuple[str, str], Message] = {}
        if wanted:
            for smsc_id, id, message, _, _ in sorted(await self._finds.find_by_smsc_ids(wanted, since), key=lambda r: r[2].id):
                by_id[smsc_id, id] = message
        asked: list[tuple[Entry, str, str]] = []
        for entry, smsc_id, found in named:
            message_ = next((by_id[smsc_id, id] for id in found if (smsc_id, id) in by_id), None)
            if message_ is not None:
                _belongs(entry, message_.shown_id or message_.id, message_.user_id, message_.channel)
            elif tags.USER_MESSAGE_REFERENCE in entry.mo.tlvs:
                asked.append((entry, entry.mo.source, entry.mo.tlvs[tags.USER_MESSAGE_REFERENCE].hex()))
        if not asked:
            return
        rows: list[tuple[Any, ...]] = await self._references.senders_by_reference(list({(t, r) for _, t, r in asked}), since)
        by_reference = {(t, r): (id, user_id, channel) for t, r, id, user_id, channel in rows}
        for entry, t, r in asked:
            if (t, r) in by_reference:
                _belongs(entry, *by_reference[t, r])


def _names(entry: Entry) -> bool:
    return bool(entry.mo.tlvs.keys() & {tags.RECEIPTED_MESSAGE_ID, tags.USER_MESSAGE_REFERENCE})


def _smsc_ids(entry: Entry, smsc: Smsc) -> list[str]:
    """The SMSC's id of the message answered, as it may stand in our table; most likely first."""
    named = entry.mo.tlvs.get(tags.RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0][:64].decode("latin-1")
    if not named:
        return []
    id = FORMS[smsc.message_id][1](named)
    return [id, *variants(id)]


def _belongs(entry: Entry, message_id: str, user_id: int, channel: str) -> None:
    if channel != "SMPP":
        return
    entry.mo.user_id = user_id
    if tags.RECEIPTED_MESSAGE_ID in entry.mo.tlvs:  # the SMSC's id means nothing to the ESME
        entry.mo.tlvs[tags.RECEIPTED_MESSAGE_ID] = message_id.encode() + b"\0"
