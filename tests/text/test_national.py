"""The tables hold together: ten of the alphabets have one layout, so each of their tables is checked by another."""

from __future__ import annotations

import unicodedata

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import gsm
from protei_bulk.text.national import LANGUAGES, LOCKING, SINGLE
from protei_bulk.text.shifts import read_table

#: first code point of the blocks that follow ISCII, with their signs in one order
_BLOCKS = {4: 0x980, 5: 0xA80, 6: 0x900, 7: 0xC80, 8: 0xD00, 9: 0xB00, 10: 0xA00, 11: 0xB80, 12: 0xC00}
_HINDI = LANGUAGES["hindi"]
_LATIN = {3: "portuguese", 1: "turkish"}


class Tables(SynchronousTestCase):
    def test_identifiers(self) -> None:
        self.assertEqual(sorted(LANGUAGES.values()), list(range(1, 14)))
        self.assertEqual(sorted(SINGLE), list(range(1, 14)))
        self.assertEqual(sorted(LOCKING), [1, *range(3, 14)])  # A.3.2 is void

    def test_form(self) -> None:
        for tables in (LOCKING, SINGLE):
            for language, text in tables.items():
                table = read_table(text)
                self.assertEqual(len(table), 128, language)
                self.assertEqual([len(line.split()) for line in text.strip().splitlines()], [16] * 8, language)
                self.assertTrue(all(len(c) <= 1 and (not c or unicodedata.name(c, "") or c in "\n\r\f\x1b") for c in table), language)
                self.assertEqual((table[0x1B], table[0x0D]), ("\x1b", "\r") if tables is LOCKING else ("", ""), language)

    def test_nothing_stands_twice_in_a_locking_table(self) -> None:
        for language, text in LOCKING.items():
            characters = [c for c in read_table(text) if c]
            self.assertEqual(len(characters), len(set(characters)), language)

    def test_what_all_have(self) -> None:
        for language, text in LOCKING.items():
            table = read_table(text)
            self.assertEqual(table[0x30:0x3C], list("0123456789:;"), language)
            self.assertEqual(table[0x61:0x7B], list("abcdefghijklmnopqrstuvwxyz"), language)
            self.assertEqual((table[0x0A], table[0x20], table[0x21], table[0x3F]), ("\n", " ", "!", "?"), language)
        for language, text in SINGLE.items():
            table = read_table(text)
            for place, character in gsm.EXTENSION.items():
                self.assertEqual(table[place], character, (language, hex(place)))

    def test_one_layout_of_the_indic_alphabets(self) -> None:
        """Code point less the first of the block is the same everywhere, up to 0x5F; a place may be empty."""
        hindi = read_table(LOCKING[_HINDI])
        for language, block in _BLOCKS.items():
            for place, character in enumerate(read_table(LOCKING[language])[:0x60]):
                code = ord(hindi[place])
                expected = chr(code - 0x900 + block) if code >= 0x900 else hindi[place]
                self.assertIn(character, ("", expected) if code >= 0x900 else (expected,), (language, hex(place)))

    def test_the_rest_is_of_the_block(self) -> None:
        for language, block in _BLOCKS.items():
            table = read_table(LOCKING[language])
            for place in (0x60, *range(0x7B, 0x80)):
                self.assertTrue(block <= ord(table[place]) < block + 0x80, (language, hex(place)))

    def test_digits_follow_each_other(self) -> None:
        for language in range(4, 14):
            table = read_table(SINGLE[language])
            digits = [unicodedata.digit(c) for c in table if c and unicodedata.category(c) == "Nd"]
            self.assertEqual(digits, list(range(10)), language)

    def test_one_beginning_of_the_single_shift_tables(self) -> None:
        for language in range(4, 14):
            table = read_table(SINGLE[language])
            self.assertEqual("".join(table[:0x19]), "@£$¥¿\"¤%&'\f*+-/<=>¡^¡_#*", language)
            self.assertEqual("".join(table[0x40:0x5B]), "|ABCDEFGHIJKLMNOPQRSTUVWXYZ", language)
            dandas = {4: "\u09e6\u09e7", 12: "", 13: "\u0600\u0601"}.get(language, "\u0964\u0965")
            self.assertEqual("".join(table[0x19:0x1B]), dandas, language)

    def test_places_that_printed_tables_have_wrong(self) -> None:
        self.assertEqual(read_table(LOCKING[LANGUAGES["kannada"]])[0x24], "\u0ca1")
        self.assertEqual(read_table(SINGLE[LANGUAGES["tamil"]])[0x24], "\u0bee")

    def test_latin(self) -> None:
        """Turkish and Portuguese replace some of the default alphabet; what they take away of theirs nobody misses."""
        for language, kept in ((1, 120), (3, 98)):
            table = read_table(LOCKING[language])
            same = sum(1 for a, b in zip(table, gsm.BASIC, strict=True) if a == b)
            self.assertEqual(same, kept, _LATIN[language])
        self.assertEqual({c for c in read_table(SINGLE[1]) if c} - set(gsm.EXTENSION.values()), set("ĞİŞçğış"))
        self.assertEqual({c for c in read_table(SINGLE[2]) if c} - set(gsm.EXTENSION.values()), set("çÁÍÓÚáíóú"))
        portuguese = set("êçÔôÁáΦΓΩΠΨΣΘÊÀÍÓÚÃÕÂíóúãõâ")
        self.assertEqual({c for c in read_table(SINGLE[3]) if c} - set(gsm.EXTENSION.values()), portuguese)
