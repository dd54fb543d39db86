from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, PrivateCertificate, TLSVersion
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.test.iosim import connectedServerAndClient
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.peers import PLAIN, TlsPeer
from protei_bulk.channels.tls import Certificates, names_on, peer_of
from tests.support.certificates import Authority


def make(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private


class Echo(Protocol):
    lost = False
    last = PLAIN

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        Echo.last = peer_of(self.transport)
        self.transport.write(data.upper())

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        self.lost = True


class Collect(Protocol):
    def __init__(self) -> None:
        self.got, self.name = b"", ""

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.got += data
        self.name = self.transport.getPeerCertificate().get_subject().CN


class Tls(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.pem, self.key = make(self.folder, "localhost")

    def talk(self, certificates: Certificates, client: Any) -> tuple[bytes, str]:
        """What the client got, and the name on the server's certificate."""
        clock = Clock()
        inner = Collect()
        server = certificates.wrap(Factory.forProtocol(Echo), clock)
        outer = TLSMemoryBIOFactory(client, True, Factory.forProtocol(lambda: inner), clock)
        pump = connectedServerAndClient(lambda: server.buildProtocol(None), lambda: outer.buildProtocol(None), clock=clock)[2]
        pump.flush()
        for _ in range(10):
            clock.advance(0.01)
            pump.flush()
        return inner.got, inner.name

    def test_speaks_and_reads_anew(self) -> None:
        certificates = Certificates(self.pem, self.key)
        self.assertEqual(self.talk(certificates, CertificateOptions()), (b"HELLO", "localhost"))
        other, key = make(self.folder, "renewed")
        self.pem.write_bytes(other.read_bytes())
        self.key.write_bytes(key.read_bytes())
        certificates.load()
        self.assertEqual(self.talk(certificates, CertificateOptions())[1], "renewed")

    def test_a_bad_file_leaves_the_old_one(self) -> None:
        certificates = Certificates(self.pem, self.key)
        self.pem.write_text("nonsense")
        self.assertRaises(ValueError, certificates.load)
        self.assertEqual(self.talk(certificates, CertificateOptions())[0], b"HELLO")

    def test_a_client_certificate_where_required(self) -> None:
        mine, private = make(self.folder, "client")
        certificates = Certificates(self.pem, self.key, mine, require=True)
        self.assertEqual(self.talk(certificates, CertificateOptions())[0], b"")
        own = PrivateCertificate.loadPEM(mine.read_bytes() + private.read_bytes())
        self.assertEqual(self.talk(certificates, own.options())[0], b"HELLO")

    def test_a_client_certificate_that_may_be_shown_must_be_right(self) -> None:
        mine, private = make(self.folder, "client")
        other, its = make(self.folder, "other")
        certificates = Certificates(self.pem, self.key, mine)
        self.assertEqual(self.talk(certificates, CertificateOptions())[0], b"HELLO")
        own = PrivateCertificate.loadPEM(mine.read_bytes() + private.read_bytes())
        self.assertEqual(self.talk(certificates, own.options())[0], b"HELLO")
        self.assertEqual(Echo.last, TlsPeer(True, frozenset({"client"})))
        stranger = PrivateCertificate.loadPEM(other.read_bytes() + its.read_bytes())
        self.assertEqual(self.talk(certificates, stranger.options())[0], b"")
        # Several authorities in one file; read anew, another set of them.
        both = self.folder / "both.pem"
        both.write_bytes(mine.read_bytes() + other.read_bytes())
        certificates = Certificates(self.pem, self.key, both, require=True)
        self.assertEqual(self.talk(certificates, stranger.options())[0], b"HELLO")
        both.write_bytes(mine.read_bytes())
        certificates.load()
        self.assertEqual(self.talk(certificates, stranger.options())[0], b"")
        self.assertEqual(self.talk(certificates, own.options())[0], b"HELLO")

    def test_who_a_certificate_names(self) -> None:
        authority = Authority(self.folder)
        pem, _ = authority.issue("ahmad", "ahmad.example", "10.0.0.7", "spiffe://example/ahmad")
        names = names_on(x509.load_pem_x509_certificate(pem.read_bytes()))
        self.assertEqual(names, {"ahmad", "ahmad.example", "10.0.0.7", "spiffe://example/ahmad"})
        self.assertEqual(names_on(x509.load_pem_x509_certificate(authority.pem.read_bytes())), {"authority"})

    def test_without_tls_nobody_is_named(self) -> None:
        self.assertEqual(peer_of(StringTransport()), PLAIN)

    def test_modern_ciphers_only(self) -> None:
        certificates = Certificates(self.pem, self.key)
        for old in ("AES256-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"):
            ciphers = AcceptableCiphers.fromOpenSSLCipherString(old)
            client = CertificateOptions(acceptableCiphers=ciphers, lowerMaximumSecurityTo=TLSVersion.TLSv1_2)
            self.assertEqual(self.talk(certificates, client)[0], b"", old)
        client = CertificateOptions(lowerMaximumSecurityTo=TLSVersion.TLSv1_2)
        self.assertEqual(self.talk(certificates, client)[0], b"HELLO")

    def test_files_that_do_not_belong_together(self) -> None:
        _, other = make(self.folder, "other")
        self.assertIn(str(other), str(self.assertRaises(ValueError, Certificates, self.pem, other)))

    def test_nothing_below_1_2(self) -> None:
        certificates = Certificates(self.pem, self.key)
        old = CertificateOptions(insecurelyLowerMinimumTo=TLSVersion.TLSv1_0, lowerMaximumSecurityTo=TLSVersion.TLSv1_1)
        self.assertEqual(self.talk(certificates, old)[0], b"")
