"""Who is at the other end of a request: address and credentials."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from attrs import field, frozen
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRequest

from protei_bulk.access.limits import plain_address
from protei_bulk.settings import Http

Networks = tuple[IPv4Network | IPv6Network, ...]


def within(text: str, networks: Networks) -> bool:
    address = plain_address(text)
    return address is not None and any(address in network for network in networks)


def hops(headers: Headers, kind: str) -> list[str]:
    """What proxies say of who came to them, the nearest last: of X-Forwarded-For, or of Forwarded (RFC 7239)."""
    said = headers.getRawHeaders(kind, [])
    if kind == "forwarded":
        return [_parameter(element, "for") for line in said for element in _split(line, ",")]
    return [hop.strip() for line in said for hop in line.split(",")]


def _split(text: str, separator: str) -> list[str]:
    """At separators outside of quotes."""
    parts, quoted, begin, skip = [], False, 0, False
    for i, c in enumerate(text):
        if skip:
            skip = False
        elif c == "\\" and quoted:
            skip = True
        elif c == '"':
            quoted = not quoted
        elif c == separator and not quoted:
            parts.append(text[begin:i])
            begin = i + 1
    return [*parts, text[begin:]]


def _parameter(element: str, name: str) -> str:
    """Of one element of Forwarded; "" where it has none, or two."""
    found = []
    for pair in _split(element, ";"):
        key, _, value = pair.partition("=")
        if key.strip().lower() == name:
            value = value.strip()
            found.append(value[1:-1].replace("\\", "") if len(value) > 1 and value[0] == value[-1] == '"' else value)
    return found[0] if len(found) == 1 else ""


def client_address(peer: str, hops: Sequence[str], trusted: Networks) -> str:
    """The nearest address that is no trusted proxy: what stands before it anybody may have written.

    Where a hop is no address, it is the proxy that said so.
    """
    address = peer
    if not trusted or not hops or not within(peer, trusted):
        return address
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
        inner, bracket, _ = hop[1:].partition("]")
        return inner if bracket else ""
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def forwarded_https(request: IRequest, settings: Http) -> bool:
    """Whether a trusted proxy says that the client came to it by HTTPS."""
    if not settings.trusted_proxies:
        return False
    peer = str(getattr(request.getClientAddress(), "host", "") or "")
    if not within(peer, settings.trusted_proxies):
        return False
    if settings.forwarded_header == "forwarded":
        said = [_parameter(e, "proto") for line in request.requestHeaders.getRawHeaders("forwarded", []) for e in _split(line, ",")]
    else:
        said = request.requestHeaders.getRawHeaders("x-forwarded-proto", [])
    return bool(said) and said[-1].rpartition(",")[2].strip().lower() == "https"


def is_internal(peer: str, hops: Sequence[str], trusted: Networks) -> bool:
    """Whether a request comes from this machine or a trusted proxy itself, not through one from elsewhere."""
    if hops and not within(peer, trusted):
        return False  # somebody passes on what others send, and has not been declared
    if any(plain_address(_without_port(hop)) is None for hop in hops):
        return False  # a proxy that does not say for whom
    plain = plain_address(client_address(peer, hops, trusted))
    return plain is not None and (plain.is_loopback or any(plain in network for network in trusted))


@lru_cache(4096)
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
    secret: str = field(default="", repr=False)


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
