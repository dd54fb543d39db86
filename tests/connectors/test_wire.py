from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.connectors.verdicts import DEFAULTS, Verdict, verdict, verdicts
from protei_bulk.connectors.wire import ASKED, Encoder
from protei_bulk.model.long import OWN_RECEIPT
from protei_bulk.model.message import Message
from protei_bulk.settings import Smsc
from protei_bulk.settings.rules import VERDICTS
from protei_bulk.smpp import statuses
from protei_bulk.smpp.codec import Pdu, decode
from protei_bulk.text import gsm, shifts
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
        one, two = encoder.forms(long), encoder.forms(long)
        self.assertEqual([len(f.octets) for f in one], [153, 47])
        self.assertNotEqual(one[0].udh, two[0].udh)
        self.assertEqual(b"".join(f.octets for f in one), long.body)


_SAR = {0x020C: b"\1\2", 0x020E: b"\2", 0x020F: b"\1"}
_UDH = b"\5\0\3\2\2\1"


class Forms(SynchronousTestCase):
    def sent(self, m: Message, **settings: object) -> list[Pdu]:
        encoder = Encoder(Smsc(id="a", host="h", port=1, **settings))  # type: ignore[arg-type]
        if (m.segments == 1 or m.udh) and (encoder.plain or encoder.as_it_is(m)):
            return [decode(encoder.submit_sm(m, 5, 0.0, m.udh, m.body))]
        return [decode(encoder.submit_form(m, 5, 0.0, f)) for f in encoder.forms(m)]

    def one(self, m: Message, **settings: object) -> tuple[int, int, bytes, dict[int, bytes] | None]:
        (pdu,) = self.sent(m, **settings)
        return pdu.fields["esm_class"], pdu.fields["data_coding"], pdu.fields["short_message"], pdu.tlvs or None

    def test_what_says_the_same_costs_nothing(self) -> None:
        for alphabet in ("gsm7", "latin1", "ascii", "utf8"):
            encoder = Encoder(Smsc(id="a", host="h", port=1, alphabet=alphabet))
            self.assertEqual((encoder.plain, encoder.as_it_is(message(1))), (alphabet == "gsm7", True))
        self.assertFalse(Encoder(Smsc(id="a", host="h", port=1, alphabet="gsm7-packed")).as_it_is(message(1)))

    def test_data_coding_0_of_the_smsc(self) -> None:
        text = "5 £ é [x]"
        for alphabet, body in (
            ("gsm7", gsm.encode(text)), ("gsm7-packed", gsm.pack(gsm.encode(text))), ("latin1", text.encode("latin-1")),
            ("utf8", text.encode()),
        ):  # fmt: skip
            self.assertEqual(self.one(message(1, body=gsm.encode(text)), alphabet=alphabet), (0, 0, body, None))
        self.assertEqual(self.one(message(1, body=gsm.encode(text)), alphabet="ascii"), (0, 8, text.encode("utf-16-be"), None))
        self.assertEqual(self.one(message(1, body=b"\x1be"), alphabet="latin1"), (0, 8, b"\x20\xac", None))

    def test_a_declared_coding_stays(self) -> None:
        for coding in (1, 3, 4, 8, 0xF1, 0xF5):
            for alphabet in ("gsm7", "latin1", "ascii", "utf8"):
                self.assertEqual(self.one(message(1, body=b"\0A", data_coding=coding), alphabet=alphabet), (0, coding, b"\0A", None))

    def test_parts_by_header_or_by_tlvs(self) -> None:
        by_tlvs = message(1, tlvs={**_SAR, 0x0204: b"\0\7"})
        by_header = message(1, udh=b"\5\0\3\2\2\1")
        other = {0x0204: b"\0\7"}
        self.assertEqual(self.one(by_tlvs), (0, 0, b"hello", {**_SAR, **other}))
        self.assertEqual(self.one(by_tlvs, long_messages="sar"), (0, 0, b"hello", {**_SAR, **other}))
        self.assertEqual(self.one(by_tlvs, long_messages="udh"), (0x40, 0, _UDH + b"hello", other))
        wide = b"\6\x08\4\1\2\2\1hello"
        self.assertEqual(self.one(by_tlvs, long_messages="udh", reference_bits=16), (0x40, 0, wide, other))
        self.assertEqual(self.one(by_tlvs, interface_version="3.3", long_messages="udh"), (0x40, 0, _UDH + b"hello", None))
        self.assertEqual(self.one(by_header), (0x40, 0, _UDH + b"hello", None))
        self.assertEqual(self.one(by_header, long_messages="udh"), (0x40, 0, _UDH + b"hello", None))
        self.assertEqual(self.one(by_header, long_messages="sar"), (0, 0, b"hello", {**_SAR, 0x020C: b"\0\2"}))

    def test_tlvs_that_are_no_place(self) -> None:
        for tlvs in ({0x020E: b"\2"}, {**_SAR, 0x020F: b"\3"}, {**_SAR, 0x020C: b"\1"}):
            self.assertEqual(self.one(message(1, tlvs=tlvs), long_messages="udh")[2], b"hello")

    def test_a_long_text(self) -> None:
        body = b"x" * 200
        m = message(1, body=body, segments=2, tlvs={0x0204: b"\0\7"})
        for form, esm_class in (("as-submitted", 0x40), ("udh", 0x40), ("sar", 0)):
            one, two = self.sent(m, long_messages=form)
            self.assertEqual([p.fields["esm_class"] for p in (one, two)], [esm_class] * 2)
            self.assertEqual(one.fields["short_message"][-153:] + two.fields["short_message"][-47:], body)
        self.assertEqual(
            [(p.tlvs[0x020C], p.tlvs[0x020E], p.tlvs[0x020F]) for p in self.sent(m, long_messages="sar")],
            [(b"\0\1", b"\2", b"\1"), (b"\0\1", b"\2", b"\2")],
        )
        self.assertEqual(self.one(m, long_messages="payload"), (0, 0, b"", {0x0204: b"\0\7", 0x0424: body}))

    def test_an_smsc_that_turns_out_to_speak_3_3(self) -> None:
        encoder = Encoder(Smsc(id="a", host="h", port=1, long_messages="payload"))
        encoder.tlvs = False
        self.assertEqual([f.udh[:1] for f in encoder.forms(message(1, body=b"x" * 200, segments=2))], [b"\5", b"\5"])
        self.assertFalse(encoder.as_it_is(message(1, tlvs=_SAR)))

    def test_national_shifts(self) -> None:
        text = "İstanbul'da Şişli ğ " * 5
        m = message(1, body=text.encode("utf-16-be"), data_coding=8, segments=2)
        self.assertEqual(len(self.sent(m)), 2)
        esm_class, coding, body, _ = self.one(m, national_shifts=("spanish", "turkish"))
        self.assertEqual((esm_class, coding, body[0] + 1), (0x40, 0, 4))
        self.assertEqual(shifts.decode(body[4:], body[:4]), text)


