"""An SMSC on node's `smpp` that the gateway is bound to, over TCP and TLS: what smpplib sends arrives there, and its receipts come back."""

from __future__ import annotations

from collections.abc import Sequence

from tests.interop import base, by_smpplib, messages, scenarios
from tests.interop.messages import Arrived, Sms
from tests.support.gateway import eventually


class OverTcp(by_smpplib.Speaks, scenarios.Sends):
    far_end = "NODE"

    def test_it_came_to_the_one_that_was_meant(self) -> None:
        (arrived,) = self.sends(Sms("Here"))
        assert self.shared.far_end is not None
        self.assertEqual(self.shared.far_end.places(arrived.dest), {self.far_end})


class OverTls(OverTcp):
    """Its certificate is verified: tls_ca."""

    far_end = "NODE-TLS"


class ReceiptsInTextAlone(OverTcp):
    """No receipted_message_id, no message_state."""

    far_end = "NODE-TEXT"


class Converted(by_smpplib.Speaks, base.Interop):
    """Long messages in the form that the SMSC wants, however they were submitted."""

    far_end = "NODE"

    def sent(self, far_end: str, sms: Sms) -> Sequence[Arrived]:
        self.far_end = far_end  # type: ignore[misc]
        dest = self.number()
        seen = self.converse([(dest, part) for part in sms.parts])
        self.assertEqual({a.status for a in seen.answers}, {0})
        self.assertEqual(sorted(d.id for d in seen.delivered), sorted(a.id for a in seen.answers))
        eventually(lambda: messages.whole(self.arrived(dest)) == sms.body, "the whole message", base.ANSWERED)
        return self.arrived(dest)

    def test_to_sar(self) -> None:
        for form in (messages.UDH, messages.SAR, messages.PAYLOAD):
            for text in (messages.LONG_GSM, messages.LONG_UCS2):
                arrived = self.sent("NODE-SAR", Sms(text, form=form))
                self.assertGreater(len(arrived), 1)
                for a in arrived:
                    self.assertEqual((a.udh, a.esm_class), (b"", 0))
                    self.assertIsNotNone(a.place)

    def test_to_message_payload(self) -> None:
        for text in (messages.LONG_GSM, messages.LONG_UCS2):
            (arrived,) = self.sent("NODE-PAYLOAD", Sms(text, form=messages.PAYLOAD))
            self.assertEqual((arrived.short_message, arrived.octets, arrived.place), (b"", Sms(text).body, None))

    def test_to_headers(self) -> None:
        for text in (messages.LONG_GSM, messages.LONG_UCS2):
            for a in self.sent("NODE", Sms(text, form=messages.PAYLOAD)):
                self.assertEqual((len(a.udh), a.esm_class), (6, messages.UDHI))
