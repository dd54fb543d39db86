"""Receipts of an SMSC that sends them early, twice, or to a gateway that has been killed meanwhile."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast
from tests.support.esme import Esme, load
from tests.support.gateway import PASSWORD, Gateway, eventually


class Receipts(SynchronousTestCase):
    def started(self, *options: str) -> Gateway:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1", *options)
        gateway.accounts({"ahmad": ()})
        gateway.start()
        return gateway

    def esme(self, gateway: Gateway) -> Esme:
        esme = Esme(gateway.smpp_port)
        self.addCleanup(esme.socket.close)
        self.assertEqual(esme.bind("ahmad", PASSWORD), 0)
        return esme

    def next_id(self, esme: Esme) -> str:
        _, _, _, body = esme.wait(commands.DELIVER_SM)
        self.assertIn(b"stat:DELIVRD", body)
        return (fast.decode_sm(body, 0, len(body))[17] or {})[0x001E].rstrip(b"\0").decode()

    def test_early_ones_and_those_that_come_twice_are_told_once(self) -> None:
        gateway = self.started("--receipt-first", "50", "--duplicate", "30")
        result = load(gateway.smpp_port, "ahmad", PASSWORD, messages=1000, registered=1)
        self.assertEqual((len(result.acknowledged), result.refused), (1000, 0))
        told = Counter(result.receipts)
        esme = self.esme(gateway)
        while len(told) < 1000:
            told[self.next_id(esme)] += 1
        sql = "SELECT count(*) FROM messages WHERE dlr_status = 'DELIVRD'"
        eventually(lambda: gateway.query(sql) == [(1000,)], "all delivered", 20)
        # What would come twice comes before the answer to this.
        last = esme.submitted("962799999999", registered=1)[1]
        while (found := self.next_id(esme)) != last:
            told[found] += 1
        self.assertEqual(told, Counter(list(result.acknowledged)))

    def test_long_messages_after_a_crash(self) -> None:
        gateway = self.started("--delay", "0.4")
        with self.esme(gateway) as esme:
            sent = [esme.submitted(f"96278800000{i}", b"Long " * 80, registered=1)[1] for i in range(4)]
            sql = "SELECT count(*) FROM messages WHERE status = 'SENT' AND segments = 3"
            eventually(lambda: gateway.query(sql) == [(4,)], "all sent", 20)
            gateway.kill9()
        gateway.restart()
        esme = self.esme(gateway)
        self.assertEqual(Counter(self.next_id(esme) for _ in sent), Counter(sent))
        states = gateway.query("SELECT status, count(*) FROM messages GROUP BY status")
        self.assertEqual(states, [("DELIVERED", 4)])
        self.assertEqual(gateway.simulators["SMSC1"].taken(), Counter({f"96278800000{i}": 3 for i in range(4)}))
