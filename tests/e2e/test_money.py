"""Quota and money of running gateways: exact, whoever sends, whatever becomes of it."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import load
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

QUOTA = 10_000


def bulk(gateway: Gateway, key: str, first: int, count: int, sender: str = "MyCompany") -> tuple[int, dict[str, Any]]:
    """One request of so many recipients: status and document."""
    body = {"sender": sender, "message": "Hello", "recipients": [{"msisdn": str(n)} for n in range(first, first + count)]}
    request = urllib.request.Request(
        f"{gateway.url}/api/sendBulk", json.dumps(body).encode(), {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


class Quota(SynchronousTestCase):
    def test_64_sessions_and_8_clients_on_two_nodes(self) -> None:
        first = Gateway(smpp="max_binds_per_user = 100")
        self.addCleanup(first.stop)
        first.simulate("SMSC1")
        first.accounts({"ahmad": ("--max-per-day", str(QUOTA))}, keys=["ahmad"])
        first.start()
        second = Gateway(node="other", smpp="max_binds_per_user = 100", beside=first)
        self.addCleanup(second.stop)
        second.write_config()
        second.start()
        accepted: list[int] = []
        refusals: set[str] = set()
        problems: list[BaseException] = []

        def esmes(gateway: Gateway, number: int) -> None:
            try:
                result = load(gateway.smpp_port, "ahmad", PASSWORD, messages=4000, sessions=32, first=number, window=20, seconds=120)
                accepted.append(len(result.acknowledged))
                refusals.update(result.statuses)
            except BaseException as error:
                problems.append(error)

        def client(gateway: Gateway, number: int) -> None:
            try:
                for n in range(QUOTA // 60):  # until the day's quota is gone
                    status, document = bulk(gateway, first.keys["ahmad"], number + n * 60, 60)
                    accepted.append(int(document.get("accepted", 0)))
                    if status != 200 or document.get("rejected"):
                        refusals.add(str(document.get("code") or document["errors"][0]["code"]))
                        self.assertIn(status, (200, 429))
                        return
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=esmes, args=(g, 962780000000 + n * 10_000)) for n, g in enumerate((first, second))]
        threads += [
            threading.Thread(target=client, args=((first, second)[n % 2], 962790000000 + n * 10_000)) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], problems)
        self.assertEqual(QUOTA, sum(accepted))
        self.assertEqual([(QUOTA,)], first.query("SELECT count(*) FROM messages"))
        self.assertEqual([(QUOTA,)], first.query("SELECT messages_sent FROM tbl_quota_usage WHERE period_type = 'DAILY'"))
        self.assertEqual({"ESME_RSUBMITFAIL", "QUOTA_EXCEEDED"}, refusals)
        sums = "SELECT COALESCE(sum(messages_sent), 0) FROM tbl_quota_usage WHERE period_type = %s"
        for period in ("HOURLY", "MONTHLY"):
            eventually(lambda period=period: first.query(sums, (period,)) == [(QUOTA,)], f"{period} is rolled up")
        [(peak,)] = first.query("SELECT max(peak_tps) FROM tbl_quota_usage WHERE period_type = 'HOURLY'")
        self.assertGreater(peak, 0)
        self.assertLessEqual(peak, QUOTA)


class Policies(SynchronousTestCase):
    """Two SMSCs: one takes all and fails some later, the other refuses some at once. Numbers of 1 segment at 0.03 and 0.05."""

    SENT = 150  # by each channel, to each SMSC

    def test_final_balances(self) -> None:
        gateway = Gateway('[[route]]\nname = "refusing"\norder = 1\nto = ["SMSC2"]\nmatch = { prefix = ["96277"] }\n')
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1", "--fail", "30")
        gateway.simulate("SMSC2", "--error", "0x0000000B:40")
        gateway.accounts({})
        users = {"submit": "SUBMIT", "accept": "ACCEPT", "delivery": "DELIVERY"}
        for name, policy in users.items():
            _output(gateway.administer("customer", "add", name, "--balance", "1000", "--currency", "JOD", "--charge-on", policy))
            _output(gateway.administer("user", "add", name, "--password", PASSWORD, "--customer", name))
            gateway.keys[name] = _output(gateway.administer("api-key", "new", name))
        deck = Path(gateway.folder / "deck.csv")
        deck.write_text("prefix,price\n96278,0.03\n96277,0.04\n")
        _output(gateway.administer("rate", "import", str(deck), "--currency", "JOD"))
        deck.write_text("prefix,price,valid_from\n96277,0.05,2025-01-01\n96277,9,2099-01-01\n")
        for name in users:
            _output(gateway.administer("rate", "import", str(deck), "--customer", name))
        gateway.start()
        for n, (name, policy) in enumerate(users.items()):
            asked = int(policy != "DELIVERY")  # there the gateway itself wants to know
            for prefix in (962780000000, 962770000000):
                result = load(
                    gateway.smpp_port, name, PASSWORD, messages=self.SENT, first=prefix + n * 10_000, registered=asked, sessions=2
                )
                self.assertEqual(self.SENT, len(result.acknowledged))
                status, document = bulk(gateway, gateway.keys[name], prefix + 5000 + n * 10_000, self.SENT)
                self.assertEqual((200, self.SENT), (status, document["accepted"]))
        over = "SELECT count(*) FROM messages WHERE status IN ('PENDING', 'QUEUED', 'SCHEDULED', 'SENT')"
        eventually(lambda: gateway.query(over) == [(0,)], "all final")
        for name, policy in users.items():
            rows = gateway.query(
                "SELECT left(m.to_addr, 5), m.status, m.sent_at IS NOT NULL, count(*), sum(m.price) FROM messages m"
                " JOIN users u ON u.id = m.user_id WHERE u.username = %s GROUP BY 1, 2, 3", (name,),
            )  # fmt: skip
            due = Decimal(0)
            for prefix, status, sent, count, _ in rows:
                price = {"96278": Decimal("0.03"), "96277": Decimal("0.05")}[prefix]
                if policy == "SUBMIT" or (policy == "ACCEPT" and sent) or (policy == "DELIVERY" and status == "DELIVERED"):
                    due += price * count
            found = {(prefix, status, sent) for prefix, status, sent, *_ in rows}
            self.assertLessEqual({("96278", "DELIVERED", True), ("96278", "FAILED", True), ("96277", "DELIVERED", True)}, found)
            self.assertTrue([f for f in found if f[0] == "96277" and not f[2]], found)  # refused
            [(balance,)] = gateway.query("SELECT balance FROM customers WHERE name = %s", (name,))
            self.assertEqual(1000 - due, balance, policy)
            [(booked, held)] = gateway.query(
                "SELECT sum(l.amount), sum(l.held) FROM tbl_ledger l JOIN customers c ON c.id = l.customer_id WHERE c.name = %s", (name,)
            )
            self.assertEqual((balance, 0), (booked, held))
        self.assertIn("Every balance", _output(gateway.administer("money", "check", "--messages")))
        statement = _output(gateway.administer("customer", "statement", "delivery")).splitlines()
        [(balance,)] = gateway.query("SELECT balance FROM customers WHERE name = 'delivery'")
        self.assertEqual("time,kind,amount,reserved,messages,reference,balance,reserved_in_all", statement[0])
        self.assertEqual([balance, 0], [Decimal(cell) for cell in statement[-1].split(",")[-2:]])
        margin = json.loads(_output(gateway.administer("money", "margin", "--json")))
        self.assertEqual({"SMSC1", "SMSC2"}, {row["smsc_id"] for row in margin})

    def test_not_overdrawn(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1")
        gateway.accounts({})
        _output(gateway.administer("customer", "add", "Small", "--balance", "1", "--credit-limit", "0.5", "--charge-on", "SUBMIT"))
        _output(gateway.administer("user", "add", "small", "--password", PASSWORD, "--customer", "Small"))
        gateway.keys["small"] = _output(gateway.administer("api-key", "new", "small"))
        gateway.start()
        deck = Path(gateway.folder / "deck.csv")
        deck.write_text("prefix;price\n;0.01\n")
        _output(gateway.administer("rate", "import", str(deck), "--customer", "Small"))  # while it runs

        def priced() -> bool:
            return bulk(gateway, gateway.keys["small"], 962700000000, 1)[0] == 200 and bool(
                gateway.query("SELECT 1 FROM messages WHERE price > 0")
            )

        eventually(priced, "the gateway knows the price")
        result = load(gateway.smpp_port, "small", PASSWORD, messages=400, sessions=8)
        self.assertEqual(149, len(result.acknowledged))
        self.assertEqual({"ESME_RSUBMITFAIL": 251}, dict(result.statuses))
        status, document = bulk(gateway, gateway.keys["small"], 962700000100, 2)
        self.assertEqual((402, "INSUFFICIENT_BALANCE"), (status, document["code"]))
        self.assertEqual([(Decimal("-0.5"),)], gateway.query("SELECT balance FROM customers WHERE name = 'Small'"))
        _output(gateway.administer("customer", "top-up", "Small", "1"))
        self.assertEqual(200, bulk(gateway, gateway.keys["small"], 962700000200, 2)[0])
        _output(gateway.administer("money", "check"))
