"""smpplib as ESME."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import Any

import smpplib.client
import smpplib.consts
import smpplib.exceptions
import smpplib.gsm
import smpplib.smpp

from tests.interop import base, messages
from tests.interop.messages import Part, Sms
from tests.support.gateway import PASSWORD


class OverTcp(base.Sends):
    user = "smpplib"

    def client(self) -> smpplib.client.Client:
        context = ssl.create_default_context(cafile=str(self.shared.certificate)) if self.tls else None
        if context is not None:
            context.check_hostname = False  # smpplib names no host; the certificate is verified all the same
        client = smpplib.client.Client(
            "127.0.0.1", self.port, timeout=base.ANSWERED, allow_unknown_opt_params=True, ssl_context=context
        )
        client.connect()
        self.addCleanup(self.ended, client)
        return client

    def ended(self, client: smpplib.client.Client) -> None:
        if client._socket is not None:
            client._socket.close()
            client._socket = None

    def parts(self, sms: Sms) -> Sequence[Part]:
        """By smpplib.gsm.make_parts, for what it can cut: it cuts between an escape and its character."""
        if sms.octets or sms.form in (messages.PAYLOAD, messages.SAR) or "€" in sms.text:
            return sms.parts
        found, coding, esm_class = smpplib.gsm.make_parts(sms.text)
        udhi = esm_class & smpplib.consts.SMPP_GSMFEAT_UDHI
        return [Part(octets=p[6 * bool(udhi) :], coding=coding, udh=p[:6] if udhi else b"") for p in found]

    def converse(
        self, parts: Sequence[tuple[str, Part]], *, kind: str = "transceiver", registered: int = 1, receipts: int | None = None,
        password: str = PASSWORD,
    ) -> base.Conversation:  # fmt: skip
        client = self.client()
        answers: dict[int, base.Answer] = {}
        found: list[base.Receipt] = []
        client.set_message_sent_handler(lambda pdu: answers.update({pdu.sequence: base.Answer(pdu.status, pdu.message_id.decode())}))
        client.set_message_received_handler(lambda pdu: found.append(_receipt(pdu)))
        try:
            bound = getattr(client, f"bind_{kind}")(system_id=self.user, password=password).status
        except smpplib.exceptions.PDUError as error:
            return base.Conversation(error.args[1], (), (), None, None)
        asked = [client.send_message(**self.fields(dest, part, registered)).sequence for dest, part in parts]
        wanted = len(parts) if receipts is None else receipts
        while len(answers) < len(asked) or len(found) < wanted:
            client.read_once()
        enquired = self.asked(client, "enquire_link")
        unbound = self.asked(client, "unbind")
        client.disconnect()
        return base.Conversation(bound, tuple(answers[s] for s in asked), tuple(found), enquired, unbound)

    def asked(self, client: smpplib.client.Client, command: str) -> int:
        """The status of the answer to a request without a body."""
        request = smpplib.smpp.make_pdu(command, client=client)
        client.send_pdu(request)
        while True:
            pdu = client.read_pdu()
            if pdu.command == f"{command}_resp" and pdu.sequence == request.sequence:
                return int(pdu.status)
            if pdu.command == "enquire_link":
                client._enquire_link_received(pdu)

    def fields(self, dest: str, part: Part, registered: int) -> dict[str, Any]:
        octets = part.udh + (part.octets or Sms(part.text).body)
        fields: dict[str, Any] = {
            "source_addr_ton": smpplib.consts.SMPP_TON_ALNUM, "source_addr": base.SENDER,
            "dest_addr_ton": smpplib.consts.SMPP_TON_INTL, "dest_addr_npi": smpplib.consts.SMPP_NPI_ISDN, "destination_addr": dest,
            "data_coding": part.coding, "registered_delivery": registered,
            "esm_class": smpplib.consts.SMPP_GSMFEAT_UDHI if part.udh else 0,
            "message_payload" if part.payload else "short_message": octets,
        }  # fmt: skip
        if part.sar:
            named = ("sar_msg_ref_num", "sar_total_segments", "sar_segment_seqnum")
            fields.update(zip(named, part.sar, strict=True))
        return fields


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


def _receipt(pdu: Any) -> base.Receipt:
    return base.Receipt(
        pdu.esm_class, pdu.source_addr.decode(), pdu.destination_addr.decode(), pdu.short_message.decode("latin-1"),
        pdu.receipted_message_id.rstrip(b"\0").decode(), pdu.message_state,
    )  # fmt: skip
