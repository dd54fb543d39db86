"""Which of the answers that the sent journal holds are news to the database."""

from __future__ import annotations

from collections.abc import Sequence

from protei_bulk.model import tried
from protei_bulk.store.messages import Runs

Answer = tuple[str, str, str, int]  # message, SMSC, the SMSC's id of it, part (0: a whole one)
_AT_ONCE = 2000


async def unrecorded(db: Runs, answers: Sequence[Answer]) -> list[Answer]:
    """Of each message those of the SMSC that took it last, without what is recorded, and without what was taken in vain.

    A message that waits for its next SMSC, or is with it, must not be called sent by the one before.
    """
    last = {id: smsc for id, smsc, _, _ in answers}
    newest = {(id, part): (id, smsc, x, part) for id, smsc, x, part in answers if last[id] == smsc}
    ids = list(last)
    known: dict[str, tuple[str, str, frozenset[str]]] = {}
    for i in range(0, len(ids), _AT_ONCE):
        rows = await db.query(
            "SELECT message_id, COALESCE(smsc_id, ''), COALESCE(smpp_msg_id, ''), COALESCE(tried, '') FROM messages"
            " WHERE message_id = ANY (%s)",
            (ids[i : i + _AT_ONCE],),
        )
        known.update((id, (smsc, x, tried.smscs(words))) for id, smsc, x, words in rows)
    found = []
    for id, smsc, x, part in newest.values():
        now, recorded, vain = known.get(id, ("", "", frozenset()))
        if smsc in vain or (not part and (smsc, x) == (now, recorded)):
            continue
        found.append((id, smsc, x, part))
    return found
