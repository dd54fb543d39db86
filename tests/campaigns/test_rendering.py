"""A campaign's text for one recipient."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase as TestCase

from protei_bulk.campaigns.rendering import Text, Unsendable
from protei_bulk.text.segments import encode_text


class TextTests(TestCase):
    def code(self, text: Text, variables: dict[str, str] | None = None) -> tuple[str, str]:
        error = self.assertRaises(Unsendable, text.render, variables)
        return error.code, error.detail

    def test_each_recipient_has_a_text_of_its_own(self) -> None:
        text = Text("Hi %NAME%")
        self.assertEqual(text.render({"NAME": "Ahmad"}).body, b"Hi Ahmad")
        self.assertEqual(text.render({"NAME": "أحمد"}).data_coding, 8)

    def test_smart_encoding_saves_ucs2(self) -> None:
        shown = Text("“Hello” – %NAME%", smart=True)
        self.assertEqual(shown.render({"NAME": "A"}).text, '"Hello" - A')
        self.assertEqual(shown.render({"NAME": "أ"}).text, "“Hello” – أ")

    def test_what_cannot_be_sent_says_why(self) -> None:
        self.assertEqual(self.code(Text("Hi %NAME%")), ("MISSING_VARIABLE", "NAME"))
        self.assertEqual(self.code(Text("%A%"), {"A": ""}), ("NO_MESSAGE", ""))
        self.assertEqual(self.code(Text("Hi €漢", "GSM7")), ("INVALID_TEXT", "'漢' (U+6F22)"))
        self.assertEqual(self.code(Text("a\0b"))[0], "INVALID_TEXT")
        self.assertEqual(self.code(Text("x" * 39_016))[0], "MESSAGE_TOO_LONG")
        self.assertEqual(self.code(Text("\ud800", "UCS2"))[0], "INVALID_TEXT")

    def test_the_same_text_is_encoded_once(self) -> None:
        text = Text("Hello")
        self.assertIs(text.render(), text.render({"UNUSED": "1"}))

    @given(st.text(st.characters(blacklist_characters="%\0", blacklist_categories=("Cs",)), min_size=1, max_size=400))
    def test_it_says_what_the_encoder_says(self, given: str) -> None:
        if given.strip():
            rendered, encoded = Text(given).render(), encode_text(given, "AUTO")
            self.assertEqual((rendered.segments, rendered.body), (encoded.segments, encoded.body))
