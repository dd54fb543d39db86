"""TLS towards an SMSC, over loopback: who is believed, who is not, and what we show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from protei_bulk.channels.tls import Certificates, names_on
from protei_bulk.connectors.tls import SmscTls
from protei_bulk.settings import Smsc
from tests.support.certificates import Authority

R: Any = reactor


class Answers(Protocol):
    """The SMSC's side: says what the client showed."""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        certificate: Any = self.transport.getPeerCertificate()  # type: ignore[union-attr]
        names = sorted(names_on(certificate.to_cryptography())) if certificate else []
        self.transport.write(f"{' '.join(names)}\n".encode())  # type: ignore[union-attr]


class Asks(Protocol):
    """Our side: fires with what the SMSC said, or why the connection ended."""

    def __init__(self) -> None:
        self.said: Deferred[str] = Deferred()
        self.over: Deferred[None] = Deferred()

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.write(b"hello")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.said.callback(data.decode().strip())

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: N802
        if not self.said.called:
            self.said.errback(reason)
        self.over.callback(None)


class SmscTlsTest(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = Authority(self.folder)
        self.served = self.authority.issue("smsc.example", "smsc.example", "127.0.0.1")
        self.server = Certificates(*self.served)
        self.port = R.listenTCP(0, self.server.wrap(Factory.forProtocol(Answers), R), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    def smsc(self, **settings: Any) -> Smsc:
        return Smsc(id="Zain", host="127.0.0.1", port=self.port.getHost().port, tls=True, **settings)

    async def talk(self, tls: SmscTls) -> str:
        endpoint: Any = tls.wrap(HostnameEndpoint(R, b"127.0.0.1", self.port.getHost().port))
        client: Asks = await endpoint.connect(Factory.forProtocol(Asks))
        try:
            return await client.said
        finally:
            client.transport.abortConnection()  # type: ignore[union-attr]
            await client.over

    async def refused(self, tls: SmscTls) -> None:
        try:
            await self.talk(tls)
        except Exception:
            return
        self.fail("it was believed")

    async def test_by_an_authority_of_its_own(self) -> None:
        self.assertEqual("", await self.talk(SmscTls(self.smsc(tls_ca=self.authority.pem))))

    async def test_the_systems_authorities_do_not_know_it(self) -> None:
        await self.refused(SmscTls(self.smsc()))

    async def test_another_authority(self) -> None:
        await self.refused(SmscTls(self.smsc(tls_ca=Authority(self.folder, "other").pem)))

    async def test_one_of_several_authorities(self) -> None:
        both = self.folder / "both.pem"
        both.write_bytes(Authority(self.folder, "other").pem.read_bytes() + self.authority.pem.read_bytes())
        self.assertEqual("", await self.talk(SmscTls(self.smsc(tls_ca=both))))

    async def test_the_name_on_it(self) -> None:
        await self.refused(SmscTls(self.smsc(tls_ca=self.authority.pem, tls_hostname="other.example")))
        self.assertEqual("", await self.talk(SmscTls(self.smsc(tls_ca=self.authority.pem, tls_hostname="smsc.example"))))

    async def test_not_verified_on_demand_and_with_a_warning(self) -> None:
        warned: list[str] = []

        def note(event: Any) -> None:
            if event["log_level"].name == "warn":
                warned.append(event["log_format"])

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        for name in ("", "smsc.example"):
            self.assertEqual("", await self.talk(SmscTls(self.smsc(tls_verify=False, tls_hostname=name))))
        self.assertEqual(2, sum("not verified" in w for w in warned))

    async def test_our_own_certificate(self) -> None:
        pem, key = self.authority.issue("gateway.example", "gateway.example")
        required = Certificates(*self.served, self.authority.pem, require=True)
        port = R.listenTCP(0, required.wrap(Factory.forProtocol(Answers), R), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port
        self.assertEqual(
            "gateway.example", await self.talk(SmscTls(self.smsc(tls_ca=self.authority.pem, tls_certificate=pem, tls_private_key=key)))
        )
        await self.refused(SmscTls(self.smsc(tls_ca=self.authority.pem)))
        self.assertEqual(
            "gateway.example", await self.talk(SmscTls(self.smsc(tls_verify=False, tls_certificate=pem, tls_private_key=key)))
        )

    async def test_read_anew(self) -> None:
        other = Authority(self.folder, "other")
        ca = self.folder / "ca.pem"
        ca.write_bytes(other.pem.read_bytes())
        tls = SmscTls(self.smsc(tls_ca=ca))
        await self.refused(tls)
        ca.write_bytes(self.authority.pem.read_bytes())
        tls.load()
        self.assertEqual("", await self.talk(tls))
        ca.write_text("nonsense")
        self.assertRaises(ValueError, tls.load)
        self.assertEqual("", await self.talk(tls))

    def test_files_that_cannot_be_used(self) -> None:
        pem, _ = self.authority.issue("a.example")
        _, key = self.authority.issue("b.example")
        self.assertRaises(OSError, SmscTls, self.smsc(tls_ca=self.folder / "missing.pem"))
        self.assertRaises(ValueError, SmscTls, self.smsc(tls_ca=key))
        for private in (pem, key):  # none, and another's
            for verify in (True, False):
                error = self.assertRaises(ValueError, SmscTls, self.smsc(tls_certificate=pem, tls_private_key=private, tls_verify=verify))
                self.assertIn(str(private), str(error))
