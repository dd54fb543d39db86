"""What the last life of this node left behind is brought in order before anything new comes."""

from __future__ import annotations

from twisted.logger import Logger

from protei_bulk.connectors.journal import SentJournal
from protei_bulk.store.answers import unrecorded
from protei_bulk.store.messages import Messages
from protei_bulk.store.pool import Database
from protei_bulk.store.receipts import Receipts

log = Logger()


async def recover(db: Database, messages: Messages, receipts: Receipts, journal: SentJournal, held_after_crash: list[str]) -> None:
    """What the last process of this node left behind. `held_after_crash`: SMSCs whose unanswered messages wait for a person then."""
    left = await unrecorded(db, journal.open())
    for i in range(0, len(left), 2000):
        rows, parts = [], []
        for id, smsc, smsc_id, part in left[i : i + 2000]:
            total = journal.totals.get(id)
            if part:
                parts.append({"i": id, "n": part, "q": smsc, "x": smsc_id, "z": "SENT", **({"t": total} if total else {})})
            else:
                if total:
                    parts.append({"i": id, "n": 0, "t": total})
                rows.append({"i": id, "z": "SENT", "q": smsc, "x": smsc_id})
        await messages.advance(rows, 0, None, [], [], [r["i"] for r in rows], parts)
    # One of whose parts some are missing goes out again as a whole.
    split = list({id for id, _, _, part in left if part})
    for i in range(0, len(split), 2000):
        whole = await messages.wholly_taken(split[i : i + 2000])
        rows = [{"i": id, "z": "SENT", "q": smsc, "x": smsc_id} for id, smsc, smsc_id in whole]
        await messages.advance(rows, 0, None, [], [], [r["i"] for r in rows], [])
    journal.recovered()
    hold = held_after_crash if journal.unclean else []
    if journal.unclean:
        await messages.doubt()
    [(queued, passed_on)] = await messages.recover(hold)
    await receipts.release_all()
    if left or queued or passed_on:
        log.warn("recovered: {s} answers of SMSCs, {q} messages to send, {r} receipts to pass on", s=len(left), q=queued, r=passed_on)
