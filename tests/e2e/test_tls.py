"""TLS on both sides of a running gateway: clients' certificates, accounts that insist, files read anew, an SMSC behind TLS."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import ssl
import threading
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp.framer import Framer
from tests.support.certificates import Authority
from tests.support.esme import Closed, Esme, load
from tests.support.gateway import PASSWORD, Gateway, eventually, free_port

OK, BINDFAIL = 0, 0x0D


class TlsRelay:
    """An SMSC that speaks TLS and wants a certificate: what comes in goes on to a simulator in the clear."""

    def __init__(self, port: int, certificate: tuple[Path, Path], authority: Path) -> None:
        self._to = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._context.load_verify_locations(authority)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.names: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            try:
                raw.settimeout(10)
                inner = self._context.wrap_socket(raw, server_side=True)
                inner.settimeout(None)
            except OSError:
                continue
            subject = dict(pair[0] for pair in inner.getpeercert()["subject"])  # type: ignore[index,misc,union-attr]
            self.names.append(str(subject["commonName"]))
            outer = socket.create_connection(("127.0.0.1", self._to))
            for a, b in ((inner, outer), (outer, inner)):
                threading.Thread(target=_pump, args=(a, b), daemon=True).start()

    def close(self) -> None:
        self._listener.close()


def _pump(a: socket.socket, b: socket.socket) -> None:
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    finally:
        for end in (a, b):
            end.close()


class TlsTest(SynchronousTestCase):
    _shared: ClassVar[tuple[Gateway, Path, int, Authority, TlsRelay] | None] = None

    def setUp(self) -> None:
        if TlsTest._shared is None:
            TlsTest._shared = self.started()
        self.gateway, self.folder, self.port, self.authority, self.relay = TlsTest._shared

    @staticmethod
    def started() -> tuple[Gateway, Path, int, Authority, TlsRelay]:
        gateway = Gateway()
        atexit.register(gateway.stop)
        folder, port = gateway.folder, free_port()
        authority = Authority(folder)
        pem, key = authority.issue("localhost", "localhost", "127.0.0.1")
        clients = folder / "clients.pem"
        clients.write_bytes(authority.pem.read_bytes())
        gateway.settings = f"""
