"""Who is at the other end of a request: address and credentials."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from attrs import frozen
from twisted.web.iweb import IRequest

from protei_bulk.access.limits import plain_address
from protei_bulk.settings import Http

Networks = tuple[IPv4Network | IPv6Network, ...]


def within(text: str, networks: Networks) -> bool:
    address = plain_address(text)
    return address is not None and any(address in network for network in networks)


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Networks) -> str:
    """The nearest address that is no trusted proxy: what stands before it in X-Forwarded-For anybody may write."""
    address = peer
    if not trusted or not forwarded_for or not within(peer, trusted):
        return address
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    for hop in reversed(hops):
        plain = plain_address(_without_port(hop))
        if plain is None:
            break
        address = str(plain)
        if not within(address, trusted):
            break
    return address


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def forwarded_https(request: IRequest, settings: Http) -> bool:
    """Whether a trusted proxy says that the client came to it by HTTPS."""
    peer = str(getattr(request.getClientAddress(), "host", "") or "")
    if not settings.trusted_proxies or not within(peer, settings.trusted_proxies):
        return False
    said: list[str] = request.requestHeaders.getRawHeaders("x-forwarded-proto", [])
    return bool(said) and said[-1].rpartition(",")[2].strip().lower() == "https"


def is_internal(peer: str, forwarded_for: Sequence[str], trusted: Networks) -> bool:
    """Whether a request comes from this machine or a trusted proxy itself, not through one from elsewhere."""
    if forwarded_for and not within(peer, trusted):
        return False  # somebody passes on what others send, and has not been declared
    plain = plain_address(client_address(peer, forwarded_for, trusted))
    return plain is not None and (plain.is_loopback or any(plain in network for network in trusted))


def budget_of(address: str) -> str:
    """Whose requests count together: an IPv4 address, or the /64 that a holder of IPv6 addresses chooses them from."""
    plain = plain_address(address)
    if plain is None:
        return address[:64]
    return str(plain) if plain.version == 4 else str(IPv6Network((plain, 64), strict=False))


@frozen
class Credentials:
    """kind: API_KEY (secret is the key), BASIC_AUTH (name and secret), or "" for none that is understood."""

    kind: str = ""
    name: str = ""
    secret: str = ""


def credentials(authorization: str | None) -> Credentials:
    """Of an Authorization header."""
    scheme, _, value = (authorization or "").strip().partition(" ")
    value = value.strip()
    if not value:
        return Credentials()
    if scheme.lower() == "bearer":
        return Credentials("API_KEY", "", value)
    if scheme.lower() == "basic":
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return Credentials()
        if colon:
            return Credentials("BASIC_AUTH", name, password)
    return Credentials()
