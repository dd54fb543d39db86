"""What an end of the process, orderly or not, leaves behind (design, promises 1 and 2)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import Load, load
from tests.support.gateway import PASSWORD, Gateway

WINDOW = 100  # smsc.window


class Ends(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.addCleanup(self.gateway.stop)
        self.smsc = self.gateway.simulate("SMSC1")
        self.gateway.accounts({"ahmad": ()})
        self.gateway.start()

    def interrupted(self, end: object) -> Load:
        """6,000 messages; `end` is called once 2,000 are acknowledged."""
        called: list[int] = []

        def progress(acknowledged: int) -> None:
            if acknowledged >= 2000 and not called:
                called.append(acknowledged)
                end()  # type: ignore[operator]

        result = load(self.gateway.smpp_port, "ahmad", PASSWORD, messages=6000, progress=progress)
        self.assertTrue(called)
        self.assertEqual(result.refused, 0, result.statuses)
        self.gateway.restart()
        self.gateway.wait_empty()
        return result

    def check(self, result: Load, most_twice: int) -> None:
        taken = self.smsc.taken()
        lost = [dest for dest in result.acknowledged.values() if dest not in taken]
        self.assertEqual((len(lost), lost[:5]), (0, []))
        twice = sum(taken.values()) - len(taken)
        self.assertLessEqual(twice, most_twice)

    def test_killed_under_load(self) -> None:
        result = self.interrupted(self.gateway.kill9)
        self.assertLess(len(result.acknowledged), 6000)
        self.check(result, WINDOW)

    def test_orderly_stop_under_load(self) -> None:
        result = self.interrupted(self.gateway.terminate)
        self.check(result, 0)
