from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.receipts.ids import FORMS, variants


class Forms(SynchronousTestCase):
    @given(st.integers(0, 2**64))
    def test_both_sides_meet(self, n: int) -> None:
        resp, receipt = FORMS["hex-to-decimal"]
        self.assertEqual(resp(format(n, "X")), receipt(f"{n:020d}"))
        resp, receipt = FORMS["decimal-to-hex"]
        self.assertEqual(resp(str(n)), receipt(format(n, "08X")))
        resp, receipt = FORMS["hex"]
        self.assertEqual(resp(format(n, "X")), receipt(format(n, "010x")))

    def test_text_is_left_alone(self) -> None:
        resp, receipt = FORMS["text"]
        self.assertEqual((resp("00Ab"), receipt("00Ab")), ("00Ab", "00Ab"))

    def test_variants(self) -> None:
        self.assertIn("499602d2", variants("1234567890"))
        self.assertIn("1234567890", variants("499602D2"))
        self.assertIn("123", variants("000123"))
        self.assertNotIn("abc", variants("abc"))

    @given(st.text(max_size=64))
    def test_any_id(self, text: str) -> None:
        variants(text)
        for resp, receipt in FORMS.values():
            resp(text)
            receipt(text)
