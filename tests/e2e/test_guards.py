"""Guards of a running gateway, over SMPP and HTTP, and of two nodes."""

from __future__ import annotations

import urllib.request

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import statuses
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

VELOCITY = """
[guards.velocity]
mode = "pause"
most = 20
"""
NUMBER = "962790000001"


class GuardsTest(SynchronousTestCase):
    def started(self, settings: str = "", *options: str, users: dict[str, tuple[str, ...]] | None = None) -> Gateway:
        gateway = Gateway(settings)
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1", *options)
        users = users or {"ahmad": ()}
        gateway.accounts(users, list(users))
        gateway.start()
        return gateway

    def esme(self, gateway: Gateway, user: str = "ahmad") -> Esme:
        esme = Esme(gateway.smpp_port)
        self.addCleanup(esme.socket.close)
        self.assertEqual(esme.bind(user, PASSWORD), 0)
        return esme

    def ask(self, gateway: Gateway, *numbers: str, text: str = "Hello", user: str = "ahmad") -> list[str]:
        """The codes of the recipients that a request was refused."""
        body = {"sender": "MyCompany", "message": text, "recipients": [{"msisdn": n} for n in numbers]}
        _, answer = gateway.post("/api/sendBulk", user, body)
        return [e["code"] for e in answer.get("errors", [])] or ([answer["code"]] if "code" in answer else [])

    def run_command(self, gateway: Gateway, *arguments: str) -> str:
        return _output(gateway.administer(*arguments))

    def metric(self, gateway: Gateway, name: str) -> float:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{gateway.url}/metrics") as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def test_blacklist(self) -> None:
        gateway = self.started()
        esme = self.esme(gateway)
        self.assertEqual(esme.submitted(NUMBER)[0], 0)
        self.run_command(gateway, "blacklist", "add", f"+{NUMBER}", "96277*", "--reason", "asked by phone")
        eventually(lambda: esme.submitted(NUMBER)[0] == statuses.ESME_RINVDSTADR, "refused")
        self.assertEqual(esme.submitted(f"00{NUMBER}")[0], statuses.ESME_RINVDSTADR)
        self.assertEqual(esme.submitted("962771234567")[0], statuses.ESME_RINVDSTADR)
        self.assertEqual(self.ask(gateway, NUMBER, "962781234567", "962770000000"), ["BLACKLISTED", "BLACKLISTED"])
        self.assertIn("BLACKLISTED", self.run_command(gateway, "guard", "check", "--user", "ahmad", "--to", NUMBER))
        self.assertGreaterEqual(self.metric(gateway, 'protei_refusals_total{code="BLACKLISTED"}'), 5)
        self.run_command(gateway, "blacklist", "remove", NUMBER, "96277*")
        eventually(lambda: esme.submitted(NUMBER)[0] == 0, "let through")

    def test_a_customers_own_list_comes_by_a_file(self) -> None:
        gateway = self.started()
        path = gateway.folder / "list.csv"
        path.write_text(f"number,why\n{NUMBER},spam\n+96278*\n# nobody\n\nabc\n")
        self.run_command(gateway, "blacklist", "import", str(path), "--customer", "Demo")
        eventually(lambda: self.ask(gateway, NUMBER) == ["BLACKLISTED"], "refused")
        self.assertEqual(self.ask(gateway, "962781234567"), ["BLACKLISTED"])
        path.write_text("962799999999\n")
        self.run_command(gateway, "blacklist", "import", str(path), "--customer", "Demo", "--replace")
        eventually(lambda: self.ask(gateway, NUMBER) == [], "let through")
        self.assertEqual(self.ask(gateway, "962799999999"), ["BLACKLISTED"])

    def test_stop_and_start_by_mobile(self) -> None:
        users = {"ahmad": ("--sender", "12345", "--sender", "MyCompany")}
        gateway = self.started("", "--mo-every", "0.5", "--mo-count", "1", "--mo-text", "إيقاف.", users=users)
        eventually(lambda: gateway.query("SELECT 1 FROM tbl_opt_out_state WHERE opted_out"), "recorded")
        eventually(lambda: self.ask(gateway, NUMBER) == ["OPTED_OUT"], "refused")
        esme = self.esme(gateway)
        self.assertEqual(esme.submitted(NUMBER)[0], statuses.ESME_RINVDSTADR)
        [(source, message, at, received)] = gateway.query(
            "SELECT o.source, o.message_id, o.at, m.received_at FROM tbl_opt_outs o JOIN tbl_mo_messages m USING (message_id)"
        )
        self.assertEqual((source, message[:3], at), ("MO", "MO-", received))
        # One-time passwords go through; and a restart counts nobody's word twice.
        self.run_command(gateway, "user", "set", "ahmad", "transactional=true")
        eventually(lambda: self.ask(gateway, NUMBER) == [], "let through")
        self.run_command(gateway, "user", "set", "ahmad", "transactional=false")
        gateway.kill9()
        gateway.start()
        self.assertEqual(self.ask(gateway, NUMBER), ["OPTED_OUT"])
        self.run_command(gateway, "optout", "remove", NUMBER, "--customer", "Demo", "--note", "by phone")
        eventually(lambda: self.ask(gateway, NUMBER) == [], "let through")
        self.assertEqual(gateway.query("SELECT opted_out, source FROM tbl_opt_outs ORDER BY 1"), [(False, "CLI"), (True, "MO")])

    def test_a_word_that_was_stored_and_not_read_is_read_at_the_next_start(self) -> None:
        gateway = self.started("", "--mo-every", "0.3", "--mo-count", "1", users={"ahmad": ("--sender", "12345", "--sender", "MyCompany")})
        eventually(lambda: gateway.query("SELECT 1 FROM tbl_opt_outs"), "recorded")
        gateway.kill9()
        gateway.query("ALTER TABLE tbl_opt_outs DISABLE TRIGGER ALL; SET session_replication_role = replica; TRUNCATE tbl_opt_out_state;"
                      " DELETE FROM tbl_opt_outs; COMMIT; SELECT 1")  # fmt: skip
        gateway.start()
        eventually(lambda: self.ask(gateway, NUMBER) == ["OPTED_OUT"], "refused")

    def test_duplicates(self) -> None:
        gateway = self.started()
        esme = self.esme(gateway)
        self.run_command(gateway, "user", "set", "ahmad", "duplicate_seconds=600")
        refused = statuses.ESME_RSUBMITFAIL
        eventually(lambda: esme.submitted(NUMBER)[0] == refused, "in force")
        self.assertEqual(self.ask(gateway, NUMBER, text="Hello"), ["DUPLICATE"])  # over the other channel
        self.assertEqual(esme.submitted(NUMBER, b"Hello!")[0], 0)
        self.assertEqual(self.ask(gateway, "962790000002", "962790000002", text="Once"), ["DUPLICATE"])
        # What was refused for another reason may come again.
        self.run_command(gateway, "user", "set", "ahmad", "max_msg_per_day=1")
        eventually(lambda: self.ask(gateway, NUMBER, text="Again") == ["QUOTA_EXCEEDED"], "refused")
        self.assertEqual(self.ask(gateway, NUMBER, text="Again"), ["QUOTA_EXCEEDED"])
        self.run_command(gateway, "user", "set", "ahmad", "max_msg_per_day=0")
        eventually(lambda: self.ask(gateway, NUMBER, text="Again") == [], "accepted")
        self.assertEqual(self.ask(gateway, NUMBER, text="Again"), ["DUPLICATE"])

    def test_countries(self) -> None:
        gateway = self.started('[guards]\nblocked_countries = ["JM"]\n')
        esme = self.esme(gateway)
        self.assertEqual(esme.submitted("18765551234")[0], statuses.ESME_RINVDSTADR)
        self.assertEqual(self.ask(gateway, "18765551234", "12125551234", NUMBER), ["COUNTRY_NOT_ALLOWED"])
        self.run_command(gateway, "customer", "set", "Demo", "allowed_countries=JO,SA")
        eventually(lambda: self.ask(gateway, "12125551234", NUMBER) == ["COUNTRY_NOT_ALLOWED"], "refused")
        self.assertEqual(esme.submitted("966501234567")[0], 0)

    def test_a_burst_is_paused_told_and_released(self) -> None:
        gateway = self.started(VELOCITY)
        esme = self.esme(gateway)
        for n in range(30):
            esme.submit(f"96279111{n:04d}")
        eventually(lambda: esme.submitted("962791119999")[0] == statuses.ESME_RSUBMITFAIL, "paused")
        self.assertEqual(self.ask(gateway, "962791119998", "962792229998"), ["VELOCITY"])
        sql = "SELECT event_id, target FROM tbl_velocity_events WHERE mode = 'pause' AND released_at IS NULL"
        [(event, target)] = eventually(lambda: gateway.query(sql), "recorded")
        self.assertEqual(target, "96279111")
        [(details,)] = gateway.query("SELECT details FROM tbl_permission_audit WHERE action = 'VELOCITY_PAUSED'")
        self.assertEqual(details["target"], target)
        self.assertEqual(self.metric(gateway, "protei_velocity_paused"), 1)
        self.assertIn(target, self.run_command(gateway, "guard", "list"))
        gateway.terminate()
        gateway.start()  # a pause outlives its node
        self.assertEqual(self.ask(gateway, "962791119998"), ["VELOCITY"])
        self.run_command(gateway, "guard", "release", str(event))
        eventually(lambda: self.ask(gateway, "962791119998") == [], "released")

    def test_two_nodes_hear_of_changes(self) -> None:
        first = self.started(VELOCITY)
        second = Gateway(VELOCITY, node="other", beside=first)
        self.addCleanup(second.stop)
        second.keys = first.keys
        second.write_config()
        second.start()
        nodes = (first, second)
        self.run_command(second, "blacklist", "add", NUMBER)
        self.run_command(first, "optout", "add", "962790000002", "--customer", "Demo")
        for node in nodes:
            eventually(lambda n=node: self.ask(n, NUMBER, "962790000002") == ["BLACKLISTED", "OPTED_OUT"], "refused")  # type: ignore[misc]
        esme = self.esme(first)
        for n in range(30):
            esme.submit(f"96279111{n:04d}")
        for node in nodes:
            eventually(lambda n=node: self.ask(n, "962791119998") == ["VELOCITY"], "paused")  # type: ignore[misc]
        [(event,)] = first.query("SELECT event_id FROM tbl_velocity_events WHERE released_at IS NULL")
        self.run_command(second, "guard", "release", str(event))
        self.run_command(second, "blacklist", "remove", NUMBER)
        for node in nodes:
            eventually(lambda n=node: self.ask(n, "962791119998", NUMBER) == [], "released")  # type: ignore[misc]
