from __future__ import annotations

from ipaddress import ip_address, ip_network
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from protei_bulk.access.limits import address_allowed, plain_address
from protei_bulk.channels.http.client import budget_of, client_address, credentials, hops, is_internal
from protei_bulk.model.account import network_of

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
KINDS = ("x-forwarded-for", "forwarded")


def said(*lines: str, kind: str = "x-forwarded-for") -> list[str]:
    return hops(Headers({kind: list(lines)}), kind)


class AddressTest(TestCase):
    def test_nobody_is_trusted(self) -> None:
        self.assertEqual(client_address("192.0.2.9", ["1.2.3.4"], ()), "192.0.2.9")
        self.assertEqual(client_address("192.0.2.9", ["1.2.3.4"], PROXIES), "192.0.2.9")

    def test_chains(self) -> None:
        for forwarded, expected in (
            (["1.2.3.4"], "1.2.3.4"), (["6.6.6.6, 1.2.3.4"], "1.2.3.4"), (["6.6.6.6", "1.2.3.4, 10.1.1.1"], "1.2.3.4"),
            (["10.1.1.1"], "10.1.1.1"), (["nonsense"], "10.0.0.1"), (["1.2.3.4, nonsense, 10.2.2.2"], "10.2.2.2"),
            (["1.2.3.4:5678"], "1.2.3.4"), (["[2001:db8::1]:80"], "2001:db8::1"), (["2001:db8::1"], "2001:db8::1"),
            ([""], "10.0.0.1"), ([], "10.0.0.1"), (["::ffff:1.2.3.4"], "1.2.3.4"), (["1.2.3.4,"], "10.0.0.1"), (["010.1.2.3"], "10.0.0.1"),
            (["unknown"], "10.0.0.1"), (["1.2.3"], "10.0.0.1"), (["0x7f.1"], "10.0.0.1"), (["[::1"], "10.0.0.1"),
            (["fd00::1, fe80::1%eth0"], "fe80::1"),
        ):  # fmt: skip
            self.assertEqual(client_address("10.0.0.1", said(*forwarded), PROXIES), expected, forwarded)

    def test_a_proxy_that_came_by_ipv6(self) -> None:
        self.assertEqual(client_address("::ffff:10.0.0.1", said("1.2.3.4"), PROXIES), "1.2.3.4")
        self.assertEqual(client_address("fd00::1", said("2001:db8::9"), PROXIES), "2001:db8::9")

    def test_forwarded(self) -> None:
        for lines, expected in (
            (["for=1.2.3.4"], "1.2.3.4"), (["for=6.6.6.6, for=1.2.3.4;proto=https;by=10.0.0.1"], "1.2.3.4"),
            (["For=\"1.2.3.4:80\""], "1.2.3.4"), (['for="[2001:db8:cafe::17]:4711"'], "2001:db8:cafe::17"),
            (["proto=http;FOR = 1.2.3.4"], "1.2.3.4"), (["for=1.2.3.4", "for=10.5.5.5"], "1.2.3.4"),
            (["for=6.6.6.6;by=\"x, for=7.7.7.7\", for=1.2.3.4"], "1.2.3.4"),
            (["for=1.2.3.4, for=unknown"], "10.0.0.1"), (["for=_hidden"], "10.0.0.1"), (["by=1.2.3.4"], "10.0.0.1"),
            (["for=1.2.3.4;for=5.6.7.8"], "10.0.0.1"), (['for="1.2.3.4'], "10.0.0.1"), (["1.2.3.4"], "10.0.0.1"), ([""], "10.0.0.1"),
        ):  # fmt: skip
            self.assertEqual(client_address("10.0.0.1", said(*lines, kind="forwarded"), PROXIES), expected, lines)

    @given(st.lists(st.text(alphabet='for=by;:,"\\\\[]1.0 ', max_size=40), max_size=3), st.sampled_from(KINDS))
    def test_whatever_they_say(self, lines: list[str], kind: str) -> None:
        found = client_address("10.0.0.1", said(*lines, kind=kind), PROXIES)
        ip_address(found)

    @given(
        st.lists(st.sampled_from(["6.6.6.6", "junk", "10.9.9.9", ""]), max_size=4), st.sampled_from(["1.2.3.4", "2001:db8::1"]),
        st.integers(0, 3),
    )  # fmt: skip
    def test_what_a_client_writes_itself_does_not_matter(self, forged: list[str], client: str, proxies: int) -> None:
        """A chain of proxies appends whom it has seen; the client's own words stand before that."""
        chain = [*forged, client, *["10.1.1.1"] * proxies]
        self.assertEqual(client_address("10.0.0.1", said(", ".join(chain)), PROXIES), client)

    def test_internal(self) -> None:
        self.assertTrue(is_internal("127.0.0.1", [], ()))
        self.assertTrue(is_internal("::1", [], ()))
        self.assertTrue(is_internal("::ffff:127.0.0.1", [], ()))
        self.assertTrue(is_internal("10.0.0.1", [], PROXIES))
        self.assertFalse(is_internal("10.0.0.1", [], ()))
        self.assertFalse(is_internal("192.0.2.1", [], PROXIES))
        self.assertFalse(is_internal("127.0.0.1", ["192.0.2.1"], PROXIES))
        self.assertFalse(is_internal("10.0.0.1", ["192.0.2.1"], PROXIES))
        self.assertFalse(is_internal("10.0.0.1", ["unknown"], PROXIES))
        self.assertFalse(is_internal("10.0.0.1", ["junk", "10.2.2.2"], PROXIES))
        self.assertFalse(is_internal("", [], PROXIES))

    def test_who_counts_as_one(self) -> None:
        self.assertEqual(budget_of("192.0.2.1"), budget_of("::ffff:192.0.2.1"))
        self.assertEqual(budget_of("2001:db8::1"), budget_of("2001:db8:0:0:ffff::2"))
        self.assertNotEqual(budget_of("2001:db8:0:1::1"), budget_of("2001:db8:0:2::1"))
        self.assertEqual(budget_of(""), "")


