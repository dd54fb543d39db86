from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text.receipt import STATES, ReceiptText, carried, format_receipt, parse_receipt

_USUAL = b"id:123 sub:001 dlvrd:001 submit date:2611240600 done date:2611240601 stat:DELIVRD err:000 text:-"
_READ = ReceiptText("123", "DELIVRD", "000")
_graphic = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


def parse(body: bytes, tlvs: dict[int, bytes] | None = None, esm_class: int = 4) -> ReceiptText:
    found = parse_receipt(body, tlvs, esm_class)
    assert found is not None
    return found


class WhatIsAReceipt(SynchronousTestCase):
    def test_esm_class_says_it(self) -> None:
        for esm_class in (0x04, 0x08, 0x20, 0x44, 0x07):
            self.assertEqual(parse(_USUAL, esm_class=esm_class), _READ)

    def test_an_mo_may_look_like_one(self) -> None:
        for esm_class in (0x00, 0x40, 0x03, 0x10, 0x18):
            self.assertIsNone(parse_receipt(_USUAL, None, esm_class))
            self.assertIsNone(parse_receipt(_USUAL, {0x0427: b"\2"}, esm_class))

    def test_receipted_message_id_and_a_state_make_one(self) -> None:
        self.assertEqual(parse(b"", {0x001E: b"abc\0", 0x0427: b"\2"}, 0), ReceiptText("abc", "DELIVRD"))
        self.assertEqual(parse(b"stat:EXPIRED", {0x001E: b"abc\0"}, 0), ReceiptText("abc", "EXPIRED"))

    def test_receipted_message_id_alone_does_not(self) -> None:
        """Kannel's drive_smpp sends it with every message from a mobile."""
        for tlvs in ({0x001E: b"abc\0"}, {0x001E: b"abc\0", 0x0427: b"\x63"}):
            self.assertIsNone(parse_receipt(b"Vote 1", tlvs, 0))

    def test_without_an_id_there_is_none(self) -> None:
        self.assertIsNone(parse_receipt(b"Thank you", None, 8))
        self.assertIsNone(parse_receipt(b"id: sub:001 stat:DELIVRD", None, 4))
        self.assertIsNone(parse_receipt(b"", {0x001E: b"\0"}, 0))


class Reading(SynchronousTestCase):
    def test_usual(self) -> None:
        self.assertEqual(parse(_USUAL), _READ)
        self.assertEqual(parse(_USUAL.replace(b"text:", b"Text:")), _READ)
        self.assertEqual(parse(_USUAL.removesuffix(b" text:-")), _READ)

    def test_other_orders_cases_and_gaps(self) -> None:
        self.assertEqual(
            parse(b"STAT:delivrd ERR:0001 ID:a-b/c Done Date:261124060100 submit_date:2611240600"),
            ReceiptText("a-b/c", "DELIVRD", "0001"),
        )
        self.assertEqual(parse(b"id: 7f\r\nstat: EXPIRED"), ReceiptText("7f", "EXPIRED"))
        self.assertEqual(parse(b" id:5,stat:UNDELIV,err:ABC")[1:3], ("UNDELIV", "ABC"))
        self.assertEqual(
            parse(b"id:5 stat:DELIVRD err: text:hi there"), ReceiptText("5", "DELIVRD")
        )

    def test_states(self) -> None:
        for written, stat in (
            ("DELIVERED", "DELIVRD"), ("REJECTED", "REJECTD"), ("UNDELIVERABLE", "UNDELIV"), ("FAILED", "UNDELIV"),
            ("buffered", "BUFFERED"), *((state, state) for state in STATES),
        ):  # fmt: skip
            self.assertEqual(parse(_USUAL.replace(b"DELIVRD", written.encode())).stat, stat)

    def test_no_state(self) -> None:
        self.assertEqual(parse(b"id:1").stat, "UNKNOWN")
        self.assertEqual(parse(b"id:1", esm_class=0x20).stat, "ENROUTE")

    def test_optional_parameters_win(self) -> None:
        got = parse(_USUAL, {0x001E: b"0x7B\0", 0x0427: b"\5", 0x0423: b"\3\0\x22"})
        self.assertEqual(got[:3], ("0x7B", "UNDELIV", "000"))
        self.assertEqual(parse(b"id:1 stat:UNDELIV", {0x0423: b"\3\0\x22"}).err, "034")
        for useless in (b"", b"\x63"):
            self.assertEqual(parse(_USUAL, {0x0427: useless}).stat, "DELIVRD")

    def test_in_message_payload(self) -> None:
        self.assertEqual(parse(b"", {0x0424: _USUAL}), _READ)

    def test_no_nul_and_nothing_endless(self) -> None:
        """What comes out goes into columns of bounded width, which hold no NUL."""
        self.assertEqual(parse(_USUAL + b"\0"), _READ)
        self.assertEqual(parse(b"id:12\x003 stat:DELIVRD"), ReceiptText("12", "DELIVRD"))
        self.assertEqual(parse(b"id:" + b"7" * 99 + b" sub:").id, "7" * 64)
        self.assertEqual(parse(b"", {0x001E: b"7" * 99}).id, "7" * 64)

    @given(st.binary(max_size=120), st.dictionaries(st.sampled_from([0x1E, 0x423, 0x424, 0x427]), st.binary(max_size=80)),
           st.integers(0, 255))  # fmt: skip
    def test_garbage(self, body: bytes, tlvs: dict[int, bytes], esm_class: int) -> None:
        self.bounded(parse_receipt(body, tlvs, esm_class))

    @given(
        st.lists(
            st.one_of(
                st.sampled_from([b"id:", b"stat:", b"err:", b"text:", b" ", b"\0"]), st.binary(max_size=30)
            )
        )
    )
    def test_near_receipts(self, pieces: list[bytes]) -> None:
        self.bounded(parse_receipt(b"".join(pieces), None, 4))

    def bounded(self, got: ReceiptText | None) -> None:
        if got is not None:
            self.assertTrue(0 < len(got.id) <= 64 and 0 < len(got.stat) <= 20 and len(got.err) <= 20, got)
            self.assertNotIn("\0", "".join(got))


