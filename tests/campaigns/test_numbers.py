from __future__ import annotations

import contextlib

import phonenumbers
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns.numbers import BadNumber, Numbers, country_of

EXAMPLES = [
    e for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    if (e := phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)) is not None
]  # fmt: skip


class NumbersTest(SynchronousTestCase):
    def code(self, numbers: Numbers, written: str) -> str:
        return self.assertRaises(BadNumber, numbers.read, written).code  # type: ignore[no-any-return]

    def test_forms_of_one_number(self) -> None:
        jordan = Numbers("JO")
        for written in ("0788123456", "788123456", "+962 78 812 3456", "00962788123456", "962788123456", "(078) 812-3456", "٠٧٨٨١٢٣٤٥٦",
                        "\u200e+962788123456", "962788123456.0"):  # fmt: skip
            self.assertEqual(jordan.read(written), "962788123456", written)

    def test_without_a_country_of_its_own(self) -> None:
        self.assertEqual(Numbers().read("962788123456"), "962788123456")
        self.assertEqual(self.code(Numbers(), "0788123456"), "NOT_IN_USE")

    def test_why_not(self) -> None:
        jordan = Numbers("JO")
        for written, code in (("", "EMPTY"), ("  ", "EMPTY"), ("hello", "NOT_A_NUMBER"), ("12", "TOO_SHORT"), ("+96278812", "TOO_SHORT"),
                              ("+9627881234567890", "TOO_LONG"), ("+999123456789", "NOT_IN_USE"), ("=1+1", "NOT_A_NUMBER")):  # fmt: skip
            self.assertEqual(self.code(jordan, written), code, written)

    def test_examples_of_every_country(self) -> None:
        for example in EXAMPLES:
            e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            self.assertEqual(Numbers("JO").read(e164), e164[1:])
            region = phonenumbers.region_code_for_number(example)
            national = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
            self.assertEqual(Numbers(region).read(national), e164[1:], national)

    @given(st.sampled_from(("JO", "US", "GB", "")), st.text("+0123456789 -().", max_size=18))
    @settings(deadline=None, max_examples=300)
    def test_what_is_taken_is_a_possible_number(self, region: str, written: str) -> None:
        try:
            digits = Numbers(region).read(written)
        except BadNumber:
            return
        self.assertTrue(digits.isdigit() and 5 <= len(digits) <= 15, digits)
        self.assertIsNotNone(country_of(digits))
        self.assertEqual(Numbers().read(digits), digits)

    @given(st.text(max_size=30))
    @settings(deadline=None)
    def test_nothing_else_is_raised(self, written: str) -> None:
        with contextlib.suppress(BadNumber):
            Numbers("JO").read(written)
