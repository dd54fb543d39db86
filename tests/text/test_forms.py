from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import alphabets, gsm, headers, segments, shifts
from protei_bulk.text.forms import LONG, Form, Style, forms

_styles = st.builds(
    Style,
    st.sampled_from(alphabets.DEFAULTS),
    st.lists(st.integers(1, 13), unique=True, max_size=4).map(tuple),
    st.booleans(),
    st.sampled_from(LONG),
)
_texts = st.one_of(
    st.text(st.sampled_from("ab c{€é£"), max_size=400),
    st.text(st.sampled_from("abи😀 "), max_size=200),
    st.text(st.sampled_from("aşğİı "), max_size=200),
)


def kept(text: str) -> tuple[int, bytes]:
    """As the gateway keeps a text."""
    coding = 0 if gsm.is_gsm(text) else 8
    return coding, alphabets.encode_body(text, coding)


def read(style: Style, form: Form) -> str:
    """As the peer reads it."""
    text = alphabets.decode_body(form.octets, form.data_coding, style.alphabet, form.udh)
    assert text is not None
    return text


class Whole(SynchronousTestCase):
    @given(_texts, _styles, st.integers(0, 0xFFFF))
    @example("ş" * 100, Style("latin1", (1,)), 1)
    @example("ş" * 400, Style("gsm7", (1,), long="payload"), 1)
    @example("ş" * 400, Style("gsm7-packed", (1,), True, "sar"), 1)
    def test_the_peer_reads_what_was_meant(self, text: str, style: Style, reference: int) -> None:
        made = forms(style, *(lambda k: (k[0], b"", k[1]))(kept(text)), None, reference)
        texts = [read(style, f) for f in made]
        if style.alphabet == "gsm7-packed":  # cannot say an @ or CR at the end of an octet; there is none in these texts
            self.assertNotIn("@", text)
        self.assertEqual("".join(texts), text)
        for n, f in enumerate(made, 1):
            self.assertEqual(f.payload, style.long == "payload" and len(made) == 1 and self.is_long(text))
            if len(made) > 1:
                place = f.sar if f.sar is not None else headers.concatenation(f.udh)
                mask = 0xFFFF if style.wide or f.sar is not None else 0xFF
                self.assertEqual(place, (reference & mask, len(made), n))
            self.assertFalse(f.udh and f.sar)  # never both

    def is_long(self, text: str) -> bool:
        coding, octets = kept(text)
        return len(octets) > segments.room(coding) or len(text) > 70

    @given(_texts, _styles)
    def test_it_fits_the_air(self, text: str, style: Style) -> None:
        coding, octets = kept(text)
        for f in forms(style, coding, b"", octets, None, 1):
            if f.payload:
                continue
            header = len(f.udh) or (6 if f.sar else 0)
            if f.data_coding == 8 or style.alphabet == "gsm7-packed":
                self.assertTrue(header + len(f.octets) <= 140)
            else:
                shift = shifts.shift_of(f.udh) or shifts.NONE
                self.assertTrue(shifts.table(shift).septets(read(style, f)) <= segments.room(0, header))

    @given(_texts)
    def test_as_many_as_were_counted(self, text: str) -> None:
        coding, octets = kept(text)
        for long in ("as-submitted", "udh", "sar"):
            for alphabet in ("gsm7", "gsm7-packed", "utf8"):
                made = forms(Style(alphabet, long=long), coding, b"", octets, None, 1)
                self.assertEqual(len(made), segments.count_segments(octets, coding))

    @given(st.binary(max_size=600), st.integers(0, 255), st.integers(0, 0xFFFF), st.sampled_from(LONG), st.booleans())
    def test_octets_of_any_coding_pass_untouched(self, octets: bytes, coding: int, reference: int, long: str, wide: bool) -> None:
        made = forms(Style(wide=wide, long=long), coding, b"", octets, None, reference)
        self.assertEqual(b"".join(f.octets for f in made), octets)
        self.assertEqual({f.data_coding for f in made}, {coding})

    @given(st.binary(max_size=300), st.integers(0, 255), st.binary(max_size=20), _styles)
    def test_garbage(self, octets: bytes, coding: int, udh: bytes, style: Style) -> None:
        made = forms(style, coding, udh, octets, None, 1)
        self.assertTrue(made)
        if udh:
            self.assertEqual(len(made), 1)

    def test_too_many(self) -> None:
        self.assertRaises(segments.TooLong, forms, Style("ascii"), 0, b"", b"\x05" * 153 * 255, None, 1)
        self.assertEqual(len(forms(Style(), 0, b"", b"\x05" * 153 * 255, None, 1)), 255)

    def test_shifts_are_used_where_they_save_a_part(self) -> None:
        turkish = Style(shifts=(1,))
        short = "ş" * 70
        self.assertEqual(forms(turkish, 8, b"", short.encode("utf-16-be"), None, 1)[0].data_coding, 8)
        (one,) = forms(turkish, 8, b"", ("ş" * 71).encode("utf-16-be"), None, 1)
        self.assertEqual((one.data_coding, one.udh, len(one.octets)), (0, b"\3\x25\1\1", 71))  # locked: a septet each
        for text in ("привет " * 20, "ş" * 60 + "ж" * 20):
            self.assertEqual({f.data_coding for f in forms(turkish, 8, b"", text.encode("utf-16-be"), None, 1)}, {8})
        hindi = forms(Style(shifts=(1, 6)), 8, b"", ("नमस्ते दुनिया " * 20).encode("utf-16-be"), None, 1)
        self.assertEqual(({f.data_coding for f in hindi}, len(hindi)), ({0}, 2))  # 280 characters: five parts of UCS-2
        half = "ş".encode("utf-16-be") * 80 + b"\xd8\x00"
        self.assertEqual({f.data_coding for f in forms(turkish, 8, b"", half, None, 1)}, {8})


