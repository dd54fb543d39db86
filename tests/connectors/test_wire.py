from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.connectors.verdicts import Verdict, verdict
from protei_bulk.connectors.wire import Encoder
from protei_bulk.settings import Smsc
from protei_bulk.smpp.codec import Pdu, decode
from tests.connectors.fakes import message


def encoded(m: object, now: float = 0.0, **settings: object) -> Pdu:
    encoder = Encoder(Smsc(id="a", host="h", port=1, **settings))  # type: ignore[arg-type]
    return decode(encoder.submit_sm(m, 5, now, m.udh, m.body))  # type: ignore[attr-defined,arg-type]


class Fields(SynchronousTestCase):
    def test_the_message_as_it_came(self) -> None:
        pdu = encoded(message(1, source_ton=5, priority=3, registered=2, data_coding=8, tlvs={0x0204: b"\0\1"}))
        f = pdu.fields
        self.assertEqual((f["source_addr"], f["source_addr_ton"], f["short_message"], f["data_coding"]), ("Shop", 5, b"hello", 8))
        self.assertEqual((f["priority_flag"], f["registered_delivery"], f["validity_period"]), (2, 1, ""))
        self.assertEqual(pdu.tlvs, {0x0204: b"\0\1"})

    def test_settings_override_the_type_of_number(self) -> None:
        f = encoded(message(1), source_ton=0, source_npi=0, dest_ton=2, dest_npi=8).fields
        self.assertEqual([f[k] for k in ("source_addr_ton", "source_addr_npi", "dest_addr_ton", "dest_addr_npi")], [0, 0, 2, 8])

    def test_what_is_left_of_the_validity(self) -> None:
        self.assertEqual(encoded(message(1, valid_until=3700.0), 100.0).fields["validity_period"], "000000010000000R")

    def test_a_header_sets_the_indicator(self) -> None:
        f = encoded(message(1, udh=b"\5\0\3\1\2\1")).fields
        self.assertEqual((f["esm_class"], f["short_message"]), (0x40, b"\5\0\3\1\2\1hello"))

    def test_parts_of_two_messages_have_different_references(self) -> None:
        encoder = Encoder(Smsc(id="a", host="h", port=1))
        long = message(1, body=b"x" * 200, segments=2)
        one, two = encoder.parts(long), encoder.parts(long)
        self.assertEqual([len(body) for _, body in one], [153, 47])
        self.assertNotEqual(one[0][0], two[0][0])
        self.assertEqual(b"".join(body for _, body in one), long.body)


class Verdicts(SynchronousTestCase):
    def test_pause_retry_and_for_good(self) -> None:
        self.assertEqual([verdict(s) for s in (0x58, 0x14)], [Verdict.PAUSE] * 2)
        self.assertEqual([verdict(s) for s in (0x08, 0x64)], [Verdict.RETRY] * 2)
        self.assertEqual([verdict(s) for s in (0x0B, 0x45, 0x9999)], [Verdict.REJECT] * 3)
