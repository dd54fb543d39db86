from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.observe.metrics import Metrics, one


class Exposition(SynchronousTestCase):
    def test_counters_and_gauges(self) -> None:
        n = [1.0]
        metrics = Metrics(
            [("protei_x", "X.", (), one(lambda: n[0]))],
            [("protei_y", "Y.", ("smsc",), lambda: [(("A",), 2), (("B",), 3)])],
        )
        n[0] = 7.0
        text = metrics.text().decode()
        self.assertIn("protei_x_total 7.0\n", text)
        self.assertIn('protei_y{smsc="B"} 3.0\n', text)
        self.assertIn("process_cpu_seconds_total", text)
