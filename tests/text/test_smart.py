from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import gsm
from protei_bulk.text.smart import Replacement, Smart, closest, smart


class Smarter(SynchronousTestCase):
    def test_nothing_to_do(self) -> None:
        for text in ("", "Hi é ñ ß Ω €[]", "a\nb"):
            self.assertEqual(smart(text), Smart(text))

    def test_typography(self) -> None:
        for text, better in (
            ("“It’s” – he said…", '"It\'s" - he said...'), ("a\u00a0b\u2009c\u3000d", "a b c d"), ("«x» ‹y›", "\"x\" 'y'"),
            ("−5 × 3 ÷ 2 ≤ 4", "-5 x 3 / 2 <= 4"), ("½ ¾ 1⁄2", "1/2 3/4 1/2"), ("• one\u2028• two", "* one\n* two"),
            ("zero\u200bwidth\ufeff", "zerowidth"), ("ﬁn ① ２ ²", "fin 1 2 2"), ("© ® ™ №", "(C) (R) (TM) No."), ("`tab\t`", "'tab '"),
        ):  # fmt: skip
            self.assertEqual(smart(text).text, better)
            self.assertEqual(smart(text).foreign, "")

    def test_accents(self) -> None:
        for text, better in (
            ("naïve", "naive"), ("Łódź", "Lodz"), ("őű", "öü"), ("İstanbul ışğ", "Istanbul isg"), ("œuvre", "oeuvre"), ("đ ð þ", "d d th"),
            ("Tiếng Việt", "Tieng Viet"), ("ça", "ca"), ("ΑΒΕ", "ABE"), ("cafe\u0301 a\u0328", "café a"), ("\u0301x", "x"),
        ):  # fmt: skip
            self.assertEqual(smart(text).text, better)

    def test_what_was_replaced(self) -> None:
        found = smart("“a” “b” e\u0301 é")
        self.assertEqual(
            found.replacements, (Replacement("“", '"', 2), Replacement("”", '"', 2), Replacement("e\u0301", "é", 1))
        )

    def test_all_or_nothing(self) -> None:
        for text, foreign in (
            ("“Ж” ё", "Жё"), ("… 😀", "😀"), ("हिन्दी…", "हिन्दी"), ("a\x1b…", "\x1b"), ("\ud800…", "\ud800"), ("\0’", "\0"),
        ):  # fmt: skip
            found = smart(text)
            self.assertEqual((found.text, found.replacements), (text, ()))
            self.assertTrue(set(found.foreign) <= set(foreign) and found.foreign, (text, found.foreign))

    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        found = smart(text)
        self.assertEqual(gsm.is_gsm(found.text), not found.foreign)
        if found.foreign:
            self.assertEqual(found.text, text)
            self.assertFalse(set(found.foreign) & set("".join(gsm.BASIC) + "".join(gsm.EXTENSION.values())) - {"\x1b"})
        else:
            self.assertEqual(smart(found.text), Smart(found.text))

    @given(st.text(st.sampled_from("ab’…é é\u0301\u00a0")))
    def test_replacements_explain_the_change(self, text: str) -> None:
        found = smart(text)
        self.assertEqual(found.foreign, "")
        if not found.replacements:
            self.assertEqual(found.text, text)
        self.assertEqual(unicodedata.normalize("NFC", text).count("’"), found.text.count("'"))


class Closest(SynchronousTestCase):
    def test_a_character_for_a_character(self) -> None:
        self.assertEqual(closest("é ß € Δ – x", "ascii"), "e ? ? ? - x")
        self.assertEqual(closest("é ß € Δ", "latin-1"), "é ß ? ?")

    @given(st.text(), st.sampled_from(["ascii", "latin-1"]))
    def test_any_text(self, text: str, codec: str) -> None:
        self.assertEqual(len(closest(text, codec).encode(codec)), len(text))
