"""What a search in a list of contacts is for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.contact_list import searched


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
