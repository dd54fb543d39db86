from __future__ import annotations

from typing import Any
from unittest import TestCase

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported

from protei_bulk.callbacks.addresses import AddressRefused, CheckedEndpoints, Lookups, is_public


class IsPublicTest(TestCase):
    def test_public(self) -> None:
        for address in ("8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"):
            self.assertTrue(is_public(address), address)

    def test_not(self) -> None:
        for address in (
            "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
            "255.255.255.255", "192.0.2.1", "240.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
            "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1",
            "2001:db8::1", "nonsense", "",
        ):  # fmt: skip
            self.assertFalse(is_public(address), address)


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
