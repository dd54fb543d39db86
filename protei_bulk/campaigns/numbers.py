"""Numbers as people write them, made into those that SMSCs take: digits with the country code, E.164. Pure.

The rules of countries come from phonenumberslite; the common forms take a short way through
its tables, a microsecond or two each, everything else its full parser.
"""

from __future__ import annotations

import re
from functools import cache

import phonenumbers
from attrs import frozen
from phonenumbers import NumberParseException
from phonenumbers.phonemetadata import PhoneMetadata

_CODES = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
_DECOR = str.maketrans("", "", " \t\u00a0\u202f\u2007\u200e\u200f\u202a\u202c\u2066\u2069-.()/\u2010\u2011\u2012\u2013")
#: digits that people type elsewhere: Arabic-Indic, extended Arabic-Indic, full-width
_DIGITS = {zero + d: str(d) for zero in (0x660, 0x6F0, 0xFF10) for d in range(10)} | {0xFF0B: "+"}

EMPTY, NOT_A_NUMBER, TOO_SHORT, TOO_LONG, NOT_IN_USE = "EMPTY", "NOT_A_NUMBER", "TOO_SHORT", "TOO_LONG", "NOT_IN_USE"


class BadNumber(ValueError):
    """`code` is one of the names above."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@frozen
class Country:
    """`region` is ISO 3166-1 alpha-2; several may share a calling code."""

    code: int
    region: str


class Numbers:
    """Reads numbers for an account whose own country is `region`; "" where numbers must be international."""

    def __init__(self, region: str = "") -> None:
        metadata = PhoneMetadata.metadata_for_region(region) if region else None
        self._region = region if metadata is not None else ""
        self._code = str(metadata.country_code) if metadata is not None else ""
        self._trunk = (metadata.national_prefix or "") if metadata is not None else ""
        self._abroad = re.compile(metadata.international_prefix) if metadata is not None and metadata.international_prefix else None

    def read(self, written: str) -> str:
        """The digits of a number, country code first. Raises BadNumber."""
        plain = (written.strip().removesuffix(".0")).translate(_DECOR)  # a spreadsheet took it for an amount
        if not plain.isascii():
            plain = plain.translate(_DIGITS)
        if not plain:
            raise BadNumber(EMPTY)
        digits = plain[1:] if plain[0] == "+" else plain
        if not digits.isascii() or not digits.isdigit():
            raise BadNumber(NOT_A_NUMBER)
        if len(digits) < 4:
            raise BadNumber(TOO_SHORT)
        if len(digits) > 20:
            raise BadNumber(TOO_LONG)
        if plain[0] == "+":
            return _international(digits)
        if digits.startswith("00"):
            return _international(digits[2:])
        if self._code:
            if digits.startswith(self._code) and _fits(digits[len(self._code) :], int(self._code)):
                return digits
            national = digits[len(self._trunk) :] if self._trunk and digits.startswith(self._trunk) else digits
            if _fits(national, int(self._code)):
                return self._code + national
            if self._abroad is not None and (prefix := self._abroad.match(digits)):
                return _international(digits[prefix.end() :])
            try:
                parsed = phonenumbers.parse(digits, self._region)
                if phonenumbers.is_possible_number(parsed) and phonenumbers.is_valid_number(parsed):
                    return f"{parsed.country_code}{phonenumbers.national_significant_number(parsed)}"
            except NumberParseException:
                pass
        return _international(digits)


def _international(digits: str) -> str:
    if len(digits) > 15:
        raise BadNumber(TOO_LONG)
    country = country_of(digits)
    if country is None:
        raise BadNumber(NOT_IN_USE)
    national = digits[len(str(country.code)) :]
    if _fits(national, country.code):
        return digits
    possible = _lengths(country.code)
    if possible and len(national) < min(possible):
        raise BadNumber(TOO_SHORT)
    if possible and len(national) > max(possible):
        raise BadNumber(TOO_LONG)
    raise BadNumber(NOT_IN_USE)


def country_of(digits: str) -> Country | None:
    """By the calling code of an international number; the main region where several share it."""
    for length in (1, 2, 3):
        head = digits[:length]
        if head.isdigit() and int(head) in _CODES and head[0] != "0":
            return Country(int(head), _CODES[int(head)][0])
    return None


@cache
def _pattern(code: int) -> re.Pattern[str] | None:
    patterns = []
    for region in _CODES.get(code, ()):
        metadata = PhoneMetadata.metadata_for_region(region) or PhoneMetadata.metadata_for_nongeo_region(code)
        if metadata is not None and metadata.general_desc and metadata.general_desc.national_number_pattern:
            patterns.append(metadata.general_desc.national_number_pattern)
    return re.compile("|".join(f"(?:{p})" for p in patterns)) if patterns else None


@cache
def _lengths(code: int) -> frozenset[int]:
    lengths: set[int] = set()
    for region in _CODES.get(code, ()):
        metadata = PhoneMetadata.metadata_for_region(region) or PhoneMetadata.metadata_for_nongeo_region(code)
        if metadata is not None and metadata.general_desc:
            lengths.update(n for n in metadata.general_desc.possible_length if n > 0)
    return frozenset(lengths)


def _fits(national: str, code: int) -> bool:
    pattern = _pattern(code)
    return pattern is not None and pattern.fullmatch(national) is not None
