from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.deliver_sm import receipt_pdu
from protei_bulk.model.message import Message
from protei_bulk.receipts.batch import Forward
from protei_bulk.smpp import commands, fast, tags
from protei_bulk.text.receipt import STATES, parse_receipt

_ID = "MSG-0K7Q2M1V0001"
_SUBMITTED, _DONE = 1_795_500_000.0, 1_795_500_061.0


def message(**values: Any) -> Message:
    m = Message()
    m.id, m.source, m.source_ton, m.source_npi = _ID, "MyCompany", 5, 0
    m.dest, m.dest_ton, m.dest_npi = "962788123456", 1, 1
    m.text, m.created, m.registered = "Hello Ahmad, how are you today?", _SUBMITTED, 1
    for name, value in values.items():
        setattr(m, name, value)
    return m


def receipt(
    m: Message | None = None, stat: str = "DELIVRD", err: str = "000", *, version: int = 0x34, payload: dict[str, Any] | None = None
) -> fast.Fields:
    pdu = receipt_pdu(Forward(m or message(), stat, err, _DONE, payload), 7, version)
    assert pdu[:16] == fast.frame(commands.DELIVER_SM, 0, 7, pdu[16:])[:16]
    return fast.decode_sm(pdu, 16, len(pdu))


def tlvs(f: fast.Fields) -> dict[int, bytes]:
    return f[17] or {}


class TextTest(SynchronousTestCase):
    def test_every_field(self) -> None:
        f = receipt()
        self.assertEqual(
            f[16],
            b"id:MSG-0K7Q2M1V0001 sub:001 dlvrd:001 submit date:2611240600 done date:2611240601 stat:DELIVRD err:000"
            b" text:Hello Ahmad, how are",
        )
        self.assertEqual(f[:7], ("", 1, 1, "962788123456", 5, 0, "MyCompany"))
        self.assertEqual(f[7:16], (0x04, 0, 0, "", "", 0, 0, 0, 0))
        self.assertEqual(tlvs(f), {tags.RECEIPTED_MESSAGE_ID: _ID.encode() + b"\0", tags.MESSAGE_STATE: b"\2"})

    def test_what_did_not_arrive(self) -> None:
        self.assertIn(b" sub:001 dlvrd:000 ", receipt(None, "UNDELIV", "005")[16])

    def test_counted(self) -> None:
        """A message that the gateway has split."""
        self.assertIn(b" sub:003 dlvrd:002 ", receipt(None, "UNDELIV", "005", payload={"n": 3, "k": 2})[16])

    def test_of_parts_together(self) -> None:
        f = receipt(payload={"n": 3, "k": 3, "x": "The first words", "s": _SUBMITTED - 120})
        self.assertIn(b" sub:003 dlvrd:003 submit date:2611240558 done date:2611240601 ", f[16])
        self.assertTrue(f[16].endswith(b" text:The first words"))

    def test_the_id_that_the_esme_was_given(self) -> None:
        f = receipt(message(shown_id="00C0FFEE"))
        self.assertTrue(f[16].startswith(b"id:00C0FFEE sub:"))
        self.assertEqual(tlvs(f)[tags.RECEIPTED_MESSAGE_ID], b"00C0FFEE\0")

    def test_service_type(self) -> None:
        self.assertEqual(receipt(message(service_type="CMT"))[0], "CMT")

    def test_the_gateways_own_errors_are_numbers(self) -> None:
        for err, shown in (("EXPIRED", b"000"), ("TOO_LONG", b"001"), ("NOANSWER", b"254"), ("", b"000"), ("A01", b"A01")):
            self.assertIn(b" err:" + shown + b" ", receipt(None, "UNDELIV", err, payload={"c": 1})[16])


