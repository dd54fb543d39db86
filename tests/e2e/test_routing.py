"""Rules of the database, failover, the breaker, retries and second tries, against a running gateway and two SMSCs."""

from __future__ import annotations

import json
import signal
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast, statuses
from protei_bulk.smpp.codec import Pdu
from tests.support.esme import Esme, load
from tests.support.gateway import PASSWORD, Gateway, Simulator, eventually

WINDOW = 100  # smsc.window


class RoutingCase(SynchronousTestCase):
    def gateway(self, **smscs: tuple[str, ...]) -> Gateway:
        """Of these SMSCs, each with its options; what begins with "set " goes into its [[smsc]]."""
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        for name, options in smscs.items():
            lines = [o.removeprefix("set ") for o in options if o.startswith("set ")]
            gateway.simulate(name, *(o for o in options if not o.startswith("set ")), settings="\n".join(lines))
        gateway.accounts({"ahmad": ()})
        gateway.start()
        return gateway

    def cli(self, gateway: Gateway, *arguments: str) -> str:
        command = gateway.administer(*arguments)
        out, err = command.communicate(timeout=60)
        self.assertEqual(command.returncode, 0, err)
        return out

    def rule(self, gateway: Gateway, *arguments: str) -> None:
        """A change of the rules, once the node has it."""
        before = gateway.query("SELECT count(*) FROM tbl_routes")
        self.cli(gateway, "route", *arguments)
        wanted = {r["name"] for r in json.loads(self.cli(gateway, "route", "list", "--json")) if r["source"] == "database" and r["enabled"]}
        eventually(lambda: self.metric(gateway, 'protei_routes{source="database"}') == len(wanted), f"rules in force, {before}", 20)

    def metric(self, gateway: Gateway, name: str) -> float:
        _, text = gateway.curl_text("/metrics")
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)), -1.0)

    def esme(self, gateway: Gateway) -> Esme:
        esme = Esme(gateway.smpp_port)
        self.addCleanup(esme.socket.close)
        self.assertEqual(esme.bind("ahmad", PASSWORD), 0)
        return esme

    def told(self, esme: Esme) -> tuple[str, str, str]:
        """(message_id, stat, source_addr) of the next receipt."""
        _, _, _, body = esme.wait(commands.DELIVER_SM)
        f = fast.decode_sm(body, 0, len(body))
        stat = f[16].partition(b"stat:")[2][:7].decode()
        return (f[17] or {})[0x001E].rstrip(b"\0").decode(), stat, f[3]

    def message(self, gateway: Gateway, id: str, columns: str) -> tuple[Any, ...]:
        return gateway.query(f"SELECT {columns} FROM messages WHERE message_id = %s", (id,))[0]

    def restart_simulator(self, simulator: Simulator, *without: str) -> None:
        simulator.end(signal.SIGKILL)
        for option in without:
            at = simulator.arguments.index(option)
            del simulator.arguments[at : at + 2]
        simulator.start()


class Killed(RoutingCase):
    def test_one_of_two_dies_under_load(self) -> None:
        gateway = self.gateway(SMSC1=("set failover_after = 0.2",), SMSC2=())
        first, second = gateway.simulators["SMSC1"], gateway.simulators["SMSC2"]
        killed: list[float] = []

        def progress(acknowledged: int) -> None:
            if acknowledged >= 1500 and not killed:
                assert first.child is not None
                first.child.kill()
                killed.append(time.monotonic())

        result = load(gateway.smpp_port, "ahmad", PASSWORD, messages=5000, progress=progress)
        self.assertEqual((len(result.acknowledged), result.refused), (5000, 0))
        gateway.wait_empty()
        self.assertLess(time.monotonic() - killed[0], 30.0)  # it moved at all, and not when the queue table was looked at
        before, after = first.taken(), second.taken()
        # What the dead one had acknowledged last is not in its ledger, which it wrote out now and then.
        acknowledged = {d for (d,) in gateway.query("SELECT to_addr FROM messages WHERE smsc_id = 'SMSC1' AND status = 'SENT'")}
        self.assertEqual({*result.acknowledged.values()} - before.keys() - after.keys() - acknowledged, set())
        self.assertLessEqual(sum((before + after).values()) - len(before + after), 2 * WINDOW)
        self.assertEqual(gateway.query("SELECT count(*) FROM messages WHERE smsc_id = 'SMSC2' AND status <> 'SENT'"), [(0,)])


