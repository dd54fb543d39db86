"""TLS towards customers: 1.2 and later, client certificates where asked for, read anew on request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, ISSLTransport
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    TLSVersion,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from protei_bulk.access.peers import PLAIN, TlsPeer

#: forward secrecy and authenticated encryption only: what every TLS library since 2014 speaks
CIPHERS = AcceptableCiphers.fromOpenSSLCipherString(
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK"
)
_END = b"-----END CERTIFICATE-----"


def certificates_in(path: Path) -> list[bytes]:
    """The certificates of a PEM file, each as PEM. Raises OSError; ValueError where there is none."""
    pems = [p + _END + b"\n" for p in path.read_bytes().split(_END) if b"BEGIN CERTIFICATE" in p]
    if not pems:
        raise ValueError(f"{path} holds no certificate")
    return pems


def _options(certificate: Path, private_key: Path, client_ca: Path | None, require: bool) -> CertificateOptions:
    pems = certificates_in(certificate)
    own = PrivateCertificate.loadPEM(pems[0] + private_key.read_bytes())
    authorities = [Certificate.loadPEM(p).original for p in certificates_in(client_ca)] if client_ca else None
    return CertificateOptions(
        privateKey=own.privateKey.original,
        certificate=own.original,
        extraCertChain=[Certificate.loadPEM(p).original for p in pems[1:]],
        verify=authorities is not None,  # one that is shown must be right, required or not
        requireCertificate=require,
        caCerts=authorities,
        acceptableCiphers=CIPHERS,
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """What one listener presents. A connection keeps what it began with when `load` reads other files.

    `client_ca`: a client may present a certificate of these authorities; with `require` it must.
    """

    def __init__(self, certificate: Path, private_key: Path, client_ca: Path | None = None, *, require: bool = False) -> None:
        self._paths = (certificate, private_key, client_ca, require)
        self._context: SSL.Context | None = None
        self.load()

    def load(self) -> None:
        """Raises OSError, or ValueError that names the files; what was loaded before stays then."""
        try:
            self._context = _options(*self._paths).getContext()
        except (SSL.Error, crypto.Error, VerifyError) as error:
            files = ", ".join(str(f) for f in self._paths[:3] if f is not None)
            raise ValueError(f"no certificate and key that can be used in {files}: {error}") from None

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802
        assert self._context is not None
        return SSL.Connection(self._context, None)

    def wrap(self, factory: IProtocolFactory, reactor: Any) -> TLSMemoryBIOFactory:
        """A factory that speaks TLS in front of another."""
        return TLSMemoryBIOFactory(self, False, factory, reactor)


def peer_of(transport: Any) -> TlsPeer:
    """How the other side of a connection has reached us. A certificate that it presented was verified by the handshake."""
    if not ISSLTransport.providedBy(transport) and not isinstance(transport, TLSMemoryBIOProtocol):
        return PLAIN
    certificate: Any = transport.getPeerCertificate()
    return TlsPeer(True, frozenset() if certificate is None else names_on(certificate.to_cryptography()))


def names_on(certificate: x509.Certificate) -> frozenset[str]:
    """The subject's common names, and the names, addresses and URIs of subjectAltName."""
    names = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):  # none, or one that cannot be read
        return frozenset(names)
    kinds = (x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier, x509.IPAddress)
    return frozenset([*names, *(str(a.value) for a in alternatives if isinstance(a, kinds))])
