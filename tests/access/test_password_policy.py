"""Which passwords are taken."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.password_policy import _COMMON, fault


class Policy(SynchronousTestCase):
    def test_good_enough(self) -> None:
        for password in ("Password@123", "correct horse", "كلمة السر", "x" * 40 + "yz", "aaaaaaab c", "8 spaces", "12345679"):
            self.assertIsNone(fault(password, "ahmad"), password)

    def test_no_rules_of_composition(self) -> None:
        for password in ("onlylowercaseletters", "70142385", "ONLY UPPER CASE"):
            self.assertIsNone(fault(password), password)

    def test_length_is_of_characters(self) -> None:
        self.assertIn("shorter", fault("1234567") or "")
        self.assertIsNone(fault("ü" * 4 + "öäßé"))
        self.assertIsNone(fault("ab" * 63 + "cd"))
        self.assertIn("longer", fault("ab" * 64 + "c") or "")
        self.assertIn("U+0000", fault("good enough\0") or "")

    def test_what_everybody_tries_first(self) -> None:
        for password in ("password", "PASSWORD1", "12345678", "87654321", "abcdefgh", "aaaaaaaa", "abababab", "qwerty123", "34567890"):
            self.assertIn("tries first", fault(password) or "", password)

    def test_names(self) -> None:
        for password in ("ahmad-1234", "Ahmad-2026", "protei123", "!Protei_Bulk!"):
            self.assertIn("name", fault(password, "ahmad") or "", password)
        self.assertIsNone(fault("ahmad123x", "ahmad"))
        self.assertIsNone(fault("12.3.4567", "99"))  # a name without letters says nothing

    def test_the_list(self) -> None:
        self.assertGreater(len(_COMMON), 300)
        self.assertNotIn("password@123", _COMMON)
        self.assertEqual([word for word in _COMMON if word != word.casefold() or len(word) < 8], [])