class Verdicts(SynchronousTestCase):
    def test_pause_retry_and_for_good(self) -> None:
        self.assertEqual([verdict(s) for s in (0x58, 0x14)], [Verdict.PAUSE] * 2)
        self.assertEqual([verdict(s) for s in (0x08, 0x64)], [Verdict.RETRY] * 2)
        self.assertEqual([verdict(s) for s in (0x0A, 0x45)], [Verdict.NEXT] * 2)
        self.assertEqual([verdict(s) for s in (0x0B, 0x01, 0x9999)], [Verdict.REJECT] * 3)

    def test_every_code_of_every_version(self) -> None:
        known = {code for name, code in vars(statuses).items() if name.startswith("ESME_") and code}
        self.assertEqual(set(DEFAULTS), known)
        self.assertEqual({v.value for v in Verdict}, set(VERDICTS))

    def test_an_smsc_may_mean_otherwise(self) -> None:
        table = verdicts(((0x0B, "next"), (0x400, "retry")))
        self.assertEqual([verdict(s, table) for s in (0x0B, 0x400, 0x58)], [Verdict.NEXT, Verdict.RETRY, Verdict.PAUSE])


class RegisteredDelivery(SynchronousTestCase):
    """What an SMSC is asked for (SMPP 3.4 section 5.2.17)."""

    def test_a_receipt_where_anybody_wants_one(self) -> None:
        for asked in range(32):
            wants = bool(asked & 0x13)
            self.assertEqual(ASKED[asked] & 3, int(wants), asked)
            self.assertEqual(ASKED[asked | OWN_RECEIPT] & 3, 1)

    def test_the_rest_as_it_is(self) -> None:
        for asked in range(256):
            self.assertEqual(ASKED[asked] & 0x1C, asked & 0x1C)
            self.assertEqual(ASKED[asked] & 0xE0, 0)
