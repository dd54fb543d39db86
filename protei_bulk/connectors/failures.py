"""What becomes of messages that an SMSC refuses, or does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from protei_bulk.connectors.verdicts import Verdict, verdict, verdicts
from protei_bulk.model import lifecycle, tried
from protei_bulk.model.message import Message
from protei_bulk.receipts.outcomes import Outcomes, Part, give_up, stale

if TYPE_CHECKING:
    from protei_bulk.connectors.connector import Connector

_MAX_ATTEMPTS = 8  # without an answer
_AT_ONCE = 2  # attempts without an answer after which a message goes again first; then it waits longer and longer
_VALIDITY = 48 * 3600.0
_MOST_REFUSALS = 32_000  # that are counted


class Failures:
    """Of one connector. `move(messages)` gives messages to their next candidates, and returns those that have none now."""

    def __init__(self, connector: Connector, outcomes: Outcomes, move: Callable[[list[Message]], list[Message]],
                 now: Callable[[], float], chance: Callable[[], float]) -> None:  # fmt: skip
        self._connector, self._outcomes, self._move, self._now, self._chance = connector, outcomes, move, now, chance
        self._verdicts = verdicts(connector.settings.errors)
        self.validity = _VALIDITY  # seconds that a message without an end of its own is tried

    def refused(self, entry: Message | Part, status: int) -> None:
        """An answer other than ESME_ROK."""
        c = self._connector
        m = entry.message if isinstance(entry, Part) else entry
        if isinstance(entry, Part) and stale(entry):
            return
        c.vitals.refused(status, self._now())
        what = verdict(status, self._verdicts)
        if what is Verdict.PAUSE:
            c.throttle(entry)
            return
        if what is Verdict.RETRY:
            c.vitals.temporary += 1
            c.health.bad(1)
        if isinstance(entry, Part):
            give_up(m)
            m.in_doubt = True  # the SMSC may have the other parts
        for part in m.joined or (m,):
            self._refused(part, what, status)

    def _refused(self, m: Message, what: Verdict, status: int) -> None:
        c = self._connector
        if what is Verdict.RETRY:
            self._try_again(m)
            return
        if what is Verdict.NEXT and not (m.in_doubt and self._connector.settings.outcome_unknown == "hold"):
            m.tried = tried.note(m.tried, c.id, "REJECTD", f"{status:03d}")
            m.refusals = min(m.refusals + 1, _MOST_REFUSALS)
            if not self._move([m]):
                return
        c.rejected += 1
        self._outcomes.failed(m, lifecycle.REJECTED, f"{status:03d}")

    def _try_again(self, m: Message) -> None:
        """Refused for a while: the next candidate, until each has refused it; then it waits, longer each time, while it is valid."""
        c, now = self._connector, self._now()
        s = c.settings
        if m.in_doubt and s.outcome_unknown == "hold":
            c.later([m], -1.0)
            return
        m.refusals = min(m.refusals + 1, _MOST_REFUSALS)
        if not m.valid_until:
            m.valid_until = now + self.validity
        rounds, left = divmod(m.refusals, max(1, len(m.candidates)))
        if left and not self._move([m]):
            return
        grown = s.retry_min * 2.0 ** min(max(0, rounds - 1), 30)
        due = min(s.retry_max, grown) * (0.75 + 0.5 * self._chance())
        if now + due >= m.valid_until:
            due = m.valid_until - now
        if due > 0:
            c.later([m], due)
        else:
            c.expired(m)

    def unanswered(self, late: list[Message | Part]) -> None:
        """No answer in time, on a bind that stands."""
        self._connector.vitals.unanswered += len(late)
        self._connector.vitals.note("submit_sm: no answer in time", self._now())
        self._connector.health.bad(len(late))
        self.unknown(late)

    def unknown(self, entries: list[Message | Part]) -> None:
        """Sent, no answer: the policy decides (design, promise 2)."""
        c = self._connector
        split: dict[str, Message] = {e.message.id: e.message for e in entries if isinstance(e, Part) and not stale(e)}
        for m in split.values():
            give_up(m)
        messages = [m for e in entries if not isinstance(e, Part) for m in e.joined or (e,)] + list(split.values())
        if not messages:
            return
        for m in messages:
            m.attempts += 1
            m.in_doubt = True
        if self._connector.settings.outcome_unknown == "hold":
            c.later(messages, -1.0)
            return
        later: dict[int, list[Message]] = {}
        for m in messages:
            if m.attempts <= _AT_ONCE:
                c.lane.give_back(m)
            elif m.attempts < _MAX_ATTEMPTS:
                later.setdefault(m.attempts, []).append(m)
            elif m.valid_until and m.valid_until <= self._now():
                c.expired(m)
            else:  # one that the SMSC never answers, or that ends its binds
                c.rejected += 1
                self._outcomes.failed(m, lifecycle.FAILED, "NOANSWER")
        for attempts, waiting in later.items():
            c.later(waiting, min(300.0, 2.0**attempts))
