"""Several gateways on one database: who runs a connector, and what becomes of what a dead one held."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import Esme, Load, load
from tests.support.gateway import PASSWORD, Gateway, eventually

WINDOW = 100  # smsc.window
USERS = ("one", "two", "three")


class NodesCase(SynchronousTestCase):
    def nodes(self, count: int, settings: str = "") -> list[Gateway]:
        """The first is started first, so that it runs the connectors."""
        first = Gateway(settings, node="node1")
        self.addCleanup(first.stop)
        self.smsc = first.simulate("SMSC1")
        first.accounts(dict.fromkeys(("ahmad", *USERS), ("--max-per-day", "0")))
        gateways = [first]
        for n in range(2, count + 1):
            gateways.append(Gateway(settings, node=f"node{n}", beside=first))
            self.addCleanup(gateways[-1].stop)
        for gateway in gateways:
            gateway.write_config()
            gateway.start()
        return gateways

    def loads(self, ports: Sequence[int], messages: int, progress: Callable[[int], object] = lambda n: None,
              first: int = 962_780_000_000, **options: int) -> list[Load]:  # fmt: skip
        """The same load at each port at once, each by a user of its own; `progress` hears of the sum."""
        counts = dict.fromkeys(ports, 0)
        results: dict[int, Load] = {}
        errors: list[BaseException] = []

        def work(n: int, port: int) -> None:
            def heard(acknowledged: int) -> None:
                counts[port] = acknowledged
                progress(sum(counts.values()))

            try:
                results[port] = load(port, USERS[n], PASSWORD, messages=messages, sessions=2, first=first + n * 1_000_000,
                                     progress=heard, **options)  # fmt: skip
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=item, daemon=True) for item in enumerate(ports)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        if errors:
            raise errors[0]
        return [results[port] for port in ports]

    def check(self, results: Sequence[Load], most_twice: int) -> None:
        taken = self.smsc.taken()
        for result in results:
            lost = [dest for dest in result.acknowledged.values() if dest not in taken]
            self.assertEqual((len(lost), lost[:5]), (0, []))
        self.assertLessEqual(sum(taken.values()) - len(taken), most_twice)

    def runs(self, gateway: Gateway) -> bool:
        return gateway.readyz().get("smsc", {}).get("SMSC1") == "BOUND"


class Together(NodesCase):
    def test_one_runs_the_connector_and_all_accept(self) -> None:
        first, second, third = self.nodes(3)
        self.assertEqual([True, False, False], [self.runs(g) for g in (first, second, third)])
        results = self.loads([g.smpp_port for g in (first, second, third)], 2000, registered=1)
        self.assertEqual([2000] * 3, [len(r.acknowledged) for r in results])
        for result in results:
            self.assertEqual(set(result.acknowledged), set(result.receipts))
        first.wait_empty()
        self.check(results, 0)
        holder = "SELECT n.name FROM tbl_leases l JOIN tbl_nodes n USING (node_id) WHERE l.resource = 'smsc:SMSC1'"
        self.assertEqual([("node1",)], first.query(holder))
        listed, complaint = first.administer("smsc", "list").communicate(timeout=60)
        self.assertIn("node1", listed, complaint)

    def test_a_receipt_reaches_the_node_where_its_esme_is_bound(self) -> None:
        first, second = self.nodes(2)
        with Esme(second.smpp_port) as esme:
            self.assertEqual(0, esme.bind("ahmad", PASSWORD))
            begun = time.monotonic()
            _, id = esme.submitted("962790000001", registered=1)
            self.assertIn(f"id:{id} ".encode(), esme.delivered().fields["short_message"])
            self.took = time.monotonic() - begun
        eventually(lambda: not first.query("SELECT 1 FROM tbl_deliver_outbox"), "settled")


class Ends(NodesCase):
    def interrupted(self, gateways: list[Gateway], end: Callable[[], object], after: int = 3000) -> list[Load]:
        called: list[float] = []

        def progress(acknowledged: int) -> None:
            if acknowledged >= after and not called:
                called.append(time.monotonic())
                end()

        results = self.loads([g.smpp_port for g in gateways], 5000, progress)
        self.assertTrue(called)
        return results

    def test_the_one_that_runs_the_connector_is_killed(self) -> None:
        first, second = gateways = self.nodes(2)
        results = self.interrupted(gateways, first.kill9)
        killed = time.monotonic()
        eventually(lambda: self.runs(second), "taken over", 15)
        self.moved = time.monotonic() - killed
        second.wait_empty()
        self.check(results, WINDOW)

    def test_one_that_only_accepts_is_killed(self) -> None:
        first, second = gateways = self.nodes(2)
        results = self.interrupted(gateways, second.kill9)
        first.wait_empty()
        self.check(results, 0)

    def test_one_that_was_only_stalled_sends_nothing_and_ends(self) -> None:
        first, second = gateways = self.nodes(2)
        assert first.process.child is not None
        stalled = first.process.child
        results = self.interrupted([second], lambda: stalled.send_signal(signal.SIGSTOP), after=1000)
        eventually(lambda: second.query("SELECT 1 FROM tbl_nodes WHERE name = 'node1' AND gone_at IS NOT NULL"), "taken over", 30)
        stalled.send_signal(signal.SIGCONT)
        self.assertEqual(1, stalled.wait(60))
        self.assertIn("another process has taken over what node node1 held", first.process.log.read_text())
        second.wait_empty()
        self.check(results, WINDOW)
        first.start()
        self.assertEqual([False, True], [self.runs(g) for g in gateways])

    def test_each_in_turn(self) -> None:
        gateways = self.nodes(3)
        results: list[Load] = []
        for n, victim in enumerate(gateways):
            ended: list[int] = []

            def progress(acknowledged: int, victim: Gateway = victim, ended: list[int] = ended) -> None:
                if acknowledged >= 1500 and not ended:
                    ended.append(acknowledged)
                    victim.kill9()

            results += self.loads([g.smpp_port for g in gateways], 1500, progress, first=962_000_000_000 + n * 10_000_000)
            eventually(lambda: any(self.runs(g) for g in gateways), "taken over", 20)
            victim.start()
        gateways[0].wait_empty()
        self.check(results, len(gateways) * WINDOW)

    def test_orderly_stop_moves_at_once(self) -> None:
        first, second = gateways = self.nodes(2)
        results = self.interrupted(gateways, first.terminate)
        eventually(lambda: self.runs(second), "taken over", 15)
        second.wait_empty()
        self.check(results, 0)
        self.assertEqual([("node1", True), ("node2", False)],
                         second.query("SELECT name, gone_at IS NOT NULL FROM tbl_nodes ORDER BY name"))  # fmt: skip
