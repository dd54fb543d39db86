"""Two SMSCs behind one route; the first one dies under load."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import load
from tests.support.gateway import PASSWORD, Gateway

WINDOW = 100  # smsc.window


class Failover(SynchronousTestCase):
    def test_the_second_smsc_takes_over(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        first, second = gateway.simulate("SMSC1"), gateway.simulate("SMSC2")
        gateway.accounts({"ahmad": ()})
        gateway.start()
        ended: list[int] = []

        def progress(acknowledged: int) -> None:
            if acknowledged >= 1500 and not ended:
                ended.append(first.end())

        result = load(gateway.smpp_port, "ahmad", PASSWORD, messages=4000, progress=progress)
        self.assertTrue(ended)
        self.assertEqual((len(result.acknowledged), result.refused), (4000, 0))
        gateway.wait_empty()
        before, after = first.taken(), second.taken()
        self.assertTrue(before)
        self.assertEqual([d for d in result.acknowledged.values() if d not in before and d not in after], [])
        self.assertLessEqual(sum((before + after).values()) - len(before + after), WINDOW)
        self.assertEqual(gateway.readyz()["smsc"], {"SMSC1": "DOWN", "SMSC2": "BOUND"})
        more = load(gateway.smpp_port, "ahmad", PASSWORD, messages=100, sessions=1, first=962790000000)
        gateway.wait_empty()
        self.assertEqual(set(more.acknowledged.values()) - set(second.taken()), set())