class Ill(RoutingCase):
    def test_the_breaker_opens_and_closes(self) -> None:
        gateway = self.gateway(
            SMSC1=("--error", "ESME_RSYSERR:100", "set breaker_rest = 0.5", "set breaker_rest_max = 1", "set breaker_probes = 3"), SMSC2=()
        )
        first, second = gateway.simulators["SMSC1"], gateway.simulators["SMSC2"]
        result = load(gateway.smpp_port, "ahmad", PASSWORD, messages=500, registered=1)
        self.assertEqual((len(result.acknowledged), len(set(result.receipts))), (500, 500))
        self.assertEqual((len(first.taken()), len(second.taken())), (0, 500))
        self.assertIn(gateway.readyz()["smsc"]["SMSC1"], ("DEGRADED", "PROBING"))
        self.assertGreaterEqual(self.metric(gateway, 'protei_smsc_breaker_opened_total{smsc="SMSC1"}'), 1)
        state = "SELECT state FROM tbl_smsc_states WHERE smsc_id = 'SMSC1'"
        eventually(lambda: gateway.query(state)[0][0] in ("DEGRADED", "PROBING"), "its state in the database", 20)
        self.restart_simulator(first, "--error")
        number = iter(range(962790000000, 962790001000))
        with self.esme(gateway) as esme:

            def sound() -> bool:
                self.assertEqual(esme.submitted(str(next(number)))[0], 0)
                return bool(gateway.readyz()["smsc"]["SMSC1"] == "BOUND" and first.taken())

            eventually(sound, "tried, and well again", 40)
        self.assertEqual(self.metric(gateway, 'protei_smsc_breaker{smsc="SMSC1"}'), 0)

    def test_refused_for_a_while_until_it_expires(self) -> None:
        gateway = self.gateway(SMSC1=("--error", "ESME_RSYSERR:100", "set retry_min = 0.3", "set retry_max = 0.6", "set breaker_share = 0"))
        with self.esme(gateway) as esme:
            fields = {
                "source_addr": "MyCompany", "source_addr_ton": 5, "dest_addr_ton": 1, "dest_addr_npi": 1,
                "destination_addr": "962788123456",
                "validity_period": "000000000004000R", "registered_delivery": 1, "short_message": b"Hello",
            }  # fmt: skip
            answer = esme.ask(Pdu(commands.SUBMIT_SM, fields=fields))
            self.assertEqual(answer.status, 0)
            id = answer.fields["message_id"]
            eventually(lambda: gateway.query("SELECT max(refusals) FROM tbl_message_queue") >= [(2,)], "tried more than once", 20)
            self.assertEqual(self.told(esme)[:2], (id, "EXPIRED"))
        self.assertEqual(self.message(gateway, id, "status, error_code"), ("EXPIRED", "EXPIRED"))
        self.assertEqual(gateway.query("SELECT * FROM tbl_message_queue"), [])

    def test_what_one_will_not_have_the_other_takes(self) -> None:
        gateway = self.gateway(SMSC1=("--error", "ESME_RSUBMITFAIL:100"), SMSC2=())
        with self.esme(gateway) as esme:
            id = esme.submitted("962788123456", registered=1)[1]
            self.assertEqual(self.told(esme)[:2], (id, "DELIVRD"))
        self.assertEqual(self.message(gateway, id, "smsc_id, status, route"), ("SMSC2", "DELIVERED", "everything"))


