from __future__ import annotations

from ipaddress import ip_network
from unittest import TestCase

from protei_bulk.channels.http.client import client_address, credentials, is_internal

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


class AddressTest(TestCase):
    def test_nobody_is_trusted(self) -> None:
        self.assertEqual(client_address("192.0.2.9", ["1.2.3.4"], ()), "192.0.2.9")
        self.assertEqual(client_address("192.0.2.9", ["1.2.3.4"], PROXIES), "192.0.2.9")

    def test_chains(self) -> None:
        for forwarded, expected in (
            (["1.2.3.4"], "1.2.3.4"), (["6.6.6.6, 1.2.3.4"], "1.2.3.4"), (["6.6.6.6", "1.2.3.4, 10.1.1.1"], "1.2.3.4"),
            (["10.1.1.1"], "10.1.1.1"), (["nonsense"], "10.0.0.1"), (["1.2.3.4, nonsense, 10.2.2.2"], "10.2.2.2"),
            (["1.2.3.4:5678"], "1.2.3.4"), (["[2001:db8::1]:80"], "2001:db8::1"), (["2001:db8::1"], "2001:db8::1"),
            ([""], "10.0.0.1"), ([], "10.0.0.1"),
        ):  # fmt: skip
            self.assertEqual(client_address("10.0.0.1", forwarded, PROXIES), expected, forwarded)

    def test_internal(self) -> None:
        self.assertTrue(is_internal("127.0.0.1", [], ()))
        self.assertTrue(is_internal("::1", [], ()))
        self.assertTrue(is_internal("::ffff:127.0.0.1", [], ()))
        self.assertTrue(is_internal("10.0.0.1", [], PROXIES))
        self.assertFalse(is_internal("10.0.0.1", [], ()))
        self.assertFalse(is_internal("192.0.2.1", [], PROXIES))
        self.assertFalse(is_internal("127.0.0.1", ["192.0.2.1"], PROXIES))
        self.assertFalse(is_internal("10.0.0.1", ["192.0.2.1"], PROXIES))
        self.assertFalse(is_internal("", [], PROXIES))


class CredentialsTest(TestCase):
    def test_kinds(self) -> None:
        self.assertEqual(credentials("bearer  abc ").secret, "abc")
        self.assertEqual(credentials("BASIC YTpiOmM="), credentials("Basic YTpiOmM="))
        found = credentials("Basic YTpiOmM=")
        self.assertEqual((found.kind, found.name, found.secret), ("BASIC_AUTH", "a", "b:c"))
        for nothing in (None, "", "Bearer", "Basic", "Basic YQ==", "Token x"):
            self.assertEqual(credentials(nothing).kind, "", nothing)
