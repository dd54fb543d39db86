"""Where a callback may connect to: names are resolved once, and only a checked address is used."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Any

from twisted.internet.address import IPv4Address as TcpAddress4
from twisted.internet.address import IPv6Address as TcpAddress6
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

_NAT64 = IPv6Network("64:ff9b::/96")

# The special-purpose registries of IANA. Python's is_global knows most of them, and not the same ones in every version.
_SPECIAL4 = tuple(IPv4Network(n) for n in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
    "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/3",
))  # fmt: skip
_GLOBAL6 = IPv6Network("2000::/3")
# Within it: Teredo, benchmarking, ORCHID and others of 2001::/23, documentation, 6to4, whose other end is an IPv4 address.
_SPECIAL6 = tuple(IPv6Network(n) for n in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))


class AddressRefused(Exception):
    """The host is, or resolves to, an address of a private network."""


def is_public(text: str) -> bool:
    """Whether an IP address belongs to the Internet at large, also the IPv4 address within an IPv6 one."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL4)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(str(address.ipv4_mapped))
    if address in _NAT64:
        return is_public(str(IPv4Address(int(address) & 0xFFFFFFFF)))
    return address in _GLOBAL6 and not any(address in network for network in _SPECIAL6)


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self) -> None:
        self.found: list[str] = []
        self.done: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: Any) -> None:  # noqa: N802, N803
        pass

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        if isinstance(address, TcpAddress4 | TcpAddress6) and address.host not in self.found:
            self.found.append(address.host)

    def resolutionComplete(self) -> None:  # noqa: N802
        self.done.callback(self.found)


class Lookups:
    """Asks for each name only once at a time, so that a slow name server holds one thread for it, not ten."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._running: dict[str, list[Deferred[list[str]]]] = {}

    def resolve(self, host: str) -> Deferred[list[str]]:
        """The addresses of a name, possibly none; a literal address is its own."""
        waiter: Deferred[list[str]] = Deferred()
        waiting = self._running.get(host)
        if waiting is not None:
            waiting.append(waiter)
            return waiter
        self._running[host] = [waiter]
        receiver = _Receiver()
        receiver.done.addCallback(self._resolved, host)
        self._reactor.nameResolver.resolveHostName(receiver, host)
        return waiter

    def _resolved(self, found: list[str], host: str) -> None:
        for waiter in self._running.pop(host, []):
            if not waiter.called:
                waiter.callback(list(found))


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """Connects to the first address that answers, of those that may be used.

    Fails with AddressRefused where there are only private ones, DNSLookupError where there are none.
    """

    def __init__(self, reactor: Any, lookups: Lookups, host: str, port: int, allow_private: bool) -> None:
        self._reactor = reactor
        self._lookups = lookups
        self._host, self._port = host, port
        self._allow_private = allow_private

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        found = await self._lookups.resolve(self._host)
        if not found:
            raise DNSLookupError(f"no address found for {self._host}")
        usable = found if self._allow_private else [a for a in found if is_public(a)]
        if not usable:
            raise AddressRefused(f"{self._host} has a private address")
        problem: Exception | None = None
        for address in usable[:4]:
            kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            try:
                connected: IProtocol = await kind(self._reactor, address, self._port, timeout=5).connect(factory)
                return connected
            except Exception as error:
                problem = error
        assert problem is not None
        raise problem


@implementer(IAgentEndpointFactory)
class CheckedEndpoints:
    """For twisted.web.client.Agent.usingEndpointFactory. The certificate must be that of the name."""

    def __init__(self, reactor: Any, allow_private: Callable[[], bool], policy: IPolicyForHTTPS | None = None) -> None:
        self._reactor = reactor
        self._lookups = Lookups(reactor)
        self._allow_private = allow_private
        self._policy = policy or BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802
        host = uri.host.decode("ascii").strip("[]")
        plain = CheckedEndpoint(self._reactor, self._lookups, host, uri.port, self._allow_private())
        if uri.scheme == b"http":
            return plain
        if uri.scheme == b"https":
            creator = self._policy.creatorForNetloc(uri.host, uri.port)
            secured: IStreamClientEndpoint = wrapClientTLS(creator, plain)
            return secured
        raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")
