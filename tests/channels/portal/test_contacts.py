"""What a search in a list of contacts is for, and where its next page begins."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.contact_list import _cursor, _given, _token, searched
from tests.channels.portal.test_campaign_parts import visit


class SearchTest(SynchronousTestCase):
    def test_numbers(self) -> None:
        for text, found in (
            ("0791234567", "962791234567"), ("+962 79 123 4567", "962791234567"), ("٠٧٩١٢٣٤٥٦٧", "962791234567"), ("079", "96279"),
            ("+96279", "96279"), ("0096279", "96279"), ("٠٧٩", "96279"), ("962", "962"),
        ):  # fmt: skip
            self.assertEqual(searched(text, "JO"), (found, ""), text)
        self.assertEqual(searched("079", ""), ("79", ""))

    def test_names(self) -> None:
        for text in ("Sara", "لينا", "3rd floor", "%_", ""):
            self.assertEqual(searched(text, "JO"), ("", text))

    def test_a_number_as_one_writes_it_at_home(self) -> None:
        (number, _, _), errors = _given(visit(number="0791234567"), "JO")
        self.assertEqual((number, errors), ("962791234567", {}))
        _, errors = _given(visit(number="0791234567"), "")
        self.assertIn("Numbers must have their country code.", errors["number"])

    def test_cursors(self) -> None:
        self.assertEqual(_cursor(_token("لينا 😀", "962790000001")), ("لينا 😀", "962790000001"))
        for text in ('["\\ud800", "1"]', '["a", "\\udfff"]', '["a"]', "7", "{", "[" * 700):
            self.assertIsNone(_cursor(base64.urlsafe_b64encode(text.encode()).decode()), text)
        self.assertIsNone(_cursor("\u0661"))
