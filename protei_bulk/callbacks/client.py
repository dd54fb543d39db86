"""The HTTP client that callbacks go out with: checked addresses, no cookies, connections kept a while."""

from __future__ import annotations

from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.iweb import IPolicyForHTTPS

from protei_bulk.callbacks.addresses import CheckedEndpoints


def make_client(
    reactor: Any, allow_private: Callable[[], bool], *, per_host: int = 10, policy: IPolicyForHTTPS | None = None
) -> tuple[HTTPClient, HTTPConnectionPool]:
    """The client, and its pool, to be closed at the end."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = per_host
    pool.cachedConnectionTimeout = 30
    agent = Agent.usingEndpointFactory(reactor, CheckedEndpoints(reactor, allow_private, policy), pool)
    # One jar for all customers would carry what one of their servers sets: it takes nothing.
    return HTTPClient(agent, IndexableCookieJar(DefaultCookiePolicy(allowed_domains=[]))), pool
