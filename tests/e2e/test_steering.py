"""Orders for connectors, on two gateways with one database: they hold on whichever node runs the connector."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.esme import Esme, load
from tests.support.gateway import PASSWORD, Gateway, eventually


class Steering(SynchronousTestCase):
    def setUp(self) -> None:
        self.first = Gateway(node="node1")
        self.addCleanup(self.first.stop)
        self.smsc = self.first.simulate("SMSC1")
        self.first.accounts({"ahmad": (), "chief": ("--role", "ADMIN")})
        self.second = Gateway(node="node2", beside=self.first)
        self.addCleanup(self.second.stop)
        for gateway in (self.first, self.second):
            gateway.write_config()
            gateway.start()
        self.browser = Browser(f"http://127.0.0.1:{self.second.http_port}")  # the node that does not run it
        self.browser.login("chief")

    def state(self, gateway: Gateway) -> Any:
        return gateway.readyz().get("smsc", {}).get("SMSC1")

    def until(self, gateway: Gateway, state: str) -> None:
        eventually(lambda: self.state(gateway) == state, f"{state} on {gateway.node}")

    def page(self, holds: Callable[[str], bool], what: str) -> None:
        eventually(lambda: holds(self.browser.get("/smscs/SMSC1")), what)

    def order(self, what: str, **fields: str) -> None:
        self.browser.get("/smscs/SMSC1")
        self.browser.post(f"/smscs/SMSC1/{what}", **fields)
        self.assertEqual((self.browser.status, self.browser.url), (200, "/smscs/SMSC1"))

    def submit(self, gateway: Gateway, dest: str) -> None:
        with Esme(gateway.smpp_port) as esme:
            esme.bind("ahmad", PASSWORD)
            self.assertEqual(esme.submitted(dest)[0], 0)

    def taken(self, dest: str) -> None:
        eventually(lambda: self.smsc.taken()[dest] == 1, f"{dest} at the SMSC")

    def test_orders_hold_on_every_node(self) -> None:
        self.page(lambda text: "on node1" in text, "node2 shows what node1 runs")
        # Paused from a page of the other node; what either node accepts waits.
        self.order("pause", reason="maintenance & <b>tests</b>")
        self.until(self.first, "PAUSED")
        self.submit(self.first, "962790000001")
        self.submit(self.second, "962790000002")
        self.page(lambda text: "Paused" in text and "maintenance &amp; &lt;b&gt;tests&lt;/b&gt;" in text and "by chief" in text, "why")
        eventually(lambda: self.first.query("SELECT count(*) FROM tbl_message_queue") == [(2,)], "both wait in the queue")
        self.assertEqual(sum(self.smsc.taken().values()), 0)
        # The node that runs it dies: the next one knows.
        self.first.process.end(signal.SIGKILL)
        self.until(self.second, "PAUSED")
        self.page(lambda text: "on node2" in text, "node2 runs it")
        self.assertEqual(sum(self.smsc.taken().values()), 0)
        # Over a restart, too.
        self.second.terminate()
        self.second.process.start()
        self.until(self.second, "PAUSED")
        self.browser.login("chief")
        self.order("resume")
        self.until(self.second, "BOUND")
        for dest in ("962790000001", "962790000002"):
            self.taken(dest)
        self.assertEqual(self.smsc.taken().total(), 2)  # each once
        # A rate, and back.
        self.order("rate", max_tps="7")
        self.page(lambda text: "at most 7" in text, "another rate")
        self.order("rate", configured="1", max_tps="7")
        self.page(lambda text: "no limit" in text, "the rate of the configuration")
        # Binds anew, and nothing is lost.
        since = self.binds()
        self.order("reconnect")
        eventually(lambda: self.binds() not in (since, []), "another bind")
        self.submit(self.second, "962790000003")
        self.taken("962790000003")
        actions = [r[0] for r in self.second.query("SELECT action FROM tbl_permission_audit WHERE action LIKE 'SMSC%%' ORDER BY audit_id")]
        self.assertEqual(actions, ["SMSC_PAUSE", "SMSC_RESUME", "SMSC_RATE", "SMSC_RATE", "SMSC_RECONNECT"])
        eventually(lambda: self.second.query("SELECT sum(sent) FROM tbl_smsc_usage") == [(3,)], "what was sent today")

    def binds(self) -> list[float]:
        rows = self.second.query("SELECT figures FROM tbl_smsc_figures WHERE smsc_id = 'SMSC1' ORDER BY updated_at DESC LIMIT 1")
        return [b["since"] for b in rows[0][0]["binds"]] if rows else []


class UnderLoad(SynchronousTestCase):
    def test_orders_lose_nothing_and_double_nothing(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        smscs = [gateway.simulate("A"), gateway.simulate("B")]
        gateway.accounts({"ahmad": ("--max-per-day", "0"), "chief": ("--role", "ADMIN")})
        gateway.start()
        browser = Browser(f"http://127.0.0.1:{gateway.http_port}")
        browser.login("chief")
        over = threading.Event()
        given: list[int] = []

        def order(smsc: str, what: str, **fields: str) -> None:
            browser.get(f"/smscs/{smsc}")
            browser.post(f"/smscs/{smsc}/{what}", **fields)
            given.append(browser.status)

        def orders() -> None:
            while not over.is_set():
                order("A", "pause")
                order("B", "reconnect")
                order("A", "resume")
                order("A", "reconnect")
                order("B", "rate", max_tps="3000")
                order("B", "pause")
                order("A", "reconnect")
                order("B", "resume")
                order("B", "rate", configured="1")

        thread = threading.Thread(target=orders, daemon=True)
        thread.start()
        sent = load(gateway.smpp_port, "ahmad", PASSWORD, messages=10_000, sessions=2, first=962_780_000_000, progress=lambda n: None)
        over.set()
        thread.join(60)
        gateway.wait_empty()
        self.assertEqual((set(given), len(given) > 8), ({200}, True))
        taken = smscs[0].taken() + smscs[1].taken()
        self.assertEqual(set(sent.acknowledged.values()), set(taken))
        self.assertEqual(taken.total(), 10_000)
