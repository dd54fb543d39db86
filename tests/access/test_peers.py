from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.peers import PLAIN, TlsPeer, refusal
from protei_bulk.model.account import Account

AHMAD = Account(7, "ahmad", 1)
TLS = TlsPeer(True)
OWN = TlsPeer(True, frozenset({"ahmad", "Ahmad.Example"}))


class PeersTest(SynchronousTestCase):
    def code(self, peer: TlsPeer, **values: object) -> str | None:
        found = refusal(evolve(AHMAD, **values), peer)
        return None if found is None else found.code

    def test_no_condition(self) -> None:
        for peer in (PLAIN, TLS, OWN):
            self.assertIsNone(self.code(peer))

    def test_tls_only(self) -> None:
        self.assertEqual("TLS_REQUIRED", self.code(PLAIN, smpp_require_tls=True))
        self.assertIsNone(self.code(TLS, smpp_require_tls=True))

    def test_its_own_certificate(self) -> None:
        for identity in ("ahmad", "ahmad.example", "AHMAD"):
            self.assertIsNone(self.code(OWN, smpp_tls_identity=identity))
        for peer in (PLAIN, TLS):
            self.assertEqual("CERTIFICATE_REQUIRED", self.code(peer, smpp_tls_identity="ahmad"))
        for identity in ("ahma", "ahmad.example.com", "*"):
            self.assertEqual("CERTIFICATE_REQUIRED", self.code(OWN, smpp_tls_identity=identity))