class Rules(RoutingCase):
    def test_rules_of_the_database(self) -> None:
        """Each takes hold in a running node: rejecting, rewriting, sending elsewhere."""
        gateway = self.gateway(SMSC1=(), SMSC2=())
        first, second = gateway.simulators["SMSC1"], gateway.simulators["SMSC2"]
        esme = self.esme(gateway)
        self.rule(gateway, "add", "no", "order=1", "reject=ESME_RINVDSTADR", "match.prefix=96279")
        self.assertEqual(esme.submitted("962790000001")[0], statuses.ESME_RINVDSTADR)
        self.assertEqual(esme.submitted("962780000001")[0], 0)
        self.rule(gateway, "add", "local", "order=2", "to=SMSC2", "match.prefix=96278", "rewrite.sender=Brand", "rewrite.dest_strip=962",
                  "rewrite.dest_add=0")  # fmt: skip
        id = esme.submitted("962780000002", registered=1)[1]
        self.assertEqual(self.told(esme), (id, "DELIVRD", "962780000002"))  # it is told of the number that it sent to
        self.assertEqual(self.message(gateway, id, "route, from_addr, to_addr, smsc_id"), ("local", "MyCompany", "962780000002", "SMSC2"))
        self.assertEqual((set(first.taken()), set(second.taken())), ({"962780000001"}, {"0780000002"}))
        out = self.cli(gateway, "route", "explain", "--user", "ahmad", "--to", "962780000002")
        self.assertIn("local", out)
        self.assertIn("SMSC2 (BOUND", out)
        self.rule(gateway, "remove", "no")
        self.assertEqual(esme.submitted("962790000001")[0], 0)

    def test_rewriting_outlives_the_process(self) -> None:
        gateway = self.gateway(SMSC1=())
        simulator = gateway.simulators["SMSC1"]
        self.rule(gateway, "add", "local", "order=2", "to=SMSC1", "rewrite.dest_strip=962", "rewrite.dest_add=0")
        simulator.end(signal.SIGKILL)
        eventually(lambda: gateway.readyz()["smsc"]["SMSC1"] == "DOWN", "down", 20)
        with self.esme(gateway) as esme:
            self.assertEqual(esme.submitted("962780000002")[0], 0)
        gateway.kill9()
        simulator.start()
        gateway.restart()
        gateway.wait_empty()
        self.assertEqual(set(simulator.taken()), {"0780000002"})

    def test_least_cost_by_network(self) -> None:
        gateway = self.gateway(SMSC1=(), SMSC2=())
        prices = ["smsc_id,mccmnc,cost,currency", "SMSC1,41603,0.01,USD", "SMSC2,41603,0.02,USD"]
        prices += ["SMSC1,41601,0.02,USD", "SMSC2,41601,0.01,USD"]
        for file, text in (
            ("networks.csv", "prefix,mccmnc\n96278,41603\n96279,41601\n"), ("ported.csv", "number,mccmnc\n962780000009,41601\n"),
            ("costs.csv", "\n".join(prices)),
        ):  # fmt: skip
            path = gateway.folder / file
            path.write_text(text)
            self.cli(gateway, "numbers", "import", str(path))
        eventually(lambda: self.metric(gateway, "protei_ported_numbers") == 1, "numbers in memory", 20)
        self.rule(gateway, "add", "cheap", "order=1", "to=SMSC1,SMSC2", "strategy=least-cost")
        esme = self.esme(gateway)
        for dest in ("962780000001", "962790000001", "962780000009"):
            self.assertEqual(esme.submitted(dest)[0], 0)
        gateway.wait_empty()
        taken = {name: set(s.taken()) for name, s in gateway.simulators.items()}
        self.assertEqual(taken, {"SMSC1": {"962780000001"}, "SMSC2": {"962790000001", "962780000009"}})


