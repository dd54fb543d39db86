"""XLSX files: read as text, and refused where they are bombs or broken."""

from __future__ import annotations

import io
import random
import zipfile
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns import workbook
from protei_bulk.campaigns.preview import preview
from protei_bulk.campaigns.tables import Refused
from protei_bulk.campaigns.workbook import Workbook
from tests.campaigns.sheets import Formula, packed, parts, sheet, xlsx

MOST = 32 * 1024**2


def opened(body: bytes, most: int = MOST) -> Workbook:
    return Workbook(io.BytesIO(body), most)


class WorkbookTest(SynchronousTestCase):
    def test_cells_as_text(self) -> None:
        body = xlsx(People=[
            ["phone", "name", "points", "since"], [962791234567, "Ahmad", 3.5, True],
            [791234568.0, '=HYPERLINK("http://x")', Formula("1+1"), None],
            ["٠٧٩١٢٣٤٥٦٩", " لينا ", 9.62788e11, "9.62788E+11"],
        ])  # fmt: skip
        rows = opened(body).rows(0)
        self.assertEqual(rows.total, 4)
        self.assertEqual(list(rows), [
            ["phone", "name", "points", "since"], ["962791234567", "Ahmad", "3.5", "TRUE"],
            ["791234568", '=HYPERLINK("http://x")', "42", ""],
            ["٠٧٩١٢٣٤٥٦٩", "لينا", "962788000000", "9.62788E+11"],
        ])  # fmt: skip
        self.assertEqual(rows.line, 4)

    def test_sheets(self) -> None:
        body = xlsx(Empty=[], People=[["0791234567"], [], ["0791234568"]])
        book = opened(body)
        self.assertEqual(book.sheets, ["Empty", "People"])
        found = preview(None, opened(body), {})
        self.assertEqual((found["sheet"], found["rows_estimated"], found["mapping"]["number"]), (1, 3, 0))
        with self.assertRaises(Refused):
            book.rows(2)
        with self.assertRaises(Refused) as raised:
            preview(None, opened(body), {"sheet": 0})
        self.assertEqual(raised.exception.code, "EMPTY_FILE")

    def test_lines_of_the_sheet(self) -> None:
        """A sheet that begins further below: what is told is the line that people see."""
        text = sheet([["0791234567"]]).replace('"1"', '"7"').replace('"A1"', '"A7"')
        rows = opened(packed(parts({"People": text}))).rows(0)
        self.assertEqual([(rows.line, row) for row in rows if any(row)], [(7, ["0791234567"])])