class Writing(SynchronousTestCase):
    def test_appendix_b(self) -> None:
        self.assertEqual(
            format_receipt("123", "DELIVRD", "000", 1795500000, 1795500061, "-", 1, 1),
            b"id:123 sub:001 dlvrd:001 submit date:2611240600 done date:2611240601 stat:DELIVRD err:000 text:-",
        )

    def test_text_is_cut_and_ascii(self) -> None:
        got = format_receipt("1", "UNDELIV", "", 0, 0, "مرحبا" + "x" * 30)
        self.assertTrue(got.endswith(b" err:000 text:?????" + b"x" * 15), got)

    @given(_graphic, st.sampled_from(STATES), st.text("0123456789ABCDEF", min_size=1, max_size=4),
           st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000), st.text(max_size=30))  # fmt: skip
    def test_round_trip(self, id: str, stat: str, err: str, submitted: int, done: int, text: str) -> None:
        written = format_receipt(id, stat, err, submitted, done, text)
        got = parse(written)
        self.assertEqual((got.id, got.stat, got.err), (id, stat, f"{int(err):03d}" if err.isdigit() else err))
        self.assertRegex(written, rb" submit date:\d{10} done date:\d{10} ")
        shown = text[:20].encode("ascii", "replace").decode()
        self.assertEqual(written.partition(b" text:")[2].decode(), "".join(c if " " <= c <= "~" else " " for c in shown))

    def test_an_error_has_three_digits_at_least(self) -> None:
        shown = {err: format_receipt("1", "UNDELIV", err, 0, 0).split(b"err:")[1].split()[0] for err in ("5", "0069", "1234", "A1", "")}
        self.assertEqual(shown, {"5": b"005", "0069": b"069", "1234": b"1234", "A1": b"A1", "": b"000"})

    def test_one_line(self) -> None:
        self.assertTrue(format_receipt("1", "DELIVRD", "", 0, 0, "a\r\nb\tc\x7f").endswith(b" text:a  b c "))


class Carried(SynchronousTestCase):
    """What an SMSC's receipt says beside id and state."""

    def test_usually_nothing(self) -> None:
        self.assertIsNone(carried(None))
        self.assertIsNone(carried({}))
        self.assertIsNone(carried({0x001E: b"1\0", 0x0427: b"\2", 0x0424: b"id:1", 0x0204: b"\0\1", 0x020E: b"\3"}))

    def test_the_networks_error_and_makers_own(self) -> None:
        self.assertEqual(
            carried({0x001E: b"1\0", 0x0423: b"\3\0\x0b", 0x1401: b"41601"}), {0x0423: b"\3\0\x0b", 0x1401: b"41601"}
        )

    def test_bounded(self) -> None:
        self.assertEqual(carried({0x0423: b"\3\0\x0b", 0x1401: b"x" * 2000}), {0x0423: b"\3\0\x0b"})
        self.assertIsNone(carried({0x1401: b"x" * 2000}))