class AllowListTest(TestCase):
    def test_admitted_or_not(self) -> None:
        for listed, address, admitted in (
            ("192.0.2.1", "192.0.2.1", True), ("192.0.2.1", "192.0.2.2", False), ("192.0.2.0/24", "192.0.2.255", True),
            ("192.0.2.7/24", "192.0.2.200", True), ("2001:db8::/32", "2001:db8:1::9", True), ("2001:db8::/32", "2001:db9::9", False),
            ("192.0.2.1", "::ffff:192.0.2.1", True), ("192.0.2.0/24", "::ffff:c000:0209", True), ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("::ffff:192.0.2.0/120", "192.0.2.99", True), ("::ffff:0:0/96", "203.0.113.1", True), ("0.0.0.0/0", "2001:db8::1", False),
            ("::/0", "192.0.2.1", False), ("::1", "127.0.0.1", False), ("fe80::1", "fe80::1%eth0", True), ("192.0.2.1", "", False),
            ("192.0.2.1", "192.0.2.1.example", False), ("192.0.2.1", "192.000.002.001", False),
        ):  # fmt: skip
            self.assertIs(address_allowed(address, (network_of(listed),)), admitted, (listed, address))
        self.assertTrue(address_allowed("anything", ()))

    @given(st.ip_addresses(v=4), st.integers(0, 32))
    def test_a_mapped_network_is_the_one_it_maps(self, address: object, prefix: int) -> None:
        network = network_of(f"::ffff:{address}/{96 + prefix}")
        self.assertEqual(network, network_of(f"{address}/{prefix}"))
        self.assertIn(plain_address(f"::ffff:{address}"), network)


class CredentialsTest(TestCase):
    def test_kinds(self) -> None:
        self.assertEqual(credentials("bearer  abc ").secret, "abc")
        self.assertEqual(credentials("BASIC YTpiOmM="), credentials("Basic YTpiOmM="))
        found = credentials("Basic YTpiOmM=")
        self.assertEqual((found.kind, found.name, found.secret), ("BASIC_AUTH", "a", "b:c"))
        for nothing in (None, "", "Bearer", "Basic", "Basic YQ==", "Token x"):
            self.assertEqual(credentials(nothing).kind, "", nothing)
