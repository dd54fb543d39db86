"""smpplib as the client of a test."""

from __future__ import annotations

import ssl
import time
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


class Speaks:
    """For a test class beside base.Interop: `converse` as scenarios.Sends describes it."""

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
        found: list[base.Delivered] = []
        client.set_message_sent_handler(lambda pdu: answers.update({pdu.sequence: base.Answer(pdu.status, pdu.message_id.decode())}))
        client.set_message_received_handler(lambda pdu: found.append(_delivered(pdu)))
        try:
            bound = getattr(client, f"bind_{kind}")(system_id=self.user, password=password).status
        except smpplib.exceptions.PDUError as error:
            return base.Conversation(error.args[1], (), (), None, None)
        asked = [client.send_message(**self.fields(dest, part, registered)).sequence for dest, part in parts]
        wanted = len(parts) if receipts is None else receipts
        end = time.monotonic() + base.ANSWERED
        while len(answers) < len(asked) or len(found) < wanted:
            assert time.monotonic() < end, f"{len(answers)} of {len(asked)} answers, {len(found)} of {wanted} deliver_sm"
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


def _delivered(pdu: Any) -> base.Delivered:
    octets = pdu.short_message or b""
    udh = octets[: octets[0] + 1] if pdu.esm_class & smpplib.consts.SMPP_GSMFEAT_UDHI else b""
    octets, text = octets[len(udh) :], ""
    if pdu.data_coding == smpplib.consts.SMPP_ENCODING_ISO10646:
        octets, text = b"", octets.decode("utf-16-be")
    elif pdu.data_coding == smpplib.consts.SMPP_ENCODING_DEFAULT:
        octets, text = b"", _gsm(octets)
    return base.Delivered(
        pdu.esm_class, pdu.source_addr.decode(), pdu.destination_addr.decode(), pdu.data_coding, text, octets, udh,
        (pdu.receipted_message_id or b"").rstrip(b"\0").decode(), -1 if pdu.message_state is None else pdu.message_state,
    )  # fmt: skip


def _gsm(octets: bytes) -> str:
    """By smpplib's table; it has no decoder."""
    septets = iter(octets)
    return "".join(smpplib.gsm.GSM_CHARACTER_TABLE[s if s != 0x1B else 0x80 + next(septets)] for s in septets)
