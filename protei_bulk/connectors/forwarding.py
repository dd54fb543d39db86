"""cancel_sm for messages that an SMSC has, under its own ids and over its own connector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.connectors.asking import NoAnswer, NotAsked, Refused
from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.rewriting import rewritten
from protei_bulk.model.message import Message
from protei_bulk.model.standing import Standing
from protei_bulk.receipts.ids import as_answered
from protei_bulk.receipts.matcher import DirectReceipt, Matcher
from protei_bulk.smpp import commands
from protei_bulk.smpp.codec import Pdu

log = Logger()


def cancel_sm(s: Standing, id: str, c: Connector) -> Pdu:
    """The request, with the addresses that the message went out under."""
    m = Message()
    m.source, m.dest = s.source, s.dest
    m.source_ton, m.source_npi, m.dest_ton, m.dest_npi = ((s.addr_types >> shift) & 255 for shift in (24, 16, 8, 0))
    rewrite = c.encoder.rewrites.get(s.route)
    a = rewritten(m, rewrite) if rewrite is not None else m
    types = (a.source_ton, a.source_npi, a.dest_ton, a.dest_npi)
    own = (c.settings.source_ton, c.settings.source_npi, c.settings.dest_ton, c.settings.dest_npi)
    source_ton, source_npi, dest_ton, dest_npi = (t if o < 0 else o for t, o in zip(types, own, strict=True))
    return Pdu(commands.CANCEL_SM, fields={
        "service_type": "", "message_id": id, "source_addr_ton": source_ton, "source_addr_npi": source_npi, "source_addr": a.source,
        "dest_addr_ton": dest_ton, "dest_addr_npi": dest_npi, "destination_addr": a.dest,
    })  # fmt: skip


class Forwarding:
    """`part_ids` finds the SMSC's ids of a message that was split here."""

    def __init__(self, fleet: Fleet, matcher: Matcher, part_ids: Callable[[str], Deferred[list[str]]]) -> None:
        self._fleet, self._matcher, self._part_ids = fleet, matcher, part_ids

    def may_cancel(self, smsc: str) -> bool:
        c = self._fleet.connectors.get(smsc)
        return c is not None and c.settings.forward_cancel

    def cancel(self, user_id: int, standing: Standing) -> Deferred[bool]:
        """Whether the SMSC has cancelled it, all parts of it; told once its being DELETED is committed."""
        return Deferred.fromCoroutine(self._cancel(standing))

    async def _cancel(self, s: Standing) -> bool:
        c = self._fleet.connectors.get(s.smsc)
        if c is None:
            return False
        ids = await self._part_ids(s.id) or [s.smsc_message_id]
        done: list[Deferred[Any]] = []
        for id in ids:
            try:
                await c.ask(cancel_sm(s, as_answered(c.settings.message_id, id), c))
            except (Refused, NoAnswer, NotAsked, ValueError) as error:
                log.info("{smsc}: {id} is not cancelled: {why}", smsc=s.smsc, id=s.id, why=str(error))
                return False
            receipt = DirectReceipt()
            # What its own receipt may say later changes nothing any more.
            self._matcher.receipt(s.smsc, id, "DELETED", "", receipt, 0)
            done.append(receipt.committed)
        for d in done:
            await d
        return True
