"""The HTTP side of a running gateway against clients of every kind: hostile ones, TLS, proxies, two nodes, a crash in the middle."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import signal
import socket
import ssl
import threading
import time
from typing import Any, ClassVar

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.channels.http.test_site import MALFORMED
from tests.support.certificates import Authority
from tests.support.gateway import Gateway, eventually, free_port

ORDER = {"sender": "MyCompany", "message": "Hello %N%", "recipients": [{"msisdn": "962788123456", "variables": {"N": "you"}}]}


class Edge(Gateway):
    """A gateway with other lines in [http] and [http.limits], and more tables."""

    http = ""
    limits = "per_key_per_minute = 0\nper_ip_per_hour = 0"

    def write_config(self) -> None:
        super().write_config()
        text = self.config.read_text()
        text = text.replace("[http.limits]\nper_key_per_minute = 0\nper_ip_per_hour = 0\n", f"{self.http}\n[http.limits]\n{self.limits}\n")
        self.config.write_text(text)

    def raw(self, data: bytes, *, port: int = 0, source: str = "127.0.0.1") -> bytes:
        """What comes back until the other end closes, or has been silent for a while after an answer."""
        with socket.create_connection(("127.0.0.1", port or self.http_port), timeout=10, source_address=(source, 0)) as s:
            s.sendall(data)
            s.settimeout(1.0)
            received = b""
            try:
                while piece := s.recv(65536):
                    received += piece
            except (TimeoutError, ConnectionResetError):
                pass
            return received

    def request(
        self, method: str, path: str, user: str, body: Any = None, headers: dict[str, str] | None = None, source: str = "127.0.0.1"
    ) -> http.client.HTTPResponse:
        """The answer, read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=60, source_address=(source, 0))
        sent = {"Authorization": f"Bearer {self.keys[user]}", "Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, json.dumps(body) if body is not None else None, sent)
        response = connection.getresponse()
        response.text = response.read()  # type: ignore[attr-defined]
        connection.close()
        return response

    def nothing_escaped(self, case: SynchronousTestCase) -> None:
        log = self.process.log.read_text(errors="replace")
        for word in ("Traceback", "Unhandled", "exceptions", "TwistedWeb"):
            case.assertNotIn(word, log)


class HostileTest(SynchronousTestCase):
    _shared: ClassVar[Edge | None] = None

    def setUp(self) -> None:
        if HostileTest._shared is None:
            HostileTest._shared = self.started()
            atexit.register(HostileTest._shared.stop)
        self.gateway = HostileTest._shared

    @staticmethod
    def started() -> Edge:
        gateway = Edge()
        gateway.http = 'header_timeout = 1.0\nbody_timeout = 1.0\ntrusted_proxies = ["127.0.0.2/32"]\nmax_body = 100000'
        gateway.simulate("SMSC1")
        office = ("--allowed-ip", "203.0.113.0/24", "--allowed-ip", "2001:db8::/32")
        gateway.accounts({"ahmad": ("--sender", "MyCompany"), "office": office}, keys=["ahmad", "office"])
        gateway.start()
        return gateway

    def status(self, answer: bytes) -> int:
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer[:500])
        for header in (b"Content-Security-Policy: ", b"X-Content-Type-Options: nosniff", b"Server: protei-bulk\r\n"):
            self.assertIn(header, answer)
        return int(answer.split()[1])

    def test_requests_that_are_none(self) -> None:
        for name, rest in MALFORMED.items():
            answer = self.gateway.raw(b"POST /api/sendBulk HTTP/1.1\r\nHost: x\r\n" + rest)
            self.assertEqual(self.status(answer), 400, name)
        self.gateway.nothing_escaped(self)

    def test_paths_methods_and_headers(self) -> None:
        for line, expected in (
            (b"GET /%ff%fe HTTP/1.1", {400, 404}), (b"GET /api/%00 HTTP/1.1", {404}), (b"GET /../../etc/passwd HTTP/1.1", {404}),
            (b"GET //api//sendBulk HTTP/1.1", {404}), (b"GET /api/v1/users/%2e%2e HTTP/1.1", {401, 404}),
            (b"BREW /api/sendBulk HTTP/1.1", {405}),
            (b"TRACE / HTTP/1.1", {404, 405}), (b"CONNECT x:443 HTTP/1.1", {400, 404}), (b"OPTIONS * HTTP/1.1", {200, 204, 404}),
            (b"GET http://evil.example/healthz HTTP/1.1", {200, 400, 404}), (b"GET /healthz?%ff=%00&a&&=&b HTTP/1.1", {200}),
            (b"GET /" + b"a/" * 3000 + b" HTTP/1.1", {404, 414}), (b"GET /" + b"%61" * 5000 + b" HTTP/1.1", {414}),
            (b"HEAD /healthz HTTP/1.1", {200}), (b"GET /api/v1/callbacks?cursor=%f0%28 HTTP/1.1", {401}),
        ):  # fmt: skip
            answer = self.gateway.raw(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertIn(self.status(answer), expected, line[:100])
        for header in (
            b"Authorization: Basic \xff\xff", b"Authorization: Bearer \xf0\x9f", b"Authorization: Basic " + b"A" * 5000,
            b"Cookie: \xff=\xff; ;=;", b"User-Agent: \xff\x80", b"X-Forwarded-For: \xff", b"Forwarded: for=\xff",
            b"Content-Type: \xff; charset=\xff", b"Accept: \xff", b"Idempotency-Key: \xff",
            b"Range: bytes=9-1", b"If-None-Match: \xff", b"Upgrade: h2c",
            b"Transfer-Encoding: chunked\r\nTE: trailers",
        ):  # fmt: skip
            answer = self.gateway.raw(b"GET /api/getBalance HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n0\r\n\r\n")
            self.assertIn(self.status(answer), {400, 401}, header)
        self.gateway.nothing_escaped(self)

    def test_bodies(self) -> None:
        key = self.gateway.keys["ahmad"].encode()
        head = b"POST /api/sendBulk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n" % key
        chunk = b"ffff\r\n" + b"x" * 65535 + b"\r\n"
        for rest, expected in (
            (b"Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n", 413),
            (b"Content-Type: application/json\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n", 413),
            (b"Content-Type: application/json\r\nExpect: something\r\nContent-Length: 2\r\n\r\n{}", 417),
            (b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + 2 * chunk, 413),
            (b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3\r\n\r\n--x", 415),
            (b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\n\r\na=b", 415),
            (b"Content-Type: application/json\r\nContent-Length: 3\r\n\r\n\xff\xfe\xfd", 400),
            (b'Content-Type: application/json\r\nContent-Length: 22\r\n\r\n{"sender": "\\ud800abc"}', 400),
            (b"Content-Type: application/json\r\nContent-Length: 40000\r\n\r\n" + b"[" * 40000, 400),
        ):  # fmt: skip
            self.assertEqual(self.status(self.gateway.raw(head + rest)), expected, rest[:120])
        self.gateway.nothing_escaped(self)

    def test_slow_ones_hold_up_nobody(self) -> None:
        slow = [socket.create_connection(("127.0.0.1", self.gateway.http_port)) for _ in range(50)]
        for i, s in enumerate(slow):
            post = b"POST /api/getDLR HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n{"
            s.sendall(b"GET /healthz HTTP/1.1\r\nHo" if i % 2 else post)
        self.assertEqual(self.gateway.request("GET", "/api/getBalance", "ahmad").status, 200)
        for s in slow:
            s.settimeout(30)
            self.assertIn(b" 408 ", s.recv(65536))
            s.close()
        self.gateway.nothing_escaped(self)

    def test_one_that_sends_no_more_still_gets_its_answer(self) -> None:
        request = b"GET /api/getBalance HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % self.gateway.keys["ahmad"].encode()
        for cut, expected in ((request, b"HTTP/1.1 200 "), (request[:-2], b""), (b"", b"")):
            with socket.create_connection(("127.0.0.1", self.gateway.http_port), timeout=10) as s:
                s.sendall(cut)
                s.shutdown(socket.SHUT_WR)
                received = b""
                while piece := s.recv(65536):
                    received += piece
            self.assertEqual(received[:13], expected)
        self.gateway.nothing_escaped(self)

    def test_allow_list(self) -> None:
        """By the client's own address, which a trusted proxy tells, and nobody else."""
        for source, forwarded, expected in (
            ("127.0.0.1", {}, 403), ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, 403), ("127.0.0.2", {}, 403),
            ("127.0.0.2", {"X-Forwarded-For": "203.0.113.9"}, 200), ("127.0.0.2", {"X-Forwarded-For": "::ffff:203.0.113.9"}, 200),
            ("127.0.0.2", {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}, 403), ("127.0.0.2", {"X-Forwarded-For": "junk"}, 403),
            ("127.0.0.2", {"X-Forwarded-For": "198.51.100.1, 2001:db8::7"}, 200), ("127.0.0.2", {"Forwarded": "for=203.0.113.9"}, 403),
        ):  # fmt: skip
            answer = self.gateway.request("GET", "/api/getBalance", "office", headers=forwarded, source=source)
            self.assertEqual(answer.status, expected, (source, forwarded))


class TlsTest(SynchronousTestCase):
    def test_https_and_the_way_there(self) -> None:
        gateway = Edge()
        self.addCleanup(gateway.stop)
        port, folder = free_port(), gateway.folder
        authority = Authority(folder)
        certificate, key = authority.issue("localhost", "localhost")
        gateway.http = f"""redirect_to_https = true
[http.tls]
listen = ["tcp:{port}:interface=127.0.0.1"]
certificate = {json.dumps(str(certificate))}
private_key = {json.dumps(str(key))}"""
        gateway.simulate("SMSC1")
        gateway.accounts({"ahmad": ("--sender", "MyCompany")}, keys=["ahmad"])
        text = gateway.config.read_text()
        gateway.config.write_text(text.replace(f'public_url = "{gateway.url}"', ""))
        gateway.process.start()
        gateway.wait_bound()  # /readyz is not redirected
        answer = gateway.request("POST", "/api/sendBulk?a=b", "ahmad", ORDER, {"Host": f"localhost:{gateway.http_port}"})
        self.assertEqual((answer.status, answer.getheader("location")), (308, f"https://localhost:{port}/api/sendBulk?a=b"))
        self.assertIsNone(answer.getheader("strict-transport-security"))

        def get(**changes: Any) -> tuple[int, str | None, int, str | None]:
            context = ssl.create_default_context(cafile=str(authority.pem))
            for name, value in changes.items():
                setattr(context, name, value)
            connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
            connection.request("GET", "/api/getBalance", headers={"Authorization": f"Bearer {gateway.keys['ahmad']}"})
            response = connection.getresponse()
            response.read()
            shown = connection.sock.getpeercert()["serialNumber"]
            version = connection.sock.version()
            connection.close()
            return response.status, response.getheader("strict-transport-security"), shown, version

        status, hsts, first, version = get()
        self.assertEqual((status, hsts, version), (200, "max-age=31536000", "TLSv1.3"))
        self.assertEqual(get(maximum_version=ssl.TLSVersion.TLSv1_2)[3], "TLSv1.2")
        with self.assertRaises(ssl.SSLError):
            get(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        # A certificate that is renewed in place, and one that is broken.
        self.assertEqual(authority.issue("localhost", "localhost"), (certificate, key))
        assert gateway.process.child is not None
        gateway.process.child.send_signal(signal.SIGHUP)
        eventually(lambda: get()[2] != first, "the new certificate")
        second = get()[2]
        certificate.write_bytes(b"broken")
        gateway.process.child.send_signal(signal.SIGHUP)
        eventually(lambda: "certificates stay" in gateway.process.log.read_text(), "noticed")
        self.assertEqual(get()[2], second)
        self.assertIn(b" 400 ", gateway.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", port=port) or b" 400 ")  # plain HTTP to the TLS port


class TwoNodesTest(SynchronousTestCase):
    def test_limits_are_those_of_both(self) -> None:
        one = Edge(node="one")
        self.addCleanup(one.stop)
        one.limits = "per_key_per_minute = 60\nburst = 10\nper_ip_per_hour = 200"
        one.simulate("SMSC1")
        one.accounts({"ahmad": ("--sender", "MyCompany")}, keys=["ahmad"])
        two = Edge(node="two", beside=one)
        self.addCleanup(two.stop)
        two.limits, two.keys = one.limits, one.keys
        two.write_config()
        one.start()
        two.start()
        found: list[tuple[float, int]] = []
        lock = threading.Lock()
        began = time.monotonic()

        def ask(node: Edge, times: int) -> None:
            for _ in range(times):
                answer = node.request("GET", "/api/getBalance", "ahmad")
                with lock:
                    found.append((time.monotonic() - began, answer.status))
                    if answer.status == 429 and (int(answer.getheader("retry-after") or 0) < 1 or not answer.getheader("ratelimit")):
                        found.append((0.0, 0))

        threads = [threading.Thread(target=ask, args=(node, 10)) for node in (one, two) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        taken = sorted(at for at, status in found if status == 200)
        self.assertEqual({status for _, status in found}, {200, 429})
        self.assertGreaterEqual(len(taken), 10)
        self.assertLessEqual(len(taken), 10 + int(taken[-1]) + 1)
        # The address: what is left of its 200, and no more, whoever asks, and for whatever.
        nowhere = [node.request("GET", "/api/nothing", "ahmad") for node in (one, two)]
        self.assertEqual({(a.status, bool(a.getheader("ratelimit"))) for a in nowhere}, {(404, True)})
        wrong = {"Authorization": "Bearer wrong"}
        answers = [node.request("POST", "/api/getDLR", "ahmad", headers=wrong) for _ in range(80) for node in (one, two)]
        counted = [a for a in answers if a.status == 401]
        self.assertEqual(len(counted), 200 - 80 - 2)
        self.assertIn('"address"', [a for a in answers if a.status == 429][0].getheader("ratelimit") or "")


class CrashTest(SynchronousTestCase):
    def test_the_rest_of_a_request_follows(self) -> None:
        """kill -9 in the middle of a request with a key: the same request again, and each recipient has one message."""
        gateway = Edge()
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1")
        gateway.accounts({"ahmad": ("--sender", "MyCompany")}, keys=["ahmad"])
        gateway.start()
        count = 60_000
        order = {**ORDER, "recipients": [{"msisdn": f"9627{n:08}", "variables": {"N": n}} for n in range(count)]}
        key = {"Idempotency-Key": "crash-1"}

        def ask() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                gateway.request("POST", "/api/sendBulk", "ahmad", order, key)

        asking = threading.Thread(target=ask)
        asking.start()
        eventually(lambda: gateway.query("SELECT 1 FROM messages LIMIT 1"), "the first message")
        gateway.kill9()
        asking.join()
        [(stored,)] = gateway.query("SELECT count(*) FROM messages")
        self.assertTrue(0 < stored < count, stored)
        gateway.restart()
        self.assertEqual(gateway.request("POST", "/api/sendBulk", "ahmad", order, key).status, 409)
        self.assertEqual(gateway.request("POST", "/api/sendBulk", "ahmad", ORDER, key).status, 422)
        self.wait_a_lease(gateway)
        answer = gateway.request("POST", "/api/sendBulk", "ahmad", order, key)
        document = json.loads(answer.text)  # type: ignore[attr-defined]
        self.assertEqual((answer.status, document["accepted"], document["rejected"]), (200, count, 0))
        self.assertEqual(
            gateway.query("SELECT count(*), count(DISTINCT to_addr), count(DISTINCT campaign_id) FROM messages"), [(count, count, 1)]
        )
        again = gateway.request("POST", "/api/sendBulk", "ahmad", order, key)
        self.assertEqual((again.text, again.getheader("idempotent-replayed")), (answer.text, "true"))  # type: ignore[attr-defined]

    def wait_a_lease(self, gateway: Gateway) -> None:
        """As if the 75 seconds had passed."""
        with contextlib.closing(psycopg2.connect(gateway.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("UPDATE tbl_idempotency_keys SET touched_at = touched_at - interval '80 seconds'")
