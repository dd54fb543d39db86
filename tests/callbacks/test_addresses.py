from __future__ import annotations

from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6
from ipaddress import ip_network
from typing import Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.unittest import TestCase as TrialTestCase
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported

from protei_bulk.callbacks.addresses import AddressRefused, CheckedEndpoints, Lookups, is_public
from protei_bulk.callbacks.client import make_client
from protei_bulk.model.urls import url_fault


class IsPublicTest(TestCase):
    def test_public(self) -> None:
        for address in ("8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2a00:1450::1", "2606:4700::1"):
            self.assertTrue(is_public(address), address)

    def test_not(self) -> None:
        for address in (
            "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
            "255.255.255.255", "192.0.2.1", "240.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
            "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1",
            "2001:db8::1", "nonsense", "", "127.0.0.1 ", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "::ffff:0:127.0.0.1",
            "::127.0.0.1", "::7f00:1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "3fff::1", "5f00::1",
            "fec0::1", "100::1", "4000::1", "192.88.99.1", "198.18.0.1", "192.0.0.170", "2606:4700::1%lo", "fd00:ec2::254",
        ):  # fmt: skip
            self.assertFalse(is_public(address), address)

    @given(st.ip_addresses(v=4))
    def test_an_address_within_another_is_judged_by_itself(self, inner: IPv4) -> None:
        number = int(inner)
        for outer in (f"::ffff:{inner}", str(IPv6((0x64FF9B << 96) | number))):
            self.assertEqual(is_public(outer), is_public(str(inner)), outer)
        for never in (IPv6(number), IPv6((0x2002 << 112) | (number << 80))):
            self.assertFalse(is_public(str(never)), never)

    @given(st.ip_addresses())
    def test_nothing_that_python_calls_private(self, address: IPv4 | IPv6) -> None:
        if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast or address.is_reserved:
            mapped = getattr(address, "ipv4_mapped", None)
            if mapped is None and address not in ip_network("64:ff9b::/96"):
                self.assertFalse(is_public(str(address)), address)


