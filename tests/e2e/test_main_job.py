"""What the product is for, with the clients that users have: smpplib, curl, SQL and plain sockets."""

from __future__ import annotations

import atexit
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from struct import pack
from typing import Any, ClassVar

import smpplib.client
import smpplib.consts
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast, statuses
from tests.support.esme import RESP, Esme
from tests.support.gateway import PASSWORD, Gateway, eventually

SENDER = ("--sender", "MyCompany")


class _Callbacks(HTTPServer):
    """A customer's web server: keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/dlr"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class MainJob(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if MainJob._shared is None:
            MainJob._shared = self.started()
        self.gateway = MainJob._shared

    @staticmethod
    def started() -> Gateway:
        """One for all of these tests: trial knows no setUpClass, so it ends with the process."""
        gateway = Gateway()
        atexit.register(gateway.stop)
        gateway.simulate("SMSC1")
        gateway.accounts(
            {
                "ahmad": SENDER,
                "fatima": SENDER,
                "away": SENDER,
                "few": ("--max-per-day", "2"),
                "slow": ("--max-tps", "5"),
            },
            keys=("ahmad", "fatima", "few"),
        )
        gateway.start()
        return gateway

    def esme(self, user: str = "ahmad", kind: int = commands.BIND_TRANSCEIVER, *, answers: bool = True) -> Esme:
        esme = Esme(self.gateway.smpp_port, answers=answers)
        self.addCleanup(esme.socket.close)
        self.assertEqual(esme.bind(user, PASSWORD, kind), 0)
        return esme

    def unbound(self) -> Esme:
        esme = Esme(self.gateway.smpp_port)
        self.addCleanup(esme.socket.close)
        return esme

    def delivered(self, campaign: str, total: int, user: str = "fatima") -> dict[str, Any]:
        """The answer of /api/getDLR (SPEC section 11, example 3) once every message is delivered."""

        def ask() -> dict[str, Any] | None:
            status, body = self.gateway.post("/api/getDLR", user, f'{{"campaign_id": "{campaign}", "limit": 100}}')
            self.assertEqual((status, body["status"], body["total"]), (200, "SUCCESS", total))
            return body if all(r["status"] == "DELIVERED" for r in body["records"]) else None

        return dict(eventually(ask, "delivered", 20))

    # --- the examples of the specification

    def test_example_5_with_smpplib(self) -> None:
        """As printed: smpplib cuts the password to the eight octets that SMPP 3.4 has room for."""
        client = smpplib.client.Client("127.0.0.1", self.gateway.smpp_port, timeout=20, allow_unknown_opt_params=True)
        answers: list[Any] = []
        receipts: list[Any] = []
        client.set_message_sent_handler(lambda pdu: answers.append(pdu))
        client.set_message_received_handler(lambda pdu: receipts.append(pdu))
        client.connect()
        client.bind_transceiver(system_id="ahmad", password="Password@123")
        client.send_message(
            source_addr="MyCompany", destination_addr="962788123456", short_message=b"Hello from SMPP!", registered_delivery=True
        )
        while not receipts:
            client.read_once()
        message_id = answers[0].message_id
        self.assertEqual(answers[0].status, 0)
        receipt = receipts[0]
        self.assertEqual(receipt.receipted_message_id.rstrip(b"\0"), message_id)
        self.assertIn(b"stat:DELIVRD", receipt.short_message)
        self.assertEqual(receipt.message_state, 2)
        self.assertEqual(receipt.source_addr, b"962788123456")
        self.assertEqual(receipt.destination_addr, b"MyCompany")
        client.unbind()
        client.disconnect()

    def test_examples_2_and_3_with_curl(self) -> None:
        server = _Callbacks()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        status, answer = self.gateway.post(
            "/api/sendBulk",
            "fatima",
            """{
    "sender": "MyCompany",
    "recipients": [
      {"msisdn": "962788123456", "message": "Hello Ahmad!"},
      {"msisdn": "962779234567", "message": "Hello Fatima!"}
    ],
    "message": "Default message",
    "encoding": "GSM7",
    "dlr_url": "https://myapp.com/dlr"
  }""".replace("https://myapp.com/dlr", server.url),
        )
        self.assertEqual(status, 200, answer)
        campaign = answer["campaign_id"]
        self.assertEqual(
            {k: answer[k] for k in ("status", "total_recipients", "accepted", "rejected")},
            {"status": "SUCCESS", "total_recipients": 2, "accepted": 2, "rejected": 0},
        )
        self.assertTrue(answer["message"].startswith("Campaign created successfully. 2 messages queued"))
        records = self.delivered(campaign, 2)["records"]
        self.assertEqual({r["msisdn"] for r in records}, {"962788123456", "962779234567"})
        for record in records:
            self.assertEqual((record["dlr_status"], record["error_code"]), ("DELIVRD", None))
            self.assertTrue(record["message_id"].startswith("MSG-"))
            self.assertRegex(record["submitted_at"] + record["delivered_at"], r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z){2}$")
        eventually(lambda: len(server.bodies) >= 2, "two callbacks", 20)
        self.assertEqual({b["message_id"] for b in server.bodies}, {r["message_id"] for r in records})
        self.assertEqual({b["status"] for b in server.bodies}, {"DELIVRD"})

    def test_example_4_with_curl(self) -> None:
        status, before = self.balance()
        self.assertEqual(status, 200)
        self.assertEqual(
            {k: v for k, v in before.items() if not k.startswith("messages_")},
            {"status": "SUCCESS", "balance": 25000.50, "credit_limit": 50000.00, "currency": "JOD", "daily_quota": 500000},
        )
        self.assertEqual(before["messages_sent_today"] + before["messages_remaining_today"], 500000)
        self.gateway.post("/api/sendBulk", "fatima", {"sender": "MyCompany", "recipients": [{"msisdn": "962788000001"}], "message": "x"})
        self.assertEqual(self.balance()[1]["messages_sent_today"], before["messages_sent_today"] + 1)

    def balance(self) -> tuple[int, Any]:
        return self.gateway.curl("/api/getBalance", "-H", f"Authorization: Bearer {self.gateway.keys['fatima']}")

    def test_sql_of_section_12(self) -> None:
        esme = self.esme("fatima")
        esme.submitted("962788000002")
        sessions = eventually(
            lambda: [
                row
                for row in self.gateway.query(
                    """SELECT
    session_id,
    system_id,
    bind_type,
    remote_ip,
    status,
    current_tps,
    messages_sent,
    bound_at