class VersionsTest(SynchronousTestCase):
    def test_before_3_4_there_are_no_tlvs(self) -> None:
        f = receipt(message(tlvs={tags.USER_MESSAGE_REFERENCE: b"\0\1"}), "UNDELIV", "005", version=0x33)
        self.assertIsNone(f[17])

    def test_states_that_came_with_5_0(self) -> None:
        for stat, before, esm_class in (("SCHEDULED", "ENROUTE", 0x20), ("SKIPPED", "UNKNOWN", 0x04)):
            for version, shown in ((0x33, before), (0x34, before), (0x50, stat)):
                f = receipt(None, stat, version=version)
                self.assertIn(f" stat:{shown} ".encode(), f[16])
                self.assertEqual(f[7], esm_class)
                if version > 0x33:
                    self.assertEqual(tlvs(f)[tags.MESSAGE_STATE], bytes((STATES.index(shown),)))

    def test_intermediate(self) -> None:
        for stat in ("ENROUTE", "ACCEPTD"):
            f = receipt(None, stat)
            self.assertEqual((f[7], tlvs(f)[tags.MESSAGE_STATE][0]), (0x20, STATES.index(stat)))


class OptionsTest(SynchronousTestCase):
    def error(self, err: str, version: int, payload: dict[str, Any] | None = None) -> bytes | None:
        return tlvs(receipt(None, "UNDELIV", err, version=version, payload=payload)).get(tags.NETWORK_ERROR_CODE)

    def test_network_error_code_from_the_text(self) -> None:
        self.assertEqual((self.error("034", 0x34), self.error("034", 0x50)), (b"\3\0\x22", b"\x08\0\x22"))
        self.assertEqual([self.error(err, 0x34) for err in ("000", "", "A01", "70000", "²")], [None] * 5)

    def test_a_command_status_is_no_error_of_a_network(self) -> None:
        self.assertEqual((self.error("069", 0x34, {"c": 1}), self.error("069", 0x50, {"c": 1})), (None, b"\7\0\x45"))

    def test_the_smscs_own_wins(self) -> None:
        f = receipt(None, "UNDELIV", "034", payload={"t": {"1059": "02000b", "5121": "343136"}})
        self.assertEqual((tlvs(f)[tags.NETWORK_ERROR_CODE], tlvs(f)[0x1401]), (b"\2\0\x0b", b"416"))

    def test_echoed(self) -> None:
        m = message(tlvs={
            tags.USER_MESSAGE_REFERENCE: b"\0\x09", tags.SOURCE_SUBADDRESS: b"\xa0" + b"1", tags.DEST_SUBADDRESS: b"\xa0" + b"2",
            tags.SOURCE_PORT: b"\0\1", tags.DESTINATION_PORT: b"\0\2", tags.SAR_TOTAL_SEGMENTS: b"\2", 0x1500: b"x",
        })  # fmt: skip
        found = tlvs(receipt(m))
        for tag in (tags.RECEIPTED_MESSAGE_ID, tags.MESSAGE_STATE):
            del found[tag]
        self.assertEqual(found, {
            tags.USER_MESSAGE_REFERENCE: b"\0\x09", tags.DEST_SUBADDRESS: b"\xa0" + b"1", tags.SOURCE_SUBADDRESS: b"\xa0" + b"2",
            tags.DESTINATION_PORT: b"\0\1", tags.SOURCE_PORT: b"\0\2",
        })  # fmt: skip


class AnythingTest(SynchronousTestCase):
    @given(
        st.sampled_from(STATES), st.text("0123456789ABC", max_size=5), st.text(max_size=40), st.sampled_from((0x33, 0x34, 0x50)),
        st.none() | st.fixed_dictionaries({}, optional={
            "n": st.integers(1, 255), "k": st.integers(0, 255), "c": st.just(1), "x": st.text(max_size=20), "s": st.floats(0, 4e9),
            "t": st.dictionaries(st.integers(0, 65535).map(str), st.binary(max_size=40).map(bytes.hex), max_size=4),
        }),
    )  # fmt: skip
    def test_a_receipt_is_a_receipt(self, stat: str, err: str, text: str, version: int, payload: dict[str, Any] | None) -> None:
        f = receipt(message(text=text), stat, err, version=version, payload=payload)
        named = {tag: value for tag, value in tlvs(f).items() if tag in (tags.RECEIPTED_MESSAGE_ID, tags.MESSAGE_STATE)}
        if payload is None or not {"30", "1063"} & payload.get("t", {}).keys():
            found = parse_receipt(f[16], named or None, f[7])
            assert found is not None
            before = {"SCHEDULED": "ENROUTE", "SKIPPED": "UNKNOWN"}
            self.assertEqual((found.id, found.stat), (_ID, before.get(stat, stat) if version < 0x50 else stat))
        self.assertLess(len(f[16]), 255)
