"""What a session has to do by the clock: silence, peers that do not read, answers that do not come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.timers import Action, SessionTimers

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.session import EsmeSession

log = Logger()


class Watch:
    """Of one session; `tick` once a second."""

    def __init__(self, session: EsmeSession, now: float) -> None:
        s = session.factory.settings
        self._session = session
        self.timers = SessionTimers(s.enquire_link_interval, s.response_timeout, s.inactivity_timeout, s.bind_timeout, now)
        self._held = False

    def tick(self, now: float) -> None:
        s = self._session
        settings = s.factory.settings
        if s.flow.reasons:
            if s.flow.overdue(now, settings.write_timeout):
                log.info("{who} at {peer}: does not read what is written to it", who=s.system_id or "?", peer=s.remote[0])
                s.abort()
                return
            self.timers.seen(now)  # we do not read: its silence is ours, and so are answers that we have not seen
            self._held = True
        if s.binding.checking:
            return  # as is the time that a password takes
        action = self.timers.tick(now)
        if action is Action.ENQUIRE:
            s.send(fast.header(commands.ENQUIRE_LINK, 0, s.next_sequence()))
        elif action is not Action.OK:
            log.info("{who} at {peer}: {why}", who=s.system_id or "?", peer=s.remote[0], why=action.name)
            s.flush()
            s.abort()
            return
        if self._held:
            self._held = bool(s.flow.reasons)  # what has come meanwhile is read before the next time
            return
        late = s.deliveries.expired(now, settings.response_timeout)
        if late and s.account is not None:
            log.info("{who}: {n} deliver_sm without an answer", who=s.system_id, n=len(late))
            s.abort()
            s.factory.delivery.remove(s, s.account.user_id, late + s.deliveries.clear())