_UDH = b"\5\0\3\7\3\2"
_PLACE = (0x0107, 3, 2)


class Parts(SynchronousTestCase):
    """What the ESME has split stays as many parts."""

    def test_place(self) -> None:
        for long, udh, sar in (
            ("as-submitted", _UDH, None), ("udh", _UDH, None), ("payload", _UDH, None), ("sar", b"", (7, 3, 2)),
        ):  # fmt: skip
            self.assertEqual(forms(Style(long=long), 0, _UDH, b"x", None, 99), [Form(0, udh, b"x", sar)])
        for long, udh, sar in (("as-submitted", b"", _PLACE), ("udh", _UDH, None), ("payload", b"", _PLACE), ("sar", b"", _PLACE)):
            self.assertEqual(forms(Style(long=long), 0, b"", b"x", _PLACE, 99), [Form(0, udh, b"x", sar)])
        wide = b"\6\x08\4\1\7\3\2"
        self.assertEqual(forms(Style(long="udh", wide=True), 0, b"", b"x", _PLACE, 99), [Form(0, wide, b"x")])
        full = b"x" * 153  # a septet less has room beside a reference of 16 bits
        self.assertEqual(forms(Style(long="udh", wide=True), 0, b"", full, _PLACE, 99), [Form(0, _UDH, full)])

    def test_a_header_that_says_more_stays(self) -> None:
        ports = b"\x0b\5\4\x15\x82\0\0\0\3\7\3\2"
        self.assertEqual(forms(Style(long="sar"), 4, ports, b"x", None, 1), [Form(4, ports, b"x")])

    def test_packed_behind_the_header_that_goes_out(self) -> None:
        packed = Style("gsm7-packed", long="udh")
        self.assertEqual(forms(packed, 0, b"", b"xyz", _PLACE, 1), [Form(0, _UDH, gsm.pack_body(b"xyz", 1))])
        self.assertEqual(forms(Style("gsm7-packed", long="sar"), 0, _UDH, b"xyz", None, 1)[0].octets, gsm.pack_body(b"xyz"))

    def test_another_alphabet(self) -> None:
        for alphabet, septets, coding, octets in (
            ("latin1", gsm.encode("é["), 0, b"\xe9["), ("latin1", gsm.encode("€"), 8, b"\x20\xac"),
            ("ascii", gsm.encode("é" * 67), 8, ("é" * 67).encode("utf-16-be")), ("ascii", gsm.encode("é" * 68), 0, b"e" * 68),
            ("utf8", gsm.encode("é€"), 0, "é€".encode()),
        ):  # fmt: skip
            self.assertEqual(forms(Style(alphabet), 0, _UDH, septets, None, 1), [Form(coding, _UDH, octets)], alphabet)

    def test_shifts_are_read_where_the_alphabet_has_none(self) -> None:
        udh = headers.header(bytes.fromhex("0003070302 240101"))
        self.assertEqual(forms(Style(), 0, udh, b"\x1bi", None, 1), [Form(0, udh, b"\x1bi")])
        self.assertEqual(forms(Style("utf8"), 0, udh, b"\x1bi", None, 1), [Form(0, _UDH, "ı".encode())])
        self.assertEqual(forms(Style("latin1", long="sar"), 0, udh, b"\x1bi", None, 1), [Form(8, b"", b"\1\x31", (7, 3, 2))])
