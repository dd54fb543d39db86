from __future__ import annotations

import os
import sys
import threading

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from protei_bulk.access.threads import password_threads


class ThreadsTest(TestCase):
    async def test_they_let_others_go_first(self) -> None:
        from twisted.internet import reactor

        pool = password_threads()
        self.addCleanup(pool.stop)
        done: Deferred[int] = Deferred()

        def priority() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        pool.callInThreadWithCallback(
            lambda _, nice: reactor.callFromThread(done.callback, nice), priority  # type: ignore[attr-defined]
        )
        own = os.getpriority(os.PRIO_PROCESS, 0)
        self.assertEqual(min(19, own + 5) if sys.platform == "linux" else own, await done)
