"""TLS towards customers: 1.2 and later, client certificates where asked for, read anew on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer


def _options(certificate: Path, private_key: Path, client_ca: Path | None, require: bool) -> CertificateOptions:
    end = b"-----END CERTIFICATE-----"
    pems = [p + end + b"\n" for p in certificate.read_bytes().split(end) if b"BEGIN CERTIFICATE" in p]
    if not pems:
        raise ValueError(f"{certificate} holds no certificate")
    own = PrivateCertificate.loadPEM(pems[0] + private_key.read_bytes())
    authority = Certificate.loadPEM(client_ca.read_bytes()) if client_ca else None
    return CertificateOptions(
        privateKey=own.privateKey.original,
        certificate=own.original,
        extraCertChain=[Certificate.loadPEM(p).original for p in pems[1:]],
        verify=authority is not None and require,
        requireCertificate=require,
        caCerts=[authority.original] if authority is not None else None,
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """What one listener presents. A connection keeps what it began with when `load` reads other files."""

    def __init__(self, certificate: Path, private_key: Path, client_ca: Path | None = None, *, require: bool = False) -> None:
        self._paths = (certificate, private_key, client_ca, require)
        self._context: SSL.Context | None = None
        self.load()

    def load(self) -> None:
        """Raises OSError, ValueError or SSL.Error; what was loaded before stays then."""
        self._context = _options(*self._paths).getContext()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802
        assert self._context is not None
        return SSL.Connection(self._context, None)

    def wrap(self, factory: IProtocolFactory, reactor: Any) -> TLSMemoryBIOFactory:
        """A factory that speaks TLS in front of another."""
        return TLSMemoryBIOFactory(self, False, factory, reactor)
