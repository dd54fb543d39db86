"""What comes back out of the queue table learns which other SMSCs it may go to: by its rule, as the rules are now."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from protei_bulk.connectors.backlog import Queue
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Router

log = Logger()


class WayQueue:
    """A Queue around another one. `accounts(user_ids)` fires with those that are there."""

    def __init__(self, queue: Queue, router: Router, accounts: Callable[[Collection[int]], Deferred[dict[int, Account]]]) -> None:
        self._queue, self._router, self._accounts = queue, router, accounts
        self.enqueue = queue.enqueue

    def claim(self, smsc_id: str, most: int) -> Deferred[list[Message]]:
        return self._queue.claim(smsc_id, most).addCallback(self._claimed)

    def _claimed(self, messages: list[Message]) -> Any:
        if not messages:
            return messages

        def known(accounts: dict[int, Account]) -> list[Message]:
            for m in messages:
                account = accounts.get(m.user_id)
                if account is None:
                    continue
                m.customer_id = account.customer_id
                found = self._router.recalled(m.route, account)
                m.candidates = found if m.smsc in found else (m.smsc, *found)
            return messages

        def unknown(failure: Any) -> Deferred[list[Message]]:
            # They are claimed, and can go where they waited for.
            log.warn("accounts of {n} messages: {why}", n=len(messages), why=failure.getErrorMessage())
            return succeed(messages)

        return self._accounts({m.user_id for m in messages}).addCallbacks(known, unknown)