class SecondTries(RoutingCase):
    def test_the_next_after_a_negative_receipt(self) -> None:
        gateway = self.gateway(SMSC1=("--fail", "100"), SMSC2=())
        self.rule(gateway, "add", "twice", "order=1", "to=SMSC1,SMSC2", "next_after_receipt=yes")
        result = load(gateway.smpp_port, "ahmad", PASSWORD, messages=200, registered=1)
        self.assertEqual((len(result.acknowledged), sorted(result.receipts)), (200, sorted(result.acknowledged)))
        counts = "SELECT status, smsc_id, substr(tried, 1, 17), count(*)::int FROM messages GROUP BY 1, 2, 3"
        self.assertEqual(gateway.query(counts), [("DELIVERED", "SMSC2", "SMSC1:UNDELIV:005", 200)])
        self.assertEqual([s.taken().total() for s in gateway.simulators.values()], [200, 200])
        with self.esme(gateway) as esme:  # also one that asks for no receipt
            id = esme.submitted("962799999999")[1]
            eventually(lambda: self.message(gateway, id, "status, smsc_id") == ("DELIVERED", "SMSC2"), "tried again", 20)

    def test_both_in_vain_is_told_once(self) -> None:
        gateway = self.gateway(SMSC1=("--fail", "100"), SMSC2=("--fail", "100"))
        self.rule(gateway, "add", "twice", "order=1", "to=SMSC1,SMSC2", "next_after_receipt=yes")
        with self.esme(gateway) as esme:
            id = esme.submitted("962788123456", b"Long " * 80, registered=1)[1]
            self.assertEqual(self.told(esme)[:2], (id, "UNDELIV"))
            self.assertFalse(esme.has_delivery())
        self.assertEqual(self.message(gateway, id, "status, substr(tried, 1, 17)"), ("FAILED", "SMSC1:UNDELIV:005"))
        self.assertEqual([len(s.taken()) for s in gateway.simulators.values()], [1, 1])

    def test_it_outlives_the_process(self) -> None:
        """Killed while messages wait for their second SMSC."""
        gateway = self.gateway(SMSC1=("--fail", "100"), SMSC2=())
        self.rule(gateway, "add", "twice", "order=1", "to=SMSC1,SMSC2", "next_after_receipt=yes")
        second = gateway.simulators["SMSC2"]
        second.end(signal.SIGKILL)
        with self.esme(gateway) as esme:
            ids = [esme.submitted(f"96278800000{n}", registered=1)[1] for n in range(5)]
            sql = "SELECT count(*)::int FROM messages WHERE tried LIKE 'SMSC1:%%'"
            eventually(lambda: gateway.query(sql, ()) == [(5,)], "all undelivered", 30)
            gateway.kill9()
        second.start()
        gateway.restart()
        with self.esme(gateway) as esme:
            self.assertEqual({self.told(esme)[:2] for _ in ids}, {(id, "DELIVRD") for id in ids})
        self.assertEqual([len(s.taken()) for s in gateway.simulators.values()], [5, 5])


class Gone(RoutingCase):
    def test_an_smsc_that_is_taken_out_of_the_configuration(self) -> None:
        gateway = self.gateway(SMSC1=(), SMSC2=())
        self.rule(gateway, "add", "one", "order=1", "to=SMSC1", "match.prefix=96278")
        self.rule(gateway, "add", "dead-end", "order=1", "to=SMSC1", "match.prefix=44")
        gateway.simulators["SMSC1"].end(signal.SIGKILL)
        eventually(lambda: gateway.readyz()["smsc"]["SMSC1"] == "DOWN", "down", 20)
        esme = self.esme(gateway)
        kept = [esme.submitted(f"96278000000{n}", registered=1)[1] for n in range(3)]
        lost = esme.submitted("447700900123", registered=1)[1]
        eventually(lambda: gateway.query("SELECT count(*)::int FROM tbl_message_queue") == [(4,)], "queued", 20)
        gateway.simulators.pop("SMSC1")
        self.rule(gateway, "set", "one", "to=SMSC2")
        gateway.write_config()
        assert gateway.process.child is not None
        gateway.process.child.send_signal(signal.SIGHUP)
        found = {self.told(esme)[:2] for _ in range(4)}
        # The node knows no SMSC1 now: the rule "dead-end" leads nowhere, and refuses.
        self.assertEqual(found, {*((id, "DELIVRD") for id in kept), (lost, "UNDELIV")})
        self.assertEqual(self.message(gateway, lost, "status, error_code"), ("FAILED", "NO_ROUTE"))
        self.assertEqual(esme.submitted("447700900123")[0], 0x0B)
