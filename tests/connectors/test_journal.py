from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from hypothesis import given
from hypothesis.strategies import lists, text
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.connectors.journal import SentJournal


class Journal(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def opened(self, **how: int) -> tuple[SentJournal, list[tuple[str, str, str, int]]]:
        journal = SentJournal(self.folder, **how)
        left = journal.open()
        self.addCleanup(journal.close)
        return journal, left

    def files(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir())

    def test_what_is_written_comes_back_after_a_kill(self) -> None:
        journal, left = self.opened()
        self.assertEqual(left, [])
        journal.write(["MSG-1\ta\tx\t0\n", "MSG-2\ta\ty\t2\n"])
        again, left = self.opened()
        self.assertEqual(left, [("MSG-1", "a", "x", 0), ("MSG-2", "a", "y", 2)])
        self.assertEqual(self.files(), ["sent.1", "sent.2"])
        again.recovered()
        self.assertEqual(self.files(), ["sent.2"])

    def test_a_torn_last_line_and_rubbish_are_left_out(self) -> None:
        self.folder.mkdir()
        rubbish = b"rubbish\nMSG-3\ta\ty\tz\nMSG-4\ta\tx\0\t0\nMSG-5\ta\tx\t99999\nMSG-6\ta\t" + b"9" * 65 + b"\t0\nMSG-7\ta\t%00\t0\te\n"
        (self.folder / "sent.4").write_bytes(b"MSG-1\ta\tx\t0\n" + rubbish + b"MSG-2\ta\tid-of-2\t")
        (self.folder / "sent.other").write_bytes(b"MSG-9\ta\tx\t0\n")
        _, left = self.opened()
        self.assertEqual(left, [("MSG-1", "a", "x", 0)])
        self.assertEqual(self.files(), ["sent.4", "sent.5", "sent.other"])

    @given(ids=lists(text(max_size=64).filter(lambda id: "\0" not in id), min_size=1, max_size=5))
    def test_whatever_an_smsc_calls_a_message(self, ids: list[str]) -> None:
        with TemporaryDirectory() as folder:
            journal = SentJournal(Path(folder))
            journal.open()
            journal.write([f"MSG-{n}\ta\t{id}\t{n}\n" for n, id in enumerate(ids)])
            journal.close()
            again = SentJournal(Path(folder))
            self.assertEqual(again.open(), [(f"MSG-{n}", "a", id, n) for n, id in enumerate(ids)])
            again.close()

    def test_separators_in_an_id(self) -> None:
        journal, _ = self.opened()
        odd = ["a\tb", "a\nb", "\r", "%09", "\t\te", "\t" * 64]
        journal.write([f"MSG-1\ta\t{id}\t0\n" for id in odd])
        _, left = self.opened()
        self.assertEqual(left, [("MSG-1", "a", id, 0) for id in odd])

    def test_a_line_torn_by_a_full_disk_takes_none_along(self) -> None:
        journal, _ = self.opened()
        journal.write(["MSG-1\ta\tx\t0\n"])
        real = os.write

        def full(fd: int, data: memoryview) -> int:
            if len(data) > 9:
                return real(fd, data[:9])
            raise OSError("no space left on device")

        with mock.patch("os.write", full), self.assertRaises(OSError):
            journal.write(["MSG-2\ta\ty\t0\n"])
        journal.write(["MSG-3\ta\tz\t0\n"])
        journal.write(["MSG-4\ta\tz\t0\n"])
        _, left = self.opened()
        self.assertEqual([m for m, _, _, _ in left], ["MSG-1", "MSG-3", "MSG-4"])

    def test_files_are_read_in_the_order_of_their_numbers(self) -> None:
        self.folder.mkdir()
        for n in (10, 9):
            (self.folder / f"sent.{n}").write_bytes(b"MSG-%d\ta\tx\t0\n" % n)
        _, left = self.opened()
        self.assertEqual([m for m, _, _, _ in left], ["MSG-9", "MSG-10"])

    def test_a_full_file_goes_once_all_in_it_is_committed(self) -> None:
        journal, _ = self.opened(rotate_at=30)
        journal.write(["MSG-1\ta\tx\t0\n"] * 3)
        journal.write(["MSG-2\ta\tx\t0\n"])
        self.assertEqual(self.files(), ["sent.1", "sent.2"])
        journal.committed(2)
        self.assertEqual(self.files(), ["sent.1", "sent.2"])
        journal.committed(1)
        self.assertEqual(self.files(), ["sent.2"])

    def test_the_end(self) -> None:
        journal, _ = self.opened()
        journal.write(["MSG-1\ta\tx\t0\n"])
        journal.close()
        self.assertEqual(self.files(), ["sent.1"])
        journal, _ = self.opened()
        journal.recovered()
        journal.write(["MSG-1\ta\tx\t0\n"])
        journal.committed(1)
        journal.close()
        journal.close()
        self.assertEqual(self.files(), [])

    def test_the_file_is_the_owners(self) -> None:
        self.opened()
        self.assertEqual((self.folder / "sent.1").stat().st_mode & 0o777, 0o600)
