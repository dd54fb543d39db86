"""Where a node listens: ports, and the certificates that are read again on SIGHUP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

from protei_bulk.channels.tls import Certificates
from protei_bulk.settings import HttpTls, Settings, SmppTls


class Listeners:
    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ports: list[IListeningPort] = []
        self.certificates: list[Certificates] = []

    async def listen(self, s: Settings, smpp: Any, site: Any) -> None:
        """On everything that the settings name; `smpp` and `site` are the factories."""
        for description in s.smpp.listen:
            self._ports.append(await self._server(description).listen(smpp))
        if s.smpp.tls.listen:
            await self._tls(s.smpp.tls, smpp, s.smpp.tls.client_ca, s.smpp.tls.require_client_certificate)
        if s.http.tls.listen:
            await self._tls(s.http.tls, site, None, False)
        for description in s.http.listen:
            self._ports.append(await self._server(description).listen(site))

    async def _tls(self, tls: SmppTls | HttpTls, factory: Any, client_ca: Path | None, require: bool) -> None:
        assert tls.certificate is not None and tls.private_key is not None  # the settings see to it
        certificates = Certificates(tls.certificate, tls.private_key, client_ca, require=require)
        self.certificates.append(certificates)
        for description in tls.listen:
            self._ports.append(await self._server(description).listen(certificates.wrap(factory, self._reactor)))

    def _server(self, description: str) -> IStreamServerEndpoint:
        """Many may knock at once, after a restart: none of them is to wait for a second SYN."""
        if description.startswith(("tcp:", "tcp6:")) and "backlog=" not in description:
            description += ":backlog=1024"
        server: IStreamServerEndpoint = serverFromString(self._reactor, description)
        return server

    def stop(self) -> Deferred[Any]:
        """Nobody new comes."""
        return DeferredList([d for d in (p.stopListening() for p in self._ports) if d is not None])
