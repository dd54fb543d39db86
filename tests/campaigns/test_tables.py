"""Files of rows: what they are taken for, what is read of them, and what is refused. Nothing here may hang, or take all memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns.preview import preview
from protei_bulk.campaigns.tables import (
    DELIMITERS,
    ENCODINGS,
    Refused,
    Rows,
    bare,
    clean,
    delimiter_of,
    form_of,
    kind_of,
)

ARABIC = "الرقم;الاسم\n0791234567;محمد\n0791234568;لينا الأحمد\n"


class File:
    def __init__(self, body: bytes, size: int = 1024**2) -> None:
        self.body, self.size, self._size = body, len(body), size

    def chunks(self) -> Iterator[bytes]:
        for n in range(0, len(self.body), self._size):
            yield self.body[n : n + self._size]


def rows_of(body: bytes, size: int = 1024**2, encoding: str = "", delimiter: str = "") -> list[list[str]]:
    file = File(body, size)
    form = form_of(file)
    return list(Rows(file, encoding or form.encoding, delimiter or form.delimiter))


class FormTest(SynchronousTestCase):
    def test_encodings(self) -> None:
        for encoding, expected in (
            ("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("utf-16", "utf-16-le"), ("cp1256", "cp1256"),
        ):  # fmt: skip
            form = form_of(File(ARABIC.encode(encoding)))
            self.assertEqual((form.encoding, form.delimiter, form.lines, form.damaged), (expected, ";", 3, 0), encoding)
            self.assertEqual(rows_of(ARABIC.encode(encoding))[1:], [["0791234567", "محمد"], ["0791234568", "لينا الأحمد"]])
            self.assertEqual(rows_of(ARABIC.encode(encoding))[0], ["الرقم", "الاسم"])  # no mark before it
        western = "phone,name\n0791234567,José Müller\n0791234568,Åse Grønn\n"
        self.assertEqual(form_of(File(western.encode("cp1252"))).encoding, "cp1252")
        ascii16 = "phone,name\n0791234567,Ahmad\n"
        self.assertEqual(form_of(File(ascii16.encode("utf-16-be"))).encoding, "utf-16-be")
        self.assertEqual(rows_of(ascii16.encode("utf-16-le"))[1], ["0791234567", "Ahmad"])

    def test_pieces_divide_characters(self) -> None:
        for encoding in ("utf-8", "utf-16-le"):
            self.assertEqual(rows_of(ARABIC.encode(encoding), 7, encoding, ";")[2], ["0791234568", "لينا الأحمد"])

    def test_mixed_encodings(self) -> None:
        mostly = ("0791234567,محمد\n" * 50).encode() + "0791234568,Jos\xe9\n".encode("cp1252")
        form = form_of(File(mostly))
        self.assertEqual((form.encoding, form.damaged), ("utf-8", 1))
        self.assertEqual(list(Rows(File(mostly), "utf-8", ","))[-1], ["0791234568", "Jos\ufffd"])

    def test_delimiters(self) -> None:
        for delimiter in DELIMITERS:
            self.assertEqual(delimiter_of(f"phone{delimiter}name{delimiter}city\n1{delimiter}Sara, B.{delimiter}x\n"), delimiter)
        self.assertEqual(delimiter_of("0791234567\n0791234568\n"), ",")

    def test_other_kinds(self) -> None:
        for head, detail in (
            (b"%PDF-1.7\n", "PDF"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff\xe0", "JPEG"), (b"GIF89a", "GIF"),
            (b"\xd0\xcf\x11\xe0\xa1\xb1", "OLD_EXCEL"), (b"\x1f\x8b\x08", "GZIP"), (b"<!DOCTYPE html><p>", "HTML"), (b"\x7fELF", "PROGRAM"),
        ):  # fmt: skip
            with self.assertRaises(Refused) as raised:
                kind_of(head)
            self.assertEqual((raised.exception.code, raised.exception.detail), ("NOT_A_TABLE", detail))
        with self.assertRaises(Refused):
            form_of(File(bytes(range(256)) * 40))
        self.assertEqual((kind_of(b"PK\x03\x04"), kind_of(b"BMW,1\n"), kind_of(b"")), ("xlsx", "text", "text"))


class HostileTest(SynchronousTestCase):
    def refused(self, body: bytes, code: str, detail: str | None = None) -> None:
        with self.assertRaises(Refused) as raised:
            rows_of(body, encoding="utf-8", delimiter=",")
        self.assertEqual(raised.exception.code, code)
        if detail is not None:
            self.assertEqual(raised.exception.detail, detail)

    def test_one_line_of_100_megabytes(self) -> None:
        class Endless(File):
            read = 0

            def chunks(self) -> Iterator[bytes]:
                for _ in range(100):
                    self.read += 1
                    yield b"1" * 1024**2

        endless = Endless(b"")
        with self.assertRaises(Refused) as raised:
            list(Rows(endless, "utf-8", ","))
        self.assertEqual(raised.exception.code, "LINE_TOO_LONG")
        self.assertEqual(endless.read, 1)  # nobody read on

    def test_a_cell_that_is_too_long(self) -> None:
        self.refused(b"1,2\n3," + b"x" * 40_000 + b"\n", "CELL_TOO_LONG", "2")

    def test_quotes(self) -> None:
        self.refused(b'a,b\n1,"open\n' + b"2,x\n" * 100_000, "QUOTE_NOT_CLOSED", "2")
        self.refused(b'a,b\n1,"open\n' + b"2,x\n" * 60, "QUOTE_NOT_CLOSED", "2")
        self.refused(b'a,b\n1,"open\n2,x\n', "QUOTE_NOT_CLOSED", "2")  # at the end of the file
        found = rows_of(b'1,"two\nlines"\n2,"a ""quoted"" word"\n3,5" pipe\n')
        self.assertEqual(found, [["1", "two\nlines"], ["2", 'a "quoted" word'], ["3", '5" pipe']])

    def test_zeros(self) -> None:
        body = b"phone,name\n" + b"0791234567,x\n" * 6000 + b"079123\x004567,a\x00b\n"  # beyond where anybody looks
        self.assertEqual([clean(c) for c in rows_of(body)[-1]], ["079123 4567", "a b"])

    def test_columns(self) -> None:
        with self.assertRaises(Refused) as raised:
            preview(File(b",".join(b"1" for _ in range(10_000)) + b"\n"), None, {})
        self.assertEqual((raised.exception.code, raised.exception.detail), ("TOO_MANY_COLUMNS", "10000"))

    def test_line_ends(self) -> None:
        for end in ("\n", "\r\n", "\r"):
            self.assertEqual(rows_of(f"1,a{end}2,b{end}3,c".encode()), [["1", "a"], ["2", "b"], ["3", "c"]])
        self.assertEqual(rows_of("1,a\u2028b\x0bc\x85d\n2,e\n".encode()), [["1", "a\u2028b\x0bc\x85d"], ["2", "e"]])

    def test_nothing(self) -> None:
        for body in (b"", b"\n\n", b",,,\n,,\n", b"\xef\xbb\xbf"):
            with self.assertRaises(Refused) as raised:
                preview(File(body), None, {})
            self.assertEqual(raised.exception.code, "EMPTY_FILE")

    def test_form_from_elsewhere(self) -> None:
        for encoding, delimiter in (("idna", ","), ("utf-8", "x"), ("rot13", ","), ("utf-8", '"')):
            with self.assertRaises(Refused):
                Rows(File(b""), encoding, delimiter)

    @settings(deadline=None, max_examples=150)
    @given(st.binary(max_size=600), st.sampled_from(ENCODINGS), st.sampled_from(DELIMITERS), st.integers(1, 50))
    def test_any_octets(self, body: bytes, encoding: str, delimiter: str, size: int) -> None:
        file = File(body, size)
        for read in (lambda: form_of(file), lambda: list(Rows(file, encoding, delimiter)), lambda: preview(file, None, {})):
            try:
                read()
            except Refused as refused:
                self.assertTrue(refused.code)

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0\ufeff"), max_size=8), min_size=1,
                             max_size=4), min_size=1, max_size=8), st.integers(1, 40), st.sampled_from(DELIMITERS))  # fmt: skip
    def test_as_written(self, rows: list[list[str]], size: int, delimiter: str) -> None:
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
        self.assertEqual(list(Rows(File(out.getvalue().encode(), size), "utf-8", delimiter)), rows)


class PreviewTest(SynchronousTestCase):
    def look(self, text: str) -> tuple[bool, int, dict[str, int]]:
        found = preview(File(text.encode()), None, {})["mapping"]
        return found["header"], found["number"], found["variables"]

    def test_guesses(self) -> None:
        self.assertEqual(self.look("name,mobile,age\nSara,0791234567,31\nOmar,0791234568,44\n"), (True, 1, {"NAME": 0, "AGE": 2}))
        self.assertEqual(self.look("0791234567\n0791234568\n"), (False, 0, {}))
        self.assertEqual(self.look("Sara;+962 79 123 4567\n"), (False, 1, {"COLUMN_1": 0}))
        found = self.look("الاسم,الرقم,المدينة,Überlänge\nلينا,٠٧٩١٢٣٤٥٦٧,عمان,x\n")
        self.assertEqual(found, (True, 1, {"NAME": 0, "CITY": 2, "UBERLANGE": 3}))
        self.assertEqual(self.look("id,phone,id,note\n1000001,0791234567,2,\n1000002,0791234568,3,\n"), (True, 1, {"ID": 0, "ID_3": 2}))
        self.assertEqual(self.look("a,b\nx,y\n"), (False, -1, {"COLUMN_1": 0, "COLUMN_2": 1}))

    def test_what_spreadsheets_do_to_files(self) -> None:
        text = "sep=;\r\nphone;name\r\n'+962791234567;Sara, B., C.\r\n=\"0791234568\";D, E, F\r\n"
        self.assertEqual(self.look(text), (True, 0, {"NAME": 1}))
        rows = Rows(File(text.encode()), "utf-8", ";")
        found = [row for row in rows if row]
        self.assertEqual(found, [["phone", "name"], ["'+962791234567", "Sara, B., C."], ['="0791234568"', "D, E, F"]])
        self.assertEqual(rows.line, 4)
        self.assertEqual([bare(n) for n in ("'079", '="079"', "=079", "079")], ["079"] * 4)
        self.assertEqual([bare(n) for n in ("' 079 ", "=1+1", "x'1")], ["079 ", "1+1", "x'1"])

    def test_as_the_reader_says(self) -> None:
        found = preview(File(ARABIC.encode("cp1256")), None, {"delimiter": ",", "encoding": "cp1252"})
        self.assertEqual((found["delimiter"], found["encoding"], len(found["columns"])), (",", "cp1252", 1))
        again = preview(File(ARABIC.encode("cp1256")), None, {"delimiter": ";", "encoding": "nonsense"})
        self.assertEqual((again["delimiter"], again["encoding"]), (";", "cp1256"))
