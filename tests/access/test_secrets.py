from __future__ import annotations

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.secrets import Seal, SecretError, derive, load_or_create


class File(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "state"

    def test_made_once_for_its_owner_only(self) -> None:
        secret = load_or_create(self.folder)
        self.assertEqual(len(secret), 32)
        self.assertEqual(load_or_create(self.folder), secret)
        self.assertEqual(stat.S_IMODE((self.folder / "secret.key").stat().st_mode), 0o600)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["secret.key"])

    def test_refuses_what_others_can_read(self) -> None:
        load_or_create(self.folder)
        (self.folder / "secret.key").chmod(0o640)
        self.assertRaisesRegex(SecretError, "chmod 600", load_or_create, self.folder)

    def test_refuses_what_is_cut_off(self) -> None:
        load_or_create(self.folder)
        (self.folder / "secret.key").write_bytes(b"short")
        self.assertRaisesRegex(SecretError, "5 octets", load_or_create, self.folder)

    def test_no_place_for_it(self) -> None:
        self.folder.parent.write_bytes(b"")
        self.assertRaises(SecretError, load_or_create, self.folder)


class Sealed(SynchronousTestCase):
    def test_fits_its_column_and_opens_for_its_owner_only(self) -> None:
        seal = Seal(derive(b"s" * 32, "totp"))
        sealed = seal.close(b"x" * 20, "user:1")
        self.assertEqual(len(sealed), 64)
        self.assertEqual(seal.open(sealed, "user:1"), b"x" * 20)
        self.assertRaises(SecretError, seal.open, sealed, "user:2")
        self.assertRaises(SecretError, Seal(derive(b"t" * 32, "totp")).open, sealed, "user:1")
        for broken in ("", "é", sealed[:-4], "A" * 64):
            self.assertRaises(SecretError, seal.open, broken, "user:1")

    def test_purposes_differ(self) -> None:
        self.assertNotEqual(derive(b"s", "jwt"), derive(b"s", "totp"))
