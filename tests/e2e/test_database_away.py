"""The database goes away under load, and takes the answers to its last statements along."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import load
from tests.support.gateway import PASSWORD, Gateway
from tests.support.proxy import DatabaseProxy

MESSAGES = 6000


class Away(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.addCleanup(self.gateway.stop)
        direct = self.gateway.dsn
        self.proxy = DatabaseProxy(direct)
        self.addCleanup(self.proxy.close)
        self.smsc = self.gateway.simulate("SMSC1")
        self.gateway.dsn = self.proxy.dsn
        self.gateway.accounts({"ahmad": ("--max-per-day", "0")})
        self.gateway.dsn = direct
        self.gateway.start()

    def test_a_stop_does_not_wait_for_it(self) -> None:
        self.proxy.cut()
        self.assertEqual(self.gateway.terminate(), -signal.SIGTERM)

    def test_each_message_is_accepted_sent_and_told_once(self) -> None:
        def away() -> None:
            self.proxy.deaf.set()
            time.sleep(0.1)
            self.proxy.cut()
            time.sleep(1.0)
            self.proxy.mend()

        outages: list[threading.Thread] = []

        def progress(acknowledged: int) -> None:
            if acknowledged > 1500 * (len(outages) + 1) and len(outages) < 3 and not any(t.is_alive() for t in outages):
                outages.append(threading.Thread(target=away, daemon=True))
                outages[-1].start()

        result = load(self.gateway.smpp_port, "ahmad", PASSWORD, messages=MESSAGES, registered=1, progress=progress)
        self.assertEqual((len(result.acknowledged), result.refused, len(outages)), (MESSAGES, 0, 3))
        self.assertEqual(self.gateway.query("SELECT status, count(*) FROM messages GROUP BY 1"), [("DELIVERED", MESSAGES)])
        self.assertEqual(self.gateway.query("SELECT sum(messages_sent) FROM tbl_quota_usage WHERE period_type = 'DAILY'"), [(MESSAGES,)])
        self.assertEqual(Counter(self.smsc.taken().values()), {1: MESSAGES})
        self.assertEqual(Counter(result.receipts), Counter(list(result.acknowledged)))