FROM tbl_smpp_sessions
WHERE status = 'BOUND'
ORDER BY bound_at DESC;"""
                )
                if row[1] == "fatima"
            ],
            "a session's row",
        )
        self.assertEqual([row[2:5] for row in sessions], [("TRANSCEIVER", "127.0.0.1", "BOUND")])
        self.balance()
        traffic = eventually(
            lambda: self.gateway.query(
                """SELECT
    DATE_TRUNC('hour', created_at) AS hour,
    COUNT(*) AS requests,
    AVG(response_time_ms) AS avg_response_time,
    COUNT(*) FILTER (WHERE response_status >= 400) AS errors
FROM tbl_api_requests
WHERE created_at >= NOW() - INTERVAL '24 hours'
GROUP BY hour
ORDER BY hour DESC;"""
            ),
            "a request's row",
            20,
        )
        self.assertGreaterEqual(traffic[0][1], 1)
        users = self.gateway.query(
            """SELECT
    u.username,
    s.current_tps,
    s.messages_sent,
    u.max_tps
FROM tbl_smpp_sessions s
JOIN users u ON s.user_id = u.id
WHERE s.status = 'BOUND'
ORDER BY s.current_tps DESC;"""
        )
        self.assertIn("fatima", [row[0] for row in users])

    # --- refusals

    def test_a_wrong_password_does_not_bind(self) -> None:
        self.assertEqual(self.unbound().bind("ahmad", "wrong"), statuses.ESME_RINVPASWD)

    def test_an_unknown_user_is_told_no_more_than_that(self) -> None:
        self.assertEqual(self.unbound().bind("nobody", PASSWORD), statuses.ESME_RINVPASWD)

    def test_a_wrong_api_key(self) -> None:
        status, _ = self.gateway.curl("/api/getBalance", "-H", "Authorization: Bearer " + "x" * 48)
        self.assertEqual(status, 401)
        self.assertEqual(self.gateway.curl("/api/getBalance")[0], 401)

    def test_an_unknown_sender(self) -> None:
        with self.esme() as esme:
            self.assertEqual(esme.submitted("962788000003", source="Other")[0], 0x0A)
            self.assertEqual(esme.submitted("962788000003")[0], 0)
        status, answer = self.gateway.post(
            "/api/sendBulk", "fatima", {"sender": "Other", "recipients": [{"msisdn": "962788000003"}], "message": "x"}
        )
        self.assertEqual(status, 403, answer)

    def test_the_quota(self) -> None:
        with self.esme("few") as esme:
            found = [esme.submitted(f"96278800001{i}")[0] for i in range(3)]
        self.assertEqual(found, [0, 0, 0x45])
        status, answer = self.gateway.post(
            "/api/sendBulk", "few", {"sender": "x", "recipients": [{"msisdn": "962788000013"}], "message": "x"}
        )
        self.assertEqual(status, 429, answer)

    def test_the_pace(self) -> None:
        with self.esme("slow") as esme:
            asked = [esme.submit(f"9627880001{i:02}") for i in range(20)]
            found = [esme.wait(commands.SUBMIT_SM | RESP, sequence)[1] for sequence in asked]
        self.assertEqual(set(found), {0, statuses.ESME_RTHROTTLED})
        self.assertIn(found.count(0), range(5, 8))

    # --- what goes wrong on a connection

    def test_a_malformed_body_is_answered_and_the_session_lives(self) -> None:
        with self.esme() as esme:
            for body in (b"\xff" * 10, b"", b"\0\x01\x01MyCompany", b"\0" * 16 + b"\xff"):
                sequence = esme.next()
                esme.send(pack(">IIII", 16 + len(body), commands.SUBMIT_SM, 0, sequence) + body)
                self.assertNotEqual(esme.wait(commands.SUBMIT_SM | RESP, sequence)[1], 0)
            self.assertEqual(esme.submitted("962788000004")[0], 0)

    def test_a_command_that_does_not_exist_is_answered_and_the_session_lives(self) -> None:
        with self.esme() as esme:
            sequence = esme.request(0x00007777)
            self.assertEqual(esme.wait(commands.GENERIC_NACK, sequence)[1], statuses.ESME_RINVCMDID)
            self.assertEqual(esme.submitted("962788000004")[0], 0)

    def test_an_oversized_pdu_closes_the_connection(self) -> None:
        with self.esme() as esme:
            esme.send(pack(">IIII", 0x7FFFFFFF, commands.SUBMIT_SM, 0, 9))
            self.assertEqual(esme.ends()[-1][:2], (commands.GENERIC_NACK, statuses.ESME_RINVCMDLEN))

    def test_garbage_before_a_bind_closes_the_connection(self) -> None:
        with self.unbound() as esme:
            esme.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
            esme.ends()

    def test_submit_sm_before_a_bind(self) -> None:
        with self.unbound() as esme:
            sequence = esme.submit("962788000005")
            self.assertEqual(esme.ends()[0][:3], (commands.SUBMIT_SM | RESP, 0x04, sequence))

    def test_enquire_link_both_ways(self) -> None:
        with self.esme(answers=False) as esme:
            sequence = esme.request(commands.ENQUIRE_LINK)
            self.assertEqual(esme.wait(commands.ENQUIRE_LINK | RESP, sequence)[1], 0)
            _, _, theirs, body = esme.wait(commands.ENQUIRE_LINK)
            self.assertEqual(body, b"")
            esme.send(fast.header(commands.ENQUIRE_LINK | RESP, 0, theirs))
            esme.wait(commands.ENQUIRE_LINK)

    def test_unbind(self) -> None:
        with self.esme() as esme:
            sequence = esme.request(commands.UNBIND)
            self.assertEqual(esme.ends()[-1][:3], (commands.UNBIND | RESP, 0, sequence))

    # --- messages

    def test_a_receipt_waits_for_an_esme_that_is_away(self) -> None:
        with self.esme("away", commands.BIND_TRANSMITTER) as esme:
            status, message_id = esme.submitted("962788000006", registered=1)
            self.assertEqual(status, 0)
        self.until_delivered(message_id)
        with self.esme("away", commands.BIND_RECEIVER) as esme:
            _, _, _, body = esme.wait(commands.DELIVER_SM)
            self.assertEqual(fast.decode_sm(body, 0, len(body))[17][0x001E], message_id.encode() + b"\0")
            self.assertIn(b"stat:DELIVRD", body)
            esme.request(commands.UNBIND)
            esme.ends()
        # Acknowledged once: it does not come again.
        eventually(lambda: self.gateway.query("SELECT count(*) FROM tbl_deliver_outbox") == [(0,)], "an empty outbox", 10)

    def test_a_long_message_over_http(self) -> None:
        text = "Long " * 80
        status, answer = self.gateway.post(
            "/api/sendBulk", "fatima", {"sender": "MyCompany", "recipients": [{"msisdn": "962788000007"}], "message": text}
        )
        self.assertEqual(status, 200, answer)
        self.delivered(answer["campaign_id"], 1)
        self.assertEqual(
            self.gateway.query("SELECT message_text, segments FROM messages WHERE to_addr = '962788000007'"), [(text, 3)]
        )
        self.assertEqual(self.gateway.simulators["SMSC1"].taken()["962788000007"], 3)

    def test_ucs2_over_both_channels(self) -> None:
        text = "مرحبا يا أحمد 😀"
        with self.esme() as esme:
            status, message_id = esme.submitted("962788000008", text.encode("utf-16-be"), coding=8, registered=1)
        self.assertEqual(status, 0)
        self.until_delivered(message_id)
        self.assertEqual(self.gateway.query("SELECT message_text FROM messages WHERE message_id = %s", (message_id,)), [(text,)])
        body = {"sender": "MyCompany", "recipients": [{"msisdn": "962788000009"}], "message": text, "encoding": "UCS2"}
        status, answer = self.gateway.post("/api/sendBulk", "fatima", body)
        self.assertEqual(status, 200, answer)
        self.delivered(answer["campaign_id"], 1)
        self.assertEqual(
            self.gateway.query("SELECT message_text, data_coding FROM messages WHERE to_addr = '962788000009'"), [(text, 8)]
        )

    def until_delivered(self, message_id: str) -> None:
        started = time.monotonic()
        sql = "SELECT status FROM messages WHERE message_id = %s"
        eventually(lambda: self.gateway.query(sql, (message_id,)) == [("DELIVERED",)], "delivered", 20)
        self.assertLess(time.monotonic() - started, 20)
