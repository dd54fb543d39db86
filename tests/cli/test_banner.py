"""What the quickstart prints, and how it reads endpoints."""

from __future__ import annotations

import json
import shlex
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.cli.banner import address, banner, base_url, busy_ports, gateway_only
from protei_bulk.settings import load, parse

QUICKSTART = load(Path(__file__).parents[2] / "etc/quickstart.toml")


class Addresses(SynchronousTestCase):
    def test_endpoints(self) -> None:
        for endpoint, expected in (
            ("tcp:2775", ("", 2775)),
            ("tcp:port=2775:interface=127.0.0.1", ("127.0.0.1", 2775)),
            ("tcp6:80", ("::", 80)),
            (r"tcp6:80:interface=\:\:1", ("::1", 80)),
            ("unix:/run/x", None),
        ):
            self.assertEqual(address(endpoint), expected, endpoint)

    def test_base_url(self) -> None:
        for listen, expected in (
            ('["tcp:8080"]', "http://127.0.0.1:8080"),
            ('["unix:/run/x", "tcp:80:interface=10.0.0.1"]', "http://10.0.0.1:80"),
            ('["tcp6:8080"]', "http://[::1]:8080"),
            (r"['tcp6:8080:interface=fe80\:\:1']", "http://[fe80::1]:8080"),
            ("[]", None),
        ):
            self.assertEqual(base_url(parse(f"[http]\nlisten = {listen}")), expected)

    def test_busy_ports(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            text = '[smpp]\nlisten = ["tcp:{}:interface=127.0.0.1"]\n[http]\nlisten = ["tcp:0"]'
            self.assertEqual(
                busy_ports(parse(text.format(port)), simulator=False),
                [f"port {port} (smpp.listen): Address already in use"],
            )
            self.assertEqual(busy_ports(parse(text.format(0)), simulator=False), [])


class Banners(SynchronousTestCase):
    def test_first_run(self) -> None:
        text = banner(QUICKSTART, "Password@123", admin_password="generated", api_key="k" * 48)
        self.assertIn("admin, password generated", text)
        send, ask = (shlex.split(c.split("\n\n")[0].replace("\\\n", "")) for c in text.split("curl ")[1:])
        self.assertEqual(send[:3], ["-X", "POST", "http://127.0.0.1:8080/api/sendBulk"])
        self.assertIn(f"Authorization: Bearer {'k' * 48}", send)
        body = json.loads(send[send.index("-d") + 1])
        self.assertEqual(body["sender"], "MyCompany")
        self.assertEqual([r["msisdn"] for r in body["recipients"]], ["962788123456", "962779234567"])
        self.assertEqual(ask[2], "http://127.0.0.1:8080/api/getDLR")
        self.assertEqual(list(json.loads(ask[ask.index("-d") + 1])), ["campaign_id", "limit"])

    def test_later_runs_have_no_secret(self) -> None:
        text = banner(QUICKSTART, "Password@123")
        self.assertIn("Bearer <your API key>", text)
        self.assertNotIn("admin, password", text)

    def test_gateway_only(self) -> None:
        self.assertNotIn("ahmad", gateway_only(QUICKSTART))
