"""Three customers, one SMSC that takes less than they send."""

from __future__ import annotations

import signal
import threading
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import Load, load
from tests.support.gateway import PASSWORD, Gateway, eventually

CUSTOMERS = {"one": "1", "two": "1", "four": "2"}
EACH = 2500


class Shares(SynchronousTestCase):
    def test_by_weight_and_limits_change_without_a_new_bind(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        smsc = gateway.simulate("SMSC1", settings="max_tps = 1")
        gateway.accounts({})
        for name, weight in CUSTOMERS.items():
            for command in (
                ("customer", "add", name), ("customer", "set", name, f"weight={weight}"),
                ("user", "add", name, "--password", PASSWORD, "--customer", name, "--max-per-day", "0"),
            ):  # fmt: skip
                out, problem = gateway.administer(*command).communicate(timeout=60)
                self.assertEqual("", problem, out)
        gateway.start()
        results: dict[str, Load] = {}

        def work(n: int, name: str) -> None:
            results[name] = load(gateway.smpp_port, name, PASSWORD, messages=EACH, sessions=1, first=962_780_000_000 + n * 1_000_000)

        threads = [threading.Thread(target=work, args=item) for item in enumerate(CUSTOMERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual([EACH] * 3, [len(r.acknowledged) for r in results.values()])
        gateway._smsc_settings["SMSC1"] = "max_tps = 500"
        gateway.write_config()
        assert gateway.process.child is not None
        gateway.process.child.send_signal(signal.SIGHUP)
        begun, counted = 400, 4000
        eventually(lambda: sum(smsc.taken().values()) >= begun + counted, "sent")
        lines = [line.split()[2] for line in smsc.ledger.read_text().splitlines() if line.startswith("S")]
        share = Counter(dest[5] for dest in lines[begun : begun + counted])
        for customer, wanted in zip("012", (0.25, 0.25, 0.5), strict=True):
            self.assertLess(abs(share[customer] / counted - wanted), 0.05 * wanted, share)
        self.assertEqual(1, gateway.process.log.read_text().count("SMSC1: bound"))


class Backlog(SynchronousTestCase):
    def test_a_customers_backlog_in_the_table_keeps_nobody_else_out(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        smsc = gateway.simulate("SMSC1", settings="max_tps = 800\nqueue_memory = 200")
        gateway.accounts({})
        for name in ("much", "little"):
            for command in (
                ("customer", "add", name),
                ("user", "add", name, "--password", PASSWORD, "--customer", name, "--max-per-day", "0"),
            ):
                out, problem = gateway.administer(*command).communicate(timeout=60)
                self.assertEqual("", problem, out)
        gateway.start()
        much = load(gateway.smpp_port, "much", PASSWORD, messages=12_000, sessions=2, first=962_780_000_000)
        self.assertEqual(12_000, len(much.acknowledged))
        little = load(gateway.smpp_port, "little", PASSWORD, messages=100, sessions=1, first=962_790_000_000)
        self.assertEqual(100, len(little.acknowledged))
        before = sum(smsc.taken().values())
        eventually(lambda: sum(smsc.taken().values()) == 12_100, "sent")
        order = [line.split()[2] for line in smsc.ledger.read_text().splitlines() if line.startswith("S")]
        last = max(n for n, dest in enumerate(order) if dest.startswith("96279"))
        # What had been claimed, twice what is claimed at a time at most, goes before; by age alone it would be all 12,000.
        self.assertLess(last, before + 4500)
