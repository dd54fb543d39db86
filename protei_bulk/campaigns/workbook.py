"""XLSX files as rows of text, by calamine. What they would become unpacked is counted before anything takes them apart."""

from __future__ import annotations

import datetime
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import python_calamine

from protei_bulk.campaigns.tables import MAX_CELL, Refused

MAX_ENTRIES = 5000  # files in the archive
MAX_RATIO = 400  # unpacked to packed, of a file in it that is large
LARGE = 16 * 1024**2
MAX_CELLS = 16_000_000  # of a sheet, from its first to its last: so many are held at once
_CHUNK = 1024**2
#: as programs write them; whoever writes otherwise meets the limits of the process
_FAR_COLUMNS = (re.compile(rb'="([A-Z]{2,3})[0-9]'), re.compile(rb"='([A-Z]{2,3})[0-9]"))
_ROW = re.compile(rb"=[\"'][A-Z]{0,3}([0-9]{1,9})[\"']")


class Workbook:
    """`file` is an open file with all of it; `most` octets unpacked. Raises Refused."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        _checked(file, most)
        file.seek(0)
        try:
            self._workbook = python_calamine.CalamineWorkbook.from_filelike(file)
        except python_calamine.PasswordError:
            raise Refused("ENCRYPTED") from None
        except BaseException as error:
            raise _fault(error) from None
        self._indices = [i for i, m in enumerate(self._workbook.sheets_metadata) if m.typ == python_calamine.SheetTypeEnum.WorkSheet]
        if not self._indices:
            raise Refused("EMPTY_FILE")

    @property
    def sheets(self) -> list[str]:
        return [self._workbook.sheet_names[i][:100] for i in self._indices]

    def rows(self, sheet: int) -> SheetRows:
        if not 0 <= sheet < len(self._indices):
            raise Refused("NO_SUCH_SHEET", str(sheet + 1))
        try:
            return SheetRows(self._workbook.get_sheet_by_index(self._indices[sheet]))
        except BaseException as error:
            raise _fault(error) from None


def _fault(error: BaseException) -> BaseException:
    """A library that gives up ("PanicException", no Exception) has met a broken file, too."""
    if isinstance(error, MemoryError | KeyboardInterrupt | SystemExit):
        return error
    return Refused("BROKEN_XLSX", str(error)[:200])


class SheetRows:
    """As tables.Rows."""

    def __init__(self, sheet: Any) -> None:
        self._sheet = sheet
        self.line = 0
        self.total = sheet.end[0] + 1 if sheet.end else 0

    def __iter__(self) -> Iterator[list[str]]:
        for row in self._sheet.iter_rows():
            self.line += 1
            yield [cell if type(cell) is str else text_of(cell) for cell in row]


def text_of(cell: Any) -> str:
    """A cell as people see it: whole numbers without a point, dates as 2026-11-24."""
    if isinstance(cell, str):
        return cell[:MAX_CELL]
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**63 else repr(cell)
    if isinstance(cell, datetime.datetime) and not (cell.hour or cell.minute or cell.second):
        return cell.date().isoformat()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell)


class _Extent:
    """How far a sheet reaches, by the names of its cells: two in opposite corners would be billions to whoever keeps a rectangle."""

    def __init__(self) -> None:
        self._tail = b""
        self._columns, self._rows, self._named = 26, 0, 0

    def look(self, text: bytes) -> None:
        text = self._tail + text
        self._tail = text[-24:]
        self._named += text.count(b"<c ") + text.count(b"<c>")
        for name in (n for pattern in _FAR_COLUMNS for n in pattern.findall(text)):
            column = 0
            for letter in name:
                column = column * 26 + letter - 64
            self._columns = max(self._columns, column)
        last = _ROW.findall(text[max(0, text.rfind(b"<row") - 24) :])
        self._rows = max([self._rows, *map(int, last)])

    @property
    def cells(self) -> int:
        """Few columns are taken for as many as there are cells."""
        if self._columns == 26:
            return max(self._named, self._rows)
        return max(self._named, self._rows * self._columns)


def _checked(file: BinaryIO, most: int) -> None:
    """Raises Refused for what is no XLSX, or would become too large."""
    try:
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
        names = {e.filename for e in entries}
        if "xl/workbook.bin" in names or "mimetype" in names:
            raise Refused("NOT_A_TABLE", "XLSB" if "xl/workbook.bin" in names else "ODS")
        if "[Content_Types].xml" not in names or not any(n.startswith("xl/") and n.endswith(".xml") for n in names):
            raise Refused("NOT_A_TABLE", "ZIP")
        if len(entries) > MAX_ENTRIES:
            raise Refused("TOO_LARGE_UNPACKED", str(len(entries)))
        if sum(e.file_size for e in entries) > most:
            raise Refused("TOO_LARGE_UNPACKED", str(sum(e.file_size for e in entries) // 1024**2))
        left = most
        for entry in entries:
            if entry.flag_bits & 1:
                raise Refused("ENCRYPTED")
            if entry.file_size > LARGE and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
                raise Refused("ZIP_BOMB")
            extent = _Extent() if entry.filename.startswith("xl/worksheets/") else None
            left -= _inflated(file, entry, left, extent)
            if extent is not None and extent.cells > MAX_CELLS:
                raise Refused("TOO_MANY_CELLS", str(extent.cells))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, KeyError, UnicodeError) as error:
        raise Refused("BROKEN_XLSX", str(error)[:200]) from None


def _inflated(file: BinaryIO, entry: zipfile.ZipInfo, most: int, extent: _Extent | None) -> int:
    """Octets of one file of the archive, by unpacking it: what the directory says may be a lie."""
    file.seek(entry.header_offset)
    head = file.read(30)
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("no local header")
    file.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
    if entry.compress_type == zipfile.ZIP_STORED:
        if entry.compress_size > most:
            raise Refused("TOO_LARGE_UNPACKED", str(most // 1024**2))
        if extent is not None:
            left = entry.compress_size
            while left > 0 and (data := file.read(min(left, _CHUNK))):
                extent.look(data)
                left -= len(data)
        return entry.compress_size
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise zipfile.BadZipFile("compression of another kind")
    inflater = zlib.decompressobj(-15)
    left, total = entry.compress_size, 0
    while left > 0 and not inflater.eof:
        data = file.read(min(left, 64 * 1024))
        if not data:
            raise zipfile.BadZipFile("it ends too early")
        left -= len(data)
        while data and not inflater.eof:
            text = inflater.decompress(data, _CHUNK)
            data = inflater.unconsumed_tail
            total += len(text)
            if extent is not None:
                extent.look(text)
            if total > most:
                raise Refused("TOO_LARGE_UNPACKED", str(most // 1024**2))
            if total > LARGE and total > MAX_RATIO * max(1, entry.compress_size):
                raise Refused("ZIP_BOMB")
    return total
