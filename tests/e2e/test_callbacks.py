"""Callbacks of a running gateway at a customer's server: signatures, the account's own address, what fails and is sent again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, eventually


class Shop(ThreadingHTTPServer):
    """A customer's server: keeps what it hears, answers with `status`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.heard: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.status = 200
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["content-length"]))
                shop.heard.put(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(shop.status)
                self.send_header("Location", shop.url + "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def next(self) -> tuple[dict[str, str], bytes]:
        return self.heard.get(timeout=30)


def signatures(secret: str, headers: dict[str, str], body: bytes) -> str:
    """What Standard Webhooks asks for, from its own text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


class CallbackTest(SynchronousTestCase):
    def test_from_submission_to_the_customer(self) -> None:
        shop, own = Shop(), Shop()
        for server in (shop, own):
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1")
        gateway.accounts({"ahmad": ("--sender", "MyCompany")}, keys=["ahmad"])
        command = gateway.administer("user", "set", "ahmad", f"dlr_callback_url={own.url}/all")
        self.assertEqual(command.wait(30), 0, command.communicate())
        gateway.start()
        order: dict[str, Any] = {"sender": "MyCompany", "message": "Hello", "recipients": [{"msisdn": "962788123456"}]}

        def get(path: str) -> Any:
            status, found = gateway.curl(path, "-H", f"Authorization: Bearer {gateway.keys['ahmad']}")
            self.assertEqual(status, 200, found)
            return found

        # Its own address, and the account's: over HTTP, and over SMPP where a receipt is asked for.
        gateway.post("/api/sendBulk", "ahmad", {**order, "dlr_url": f"{shop.url}/dlr"})
        headers, body = shop.next()
        self.assertEqual(json.loads(body)["status"], "DELIVRD")
        secret = get("/api/v1/callbacks/secret")["secret"]
        self.assertEqual(headers["webhook-signature"], signatures(secret, headers, body))
        gateway.post("/api/sendBulk", "ahmad", order)
        self.assertEqual(json.loads(own.next()[1])["msisdn"], "962788123456")
        with Esme(gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("ahmad", PASSWORD), 0)
            self.assertEqual(esme.submitted("962788123457", registered=1)[0], 0)
            esme.delivered()
            self.assertEqual(json.loads(own.next()[1])["msisdn"], "962788123457")
        # Both secrets while they change.
        status, changed = gateway.curl(
            "/api/v1/callbacks/secret/rotate", "-X", "POST", "-H", f"Authorization: Bearer {gateway.keys['ahmad']}"
        )
        self.assertEqual((status, changed["previous_secret"]), (200, secret))
        # One that fails for good is parked when it has been tried often enough; it is listed, and sent again.
        own.status = 302
        gateway.post("/api/sendBulk", "ahmad", order)
        headers, body = own.next()
        self.assertEqual(
            headers["webhook-signature"], f"{signatures(changed['secret'], headers, body)} {signatures(secret, headers, body)}"
        )
        number = int(headers["webhook-id"].removeprefix("dlr_"))
        failed = eventually(lambda: get("/api/v1/callbacks?status=PENDING")["callbacks"], "noted")
        self.assertEqual([(c["callback_id"], c["last_error"]) for c in failed], [(number, "HTTP 302: redirects are not followed")])
        self.assertEqual({c["status"] for c in get("/api/v1/callbacks")["callbacks"]}, {"PENDING", "DELIVERED"})
        own.status = 204
        status, _ = gateway.curl(
            f"/api/v1/callbacks/{get('/api/v1/callbacks?status=DELIVERED')['callbacks'][0]['callback_id']}/replay", "-X", "POST",
            "-H", f"Authorization: Bearer {gateway.keys['ahmad']}",
        )  # fmt: skip
        self.assertEqual(status, 202)
        again = own.next()
        self.assertEqual(json.loads(again[1])["msisdn"], "962788123457")
        output, _ = gateway.administer("callback", "list", "--status", "PENDING", "--json").communicate(timeout=30)
        self.assertEqual([c["callback_id"] for c in json.loads(output)], [number])