class Names:
    """A resolver that answers when told."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, str]] = []

    def resolveHostName(self, receiver: Any, host: str) -> None:  # noqa: N802
        self.asked.append((receiver, host))

    def answer(self, *addresses: str) -> None:
        receiver, _ = self.asked.pop(0)
        for address in addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, 0))
        receiver.resolutionComplete()


class EndpointTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.names = self.reactor.nameResolver = Names()

    def connect(self, url: bytes = b"http://shop.example:8080/", *, private: bool = False) -> Any:
        endpoint = CheckedEndpoints(self.reactor, lambda: private).endpointForURI(URI.fromBytes(url))
        return endpoint.connect(Factory.forProtocol(Protocol))

    def test_connects_to_the_address_that_was_checked(self) -> None:
        d = self.connect()
        self.names.answer("10.0.0.1", "8.8.8.8")
        self.assertEqual([c[:2] for c in self.reactor.tcpClients], [("8.8.8.8", 8080)])
        self.assertNoResult(d)
        self.assertEqual(self.names.asked, [])

    def test_private_addresses(self) -> None:
        d = self.connect(b"https://shop.example/")
        self.names.answer("127.0.0.1", "::1")
        self.failureResultOf(d, AddressRefused)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_private_addresses_allowed(self) -> None:
        self.connect(private=True)
        self.names.answer("127.0.0.1")
        self.assertEqual(self.reactor.tcpClients[0][:2], ("127.0.0.1", 8080))

    def test_no_address(self) -> None:
        d = self.connect()
        self.names.answer()
        self.failureResultOf(d, DNSLookupError)

    def test_the_next_address_where_one_refuses(self) -> None:
        d = self.connect()
        self.names.answer("8.8.8.8", "2001:4860:4860::8888")
        factory = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(self.reactor.connectors[0], Failure(ConnectionRefusedError()))
        self.assertEqual(self.reactor.tcpClients[1][:2], ("2001:4860:4860::8888", 8080))
        factory = self.reactor.tcpClients[1][2]
        factory.clientConnectionFailed(self.reactor.connectors[1], Failure(ConnectionRefusedError()))
        self.failureResultOf(d, ConnectionRefusedError)

    def test_an_address_in_brackets(self) -> None:
        self.connect(b"http://[2001:4860:4860::8888]:81/")
        self.assertEqual(self.names.asked[0][1], "2001:4860:4860::8888")

    def test_other_schemes(self) -> None:
        self.assertRaises(SchemeNotSupported, self.connect, b"ftp://shop.example/")

    def test_one_lookup_at_a_time_for_a_name(self) -> None:
        lookups = Lookups(self.reactor)
        first, second = lookups.resolve("a"), lookups.resolve("a")
        gone = lookups.resolve("a")
        gone.cancel()
        self.failureResultOf(gone)
        other = lookups.resolve("b")
        self.assertEqual([host for _, host in self.names.asked], ["a", "b"])
        self.names.answer("8.8.8.8")
        self.assertEqual(self.successResultOf(first), ["8.8.8.8"])
        self.assertEqual(self.successResultOf(second), ["8.8.8.8"])
        self.assertNoResult(other)
        self.names.answer()
        self.assertEqual(self.successResultOf(other), [])


class AttackTest(TrialTestCase):
    """With the reactor's own resolver: what people write to reach what they should not."""

    def setUp(self) -> None:
        self.heard: list[Any] = []

        class Inside(Protocol):
            def connectionMade(protocol) -> None:  # noqa: N802, N805
                self.heard.append(protocol)

        port = reactor.listenTCP(0, Factory.forProtocol(Inside), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    async def test_hosts_that_are_this_machine(self) -> None:
        client, pool = make_client(reactor, lambda: False)
        self.addCleanup(pool.closeCachedConnections)
        for host in (
            "127.0.0.1", "localhost", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
            "127.000.000.001", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "[::127.0.0.1]",
            "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "localhost.", "ip6-localhost",
        ):  # fmt: skip
            url = f"http://{host}:{self.port}/"
            if url_fault(url) is None:
                await self.assertFailure(client.post(url, data=b"{}"), AddressRefused, DNSLookupError)
        self.assertEqual(self.heard, [])

    async def test_a_connection_leaves_no_line_in_the_log(self) -> None:
        class Server(Protocol):
            def dataReceived(protocol, data: bytes) -> None:  # noqa: N802, N805
                protocol.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")  # type: ignore[union-attr]
                protocol.transport.loseConnection()  # type: ignore[union-attr]

        port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        client, pool = make_client(reactor, lambda: True)
        self.addCleanup(pool.closeCachedConnections)
        with capturedLogs() as lines:
            answer = await client.post(f"http://127.0.0.1:{port.getHost().port}/", data=b"{}")
        self.assertEqual(answer.code, 200)
        self.assertEqual([line for line in lines if "_HTTP11ClientFactory" in line.get("log_namespace", "") or "Quiet" in str(line)], [])


class UrlTest(TestCase):
    def test_what_no_callback_may_go_to(self) -> None:
        for url in (
            "http://user@shop.example/", "http://user:secret@shop.example/", "http://shop.example@127.0.0.1/", "http://127.0.0.1\\@shop.example/",
            "https://shop.example:22/", "http://shop.example:25/", "http://shop.example:6379/", "http://shop.example:5432/",
            "http://shop.example:0/", "http://shop.example:99999/", "http://shop.example:x/", "gopher://shop.example/", "file:///etc/passwd",
            "//shop.example/", "http:///x", "http://", "http://sh op.example/", "http://shop.example/\r\nX: y", "http://shöp.example/",
            "http://[::1/", "http://[fe80::1%25eth0]/", "http://a..b@c/", "javascript:alert(1)", "http://shop.example/" + "x" * 500,
        ):  # fmt: skip
            self.assertIsNotNone(url_fault(url), url)
        for url in ("https://shop.example/dlr?a=b", "http://shop.example:8080", "https://203.0.113.9:8443/x", "https://[2001:4860::1]/"):
            self.assertIsNone(url_fault(url), url)
