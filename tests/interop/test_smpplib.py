"""smpplib as ESME."""

from __future__ import annotations

import socket
import ssl

from tests.interop import base, by_smpplib, scenarios


class OverTcp(by_smpplib.Speaks, scenarios.Sends, scenarios.Receives):
    pass


class OverTls(OverTcp):
    user = "smpplib-tls"
    tls = True

    def test_a_certificate_that_nobody_signed_is_noticed(self) -> None:
        """What verification is worth: the gateway's certificate against other authorities."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=base.ANSWERED)
        self.addCleanup(raw.close)
        self.assertRaises(ssl.SSLCertVerificationError, ssl.create_default_context().wrap_socket, raw, server_hostname="localhost")

    def test_nothing_below_1_2(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=base.ANSWERED)
        self.addCleanup(raw.close)
        self.assertRaises((ssl.SSLError, ConnectionError), context.wrap_socket, raw)