class BadTest(SynchronousTestCase):
    def refused(self, body: bytes, code: str, most: int = MOST) -> None:
        with self.assertRaises(Refused) as raised:
            for row in opened(body, most).rows(0):
                self.assertTrue(row is not None)
        self.assertEqual(raised.exception.code, code)

    def test_bombs(self) -> None:
        files = parts({"People": sheet([["0791234567"]])})
        self.refused(packed({**files, "xl/media/image1.png": bytes(MOST + 1)}), "TOO_LARGE_UNPACKED")
        half = bytes(MOST // 2 + 1)
        self.refused(packed({**files, "xl/media/image1.png": half, "xl/media/image2.png": half}), "TOO_LARGE_UNPACKED")
        self.refused(packed({**files, "xl/worksheets/sheet1.xml": bytes(20 * 1024**2)}), "ZIP_BOMB")
        self.refused(packed({**files, **{f"xl/{n}.xml": "" for n in range(workbook.MAX_ENTRIES)}}), "TOO_LARGE_UNPACKED")

    def test_a_directory_that_lies(self) -> None:
        """The directory says a few octets; what is packed is 64 MiB."""
        body = bytearray(packed({**parts({"People": sheet([["0791234567"]])}), "xl/media/image1.png": bytes(64 * 1024**2)}))
        with zipfile.ZipFile(io.BytesIO(bytes(body))) as archive:
            entry = archive.getinfo("xl/media/image1.png")
        real = entry.file_size.to_bytes(4, "little")
        place = body.rfind(real)
        while place >= 0:
            body[place : place + 4] = (100).to_bytes(4, "little")
            place = body.rfind(real)
        with zipfile.ZipFile(io.BytesIO(bytes(body))) as archive:
            self.assertEqual(archive.getinfo("xl/media/image1.png").file_size, 100)
        self.refused(bytes(body), "ZIP_BOMB", 2**40)
        self.refused(bytes(body), "ZIP_BOMB")
        self.patch(workbook, "MAX_RATIO", 10**6)
        self.refused(bytes(body), "TOO_LARGE_UNPACKED")

    def test_far_away_cells(self) -> None:
        """Two cells in opposite corners of a sheet would be 17 billion between them."""
        text = sheet([["0791234567"]]).replace("</row>", '</row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>', 1)
        self.refused(packed(parts({"People": text})), "TOO_MANY_CELLS")

    def test_cells(self) -> None:
        self.patch(workbook, "MAX_CELLS", 100)
        self.refused(xlsx(People=[["0791234567", "a", "b"]] * 40), "TOO_MANY_CELLS")

    def test_broken(self) -> None:
        files = parts({"People": sheet([["0791234567"]])})
        whole = packed(files)
        self.refused(whole[:-30], "BROKEN_XLSX")
        self.refused(b"PK\x03\x04" + bytes(100), "BROKEN_XLSX")
        self.refused(packed({**files, "xl/worksheets/sheet1.xml": "<worksheet><sheetData><row><c t='s'><v>99</v>"}), "BROKEN_XLSX")
        self.refused(packed({**files, "xl/workbook.xml": "not XML <"}), "BROKEN_XLSX")
        self.refused(packed({"readme.txt": "hello"}), "NOT_A_TABLE")
        self.refused(packed({**files, "xl/workbook.bin": b"x"}), "NOT_A_TABLE")
        self.refused(packed({**files, "mimetype": "application/vnd.oasis.opendocument.spreadsheet"}), "NOT_A_TABLE")
        self.refused(packed({name: text for name, text in files.items() if "sheet1" not in name}), "BROKEN_XLSX")

    def test_entities_are_not_expanded(self) -> None:
        bomb = '<!DOCTYPE x [<!ENTITY a "0791234567">' + "".join(
            f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 50}">' for n in range(8)) + "]>"
        text = sheet([["PLACE"]]).replace("<worksheet", bomb + "<worksheet", 1).replace("PLACE", "&i;")
        try:
            rows = list(opened(packed(parts({"People": text}))).rows(0))
        except Refused as refused:
            self.assertEqual(refused.code, "BROKEN_XLSX")
        else:
            self.assertLess(len(str(rows)), 1000)

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32), st.integers(1, 30))
    def test_any_damage(self, seed: int, wounds: int) -> None:
        """Octets anywhere replaced: it is read, or refused; nothing else."""
        rnd = random.Random(seed)
        body = bytearray(xlsx(People=[[962791234567 + n, "Ahmad", 1.5] for n in range(20)]))
        for _ in range(wounds):
            body[rnd.randrange(len(body))] = rnd.randrange(256)
        self._read(bytes(body))

    @settings(deadline=None, max_examples=60)
    @given(st.integers(0, 2**32), st.integers(1, 12))
    def test_any_damage_within(self, seed: int, wounds: int) -> None:
        """The same in what is packed, whose sums are right then."""
        rnd = random.Random(seed)
        files: dict[str, str | bytes] = dict(parts({"People": sheet([[962791234567 + n, "Ahmad", 1.5] for n in range(20)])}))
        name = rnd.choice([n for n in files if n.startswith("xl/")])
        text = bytearray(str(files[name]).encode())
        for _ in range(wounds):
            at = rnd.randrange(len(text))
            text[at : at + rnd.randrange(4)] = rnd.choice([b"", b"<", b"&", b'"', b"99999999", b"A", b"\xff", b"</c>"])
        self._read(packed({**files, name: bytes(text)}))

    def _read(self, body: bytes) -> None:
        try:
            book = opened(body)
            for n in range(len(book.sheets)):
                for row in book.rows(n):
                    self.assertTrue(all(isinstance(c, str) for c in row))
        except Refused as refused:
            self.assertTrue(refused.code)
        except zlib.error as error:
            self.fail(str(error))
