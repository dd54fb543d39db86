"""TLS towards one SMSC: 1.2 and later, its certificate verified unless the configuration says no."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from protei_bulk.settings import Smsc

log = Logger()
_END = b"-----END CERTIFICATE-----"


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Encrypts towards whoever answers. For an SMSC whose certificate nobody can verify."""

    def __init__(self, options: CertificateOptions, name: str) -> None:
        self._context, self._name = options.getContext(), name

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802
        connection = SSL.Connection(self._context, None)
        if not _is_address(self._name):  # RFC 6066 section 3: addresses are no server names
            connection.set_tlsext_host_name(self._name.encode("idna"))
        return connection


@implementer(IOpenSSLClientConnectionCreator)
class SmscTls:
    """How one connector speaks TLS. Connections made after a `load` use the files as they are then."""

    def __init__(self, smsc: Smsc) -> None:
        self._smsc = smsc
        if not smsc.tls_verify:
            log.warn("{smsc}: its certificate is not verified (tls_verify = false)", smsc=smsc.id)
        self.load()

    def load(self) -> None:
        """Raises OSError, or ValueError that names the file; what was loaded before stays then."""
        try:
            self._load()
        except (SSL.Error, crypto.Error, VerifyError) as error:
            s = self._smsc
            files = ", ".join(str(f) for f in (s.tls_ca, s.tls_certificate, s.tls_private_key) if f is not None)
            raise ValueError(f"{s.id}: no certificate and key that can be used in {files}: {error}") from None

    def _load(self) -> None:
        s = self._smsc
        name = s.tls_hostname or s.host
        own = _own(s.tls_certificate, s.tls_private_key)
        options: dict[str, Any] = {"raiseMinimumTo": TLSVersion.TLSv1_2}
        if own is not None:
            certificate, chain = own
            options |= {"privateKey": certificate.privateKey.original, "certificate": certificate.original, "extraCertChain": chain}
        if not s.tls_verify:
            self._creator: Any = _Unverified(CertificateOptions(**options), name)
            return
        CertificateOptions(**options).getContext()  # says now whether certificate and key belong together
        # Without tls_ca: the system's authorities.
        trust = trustRootFromCertificates([Certificate.loadPEM(p) for p in _pems(s.tls_ca)]) if s.tls_ca else None
        self._creator = optionsForClientTLS(name, trustRoot=trust, extraCertificateOptions=options)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802
        connection: SSL.Connection = self._creator.clientConnectionForTLS(protocol)
        return connection

    def wrap(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        """An endpoint that speaks TLS over another."""
        return wrapClientTLS(self, endpoint)


def _pems(path: Path) -> list[bytes]:
    pems = [p + _END + b"\n" for p in path.read_bytes().split(_END) if b"BEGIN CERTIFICATE" in p]
    if not pems:
        raise ValueError(f"{path} holds no certificate")
    return pems


def _own(certificate: Path | None, private_key: Path | None) -> tuple[PrivateCertificate, list[Any]] | None:
    """Our own certificate and what stands between it and its authority."""
    if certificate is None or private_key is None:
        return None
    pems = _pems(certificate)
    own = PrivateCertificate.loadPEM(pems[0] + private_key.read_bytes())
    return own, [Certificate.loadPEM(p).original for p in pems[1:]]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
