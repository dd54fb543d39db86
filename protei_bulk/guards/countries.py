"""The country of an international number, by its calling code and, where several countries share one, by what follows. Pure.

The tables are those of phonenumberslite. Of the islands that share +44, +61, +262, +358, +590 with a larger country those are told apart
whose numbers begin with digits of their own; the others count as the larger one.
"""

from __future__ import annotations

import re
from functools import cache

import phonenumbers
from phonenumbers.phonemetadata import PhoneMetadata

_CODES = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
_HEAD = 7  # digits that tell a country: the Isle of Man's are 44 74576
_MOST = 100_000  # heads remembered

#: ISO 3166-1 alpha-2 codes that a number may have
REGIONS = frozenset(region for regions in _CODES.values() for region in regions if region.isalpha())

_known: dict[str, str] = {}


def region_of(digits: str) -> str:
    """ISO 3166-1 alpha-2; "001" for calling codes of no country, "" where there is no such code. `digits` may begin with 00."""
    head = digits[:_HEAD]
    found = _known.get(head)
    if found is None:
        if head[:1] == "0":
            return region_of(digits.lstrip("0"))
        if len(_known) >= _MOST:
            _known.clear()
        found = _known[head] = _find(head)
    return found


def _find(head: str) -> str:
    if not head.isascii():
        return ""
    for length in (1, 2, 3):
        code = head[:length]
        if code.isdigit() and int(code) in _CODES:
            national = head[length:]
            for region, pattern in _shared(int(code)):
                if pattern.match(national):
                    return region
            return _CODES[int(code)][0]
    return ""


@cache
def _shared(code: int) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """What the numbers of each country of a calling code begin with, as far as they differ."""
    regions = _CODES[code]
    if len(regions) == 1:
        return ()
    found = []
    for region in regions:
        metadata = PhoneMetadata.metadata_for_region(region)
        if metadata is not None and metadata.leading_digits:
            found.append((region, re.compile(metadata.leading_digits)))
    if code == 1:
        found.append(("CA", re.compile("|".join(str(area) for area in range(200, 1000) if _canadian(area)))))
    return tuple(found)


def _canadian(area: int) -> bool:
    """Canada has area codes like the United States; only its list of fixed lines tells which."""
    metadata = PhoneMetadata.metadata_for_region("CA")
    fixed = metadata.fixed_line.national_number_pattern if metadata is not None and metadata.fixed_line is not None else None
    return fixed is not None and re.fullmatch(fixed, f"{area}2222222") is not None
