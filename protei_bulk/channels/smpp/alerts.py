"""alert_notification: an SMSC says that a mobile can be reached again, and the ESME that waits for it is told so.

There is no answer to one, so it is not kept: an ESME that is away misses it (SMPP 3.4 section 4.12).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from protei_bulk.channels.smpp.factory import SmppFactory
from protei_bulk.channels.smpp.session import EsmeSession
from protei_bulk.smpp.codec import Pdu, encode

log = Logger()


class Alerts:
    """`user_for(smsc, source, dest)` names the user that a message from a mobile would go to; "" where no rule says one."""

    def __init__(self, smpp: SmppFactory, user_for: Callable[[str, str, str], str]) -> None:
        self._smpp, self._user_for = smpp, user_for

    def take(self, smsc: str, pdu: Pdu) -> bool:
        """Whether an ESME got it: one bind of the user of the MO rule, else of the one user that has esme_addr as a sender id."""
        f = pdu.fields
        user = self._user_for(smsc, f["source_addr"], f["esme_addr"])
        able = [s for s in self._smpp.receivers() if s.tlvs and s.account is not None]  # 3.3 has no such PDU
        if user:
            able = [s for s in able if s.account is not None and s.account.username == user]
        else:
            able = [s for s in able if s.account is not None and f["esme_addr"] in s.account.allowed_sender_ids]
            if len({s.account.user_id for s in able if s.account is not None}) != 1:
                return False
        return bool(able) and self._send(able[0], pdu)

    @staticmethod
    def _send(session: EsmeSession, pdu: Pdu) -> bool:
        session.send(encode(Pdu(pdu.command_id, 0, session.next_sequence(), pdu.fields, pdu.tlvs)))
        return True
