"""The HTTP client that callbacks go out with: checked addresses, no cookies, no redirects, connections kept a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from typing import Any

from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS

from protei_bulk.callbacks.addresses import CheckedEndpoints


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False  # else two lines in the log for each connection: where customers keep none open, for each callback


class CallbackClient:
    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        # One jar for all customers would carry what one of their servers sets: it takes nothing.
        self._client = HTTPClient(agent, IndexableCookieJar(DefaultCookiePolicy(allowed_domains=[])))

    def post(
        self, url: str, *, data: bytes, headers: Mapping[str, str] | None = None, allow_redirects: bool = False, unbuffered: bool = True
    ) -> Deferred[Any]:
        """Fires with the response. `url` is one that urls.url_fault finds nothing wrong with."""
        sent = Headers({name: [value] for name, value in (headers or {}).items()})
        if "://[" in url:  # treq would encode an IPv6 address as if it were a name
            return self._agent.request(b"POST", url.partition("#")[0].encode("ascii"), sent, FileBodyProducer(BytesIO(data)))
        d: Deferred[Any] = self._client.post(url, data=data, headers=sent, allow_redirects=allow_redirects, unbuffered=unbuffered)
        return d


def make_client(
    reactor: Any, allow_private: Callable[[], bool], *, per_host: int = 10, policy: IPolicyForHTTPS | None = None
) -> tuple[CallbackClient, HTTPConnectionPool]:
    """The client, and its pool, to be closed at the end."""
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool._factory = _QuietFactory
    pool.maxPersistentPerHost = per_host
    pool.cachedConnectionTimeout = 30
    return CallbackClient(Agent.usingEndpointFactory(reactor, CheckedEndpoints(reactor, allow_private, policy), pool)), pool