[smpp.tls]
listen = ["tcp:{port}:interface=127.0.0.1"]
certificate = {json.dumps(str(pem))}
private_key = {json.dumps(str(key))}
client_ca = {json.dumps(str(clients))}
"""
        own = authority.issue("gateway.example")
        simulator = gateway.simulate(
            "TLS",
            settings=f"tls = true\ntls_ca = {json.dumps(str(authority.pem))}\n"
            f"tls_certificate = {json.dumps(str(own[0]))}\ntls_private_key = {json.dumps(str(own[1]))}",
        )
        relay = TlsRelay(simulator.port, authority.issue("smsc.example", "smsc.example", "127.0.0.1"), authority.pem)
        simulator.port = relay.port
        gateway.accounts({"ahmad": (), "omar": (), "laila": ()})
        for assignments in (("omar", "smpp_require_tls=true"), ("laila", "smpp_tls_identity=laila.example")):
            command = gateway.administer("user", "set", *assignments)
            out, err = command.communicate(timeout=60)
            assert command.returncode == 0, err
        gateway.start()
        return gateway, folder, port, authority, relay

    def context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.pem))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def bind(self, user: str, tls: ssl.SSLContext | None = None) -> int:
        with Esme(self.gateway.smpp_port if tls is None else self.port, tls=tls) as esme:
            return esme.bind(user, PASSWORD)

    def reasons(self, user: str) -> list[str]:
        found = self.gateway.query(
            "SELECT details ->> 'code' FROM tbl_permission_audit a JOIN users u ON u.id = a.user_id"
            " WHERE u.username = %s AND action = 'BIND_SMPP' AND result <> 'SUCCESS' ORDER BY audit_id",
            (user,),
        )
        return [code for (code,) in found]

    def test_an_account_without_conditions(self) -> None:
        mine = self.authority.issue("anybody")
        self.assertEqual([OK, OK, OK], [self.bind("ahmad"), self.bind("ahmad", self.context()), self.bind("ahmad", self.context(mine))])

    def test_an_account_that_binds_over_tls_only(self) -> None:
        self.assertEqual([BINDFAIL, OK], [self.bind("omar"), self.bind("omar", self.context())])
        eventually(lambda: self.reasons("omar") == ["TLS_REQUIRED"], "audited")

    def test_an_account_that_binds_with_its_own_certificate_only(self) -> None:
        mine = self.authority.issue("laila", "laila.example")
        others = self.authority.issue("ahmad.example", "ahmad.example")
        bound = [self.bind("laila"), self.bind("laila", self.context()), self.bind("laila", self.context(others))]
        self.assertEqual([BINDFAIL] * 3, bound)
        self.assertEqual(OK, self.bind("laila", self.context(mine)))
        eventually(lambda: self.reasons("laila") == ["CERTIFICATE_REQUIRED"] * 3, "audited")

    def test_a_session_ends_when_its_account_asks_for_more(self) -> None:
        with Esme(self.port, tls=self.context()) as esme:
            self.assertEqual(OK, esme.bind("ahmad", PASSWORD))
            for value in ("ahmad.example", ""):
                command = self.gateway.administer("user", "set", "ahmad", f"smpp_tls_identity={value}")
                command.communicate(timeout=60)
            esme.ends()
        eventually(lambda: self.bind("ahmad") == OK, "bound again")

    def test_messages_through_tls_on_both_sides(self) -> None:
        self.assertIn("gateway.example", self.relay.names)
        tls = self.context()
        with Esme(self.port, tls=tls) as esme:
            self.assertEqual(OK, esme.bind("ahmad", PASSWORD))
            for n in range(20):
                status, _ = esme.submitted(f"96277000{n:04d}", registered=1)
                self.assertEqual(0, status)
            for _ in range(20):
                esme.wait(5)
        self.assertEqual(20, sum(c for d, c in self.gateway.simulators["TLS"].taken().items() if d.startswith("96277")))

    def test_a_flood_of_messages_over_tls(self) -> None:
        result = load(self.port, "ahmad", PASSWORD, messages=2000, registered=1, tls=self.context())
        self.assertEqual((2000, 0), (len(result.acknowledged), result.refused))
        self.assertEqual(2000, len(set(result.receipts)))

    def test_what_is_no_tls_is_sent_away(self) -> None:
        for data in (b"\0\0\0\x10\0\0\0\x15\0\0\0\0\0\0\0\1", b"\x16\3\1\0\4\1\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 2000):
            with Esme(self.port) as esme:
                esme.send(data)
                esme.framer = Framer(2**31)  # an alert is no PDU
                esme.ends()
        self.assertNotIn("Traceback", self.gateway.process.log.read_text(errors="replace"))

    def test_files_are_read_anew(self) -> None:
        """Another authority of clients, another certificate of ours: new connections meet them, old ones stay."""
        other = Authority(self.folder, "other")
        mine, strangers = self.authority.issue("mine"), other.issue("stranger")
        standing = Esme(self.port, tls=self.context(mine))
        self.assertEqual(OK, standing.bind("ahmad", PASSWORD))
        self.assertFalse(self.accepted(strangers))
        clients = self.folder / "clients.pem"
        before = clients.read_bytes()
        clients.write_bytes(other.pem.read_bytes())
        self.hang_up()
        eventually(lambda: self.accepted(strangers), "the other authority's clients come in")
        self.assertFalse(self.accepted(mine))
        clients.write_text("nonsense")
        self.hang_up()
        self.assertTrue(self.accepted(strangers))
        clients.write_bytes(before)
        self.hang_up()
        eventually(lambda: self.accepted(mine), "as before")
        self.assertEqual(0, standing.submitted("962780009999")[0])
        standing.socket.close()

    def accepted(self, certificate: tuple[Path, Path]) -> bool:
        try:
            return self.bind("ahmad", self.context(certificate)) == OK
        except (Closed, OSError):
            return False

    def hang_up(self) -> None:
        assert self.gateway.process.child is not None
        os.kill(self.gateway.process.child.pid, signal.SIGHUP)
