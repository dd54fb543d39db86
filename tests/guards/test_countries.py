"""Countries of numbers, against the full parser of phonenumbers."""

from __future__ import annotations

import phonenumbers
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.guards.countries import REGIONS, region_of

#: that share a calling code, without digits of their own for all their numbers
SAME = {
    "GG": "GB", "JE": "GB", "IM": "GB", "SJ": "NO", "CC": "AU", "CX": "AU", "EH": "MA", "YT": "RE", "BL": "GP", "MF": "GP",
    "VA": "IT", "AX": "FI",
}  # fmt: skip


class Countries(SynchronousTestCase):
    def test_an_example_of_each(self) -> None:
        wrong = []
        for region in sorted(REGIONS):
            for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE):
                number = phonenumbers.example_number_for_type(region, kind)
                if number is not None:
                    digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
                    if region_of(digits) not in (region, SAME.get(region)):
                        wrong.append((region, digits, region_of(digits)))
                    self.assertEqual(region_of("00" + digits), region_of(digits))
        self.assertEqual(wrong, [])

    def test_who_is_pumped_to(self) -> None:
        pairs = {
            "18765551234": "JM", "12425551234": "BS", "12125551234": "US", "14165551234": "CA", "77011234567": "KZ", "79161234567": "RU",
        }  # fmt: skip
        for number, region in pairs.items():
            self.assertEqual(region_of(number), region)
        self.assertEqual([region_of(n) for n in ("88161234567", "", "0", "999", "21012345", "٩٦٢")], ["001", "", "", "", "", ""])
