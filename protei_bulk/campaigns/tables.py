"""Files of recipients as rows of text, whatever they are: separated by commas, semicolons, tabs or bars, in any usual encoding. Pure.

Nothing of a file is believed: lines, cells and columns have bounds, and what is no table is refused with a reason.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from attrs import frozen

MAX_LINE = 256 * 1024  # characters
MAX_CELL = 32 * 1024  # characters
MAX_COLUMNS = 500
MAX_SPAN = 50  # lines of one record: more, and a quote was never closed
CHUNK = 256 * 1024
DELIMITERS = (",", ";", "\t", "|")
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "cp1256", "cp1252")

#: beginnings of files that are something else: what we call them
_OTHERS = (
    (b"%PDF", "PDF"), (b"\x89PNG", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF8", "GIF"),
    (b"\xd0\xcf\x11\xe0", "OLD_EXCEL"), (b"\x1f\x8b", "GZIP"),
    (b"Rar!", "RAR"), (b"7z\xbc\xaf", "7Z"), (b"{\\rtf", "RTF"), (b"\x7fELF", "PROGRAM"), (b"MZ\x90", "PROGRAM"), (b"BM", "BMP"),
)  # fmt: skip


class Refused(Exception):
    """The file cannot be read: `code` says why, `detail` where."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code} {detail}".strip())
        self.code, self.detail = code, detail


class Octets(Protocol):
    """A file that can be read from its beginning as often as wanted, in chunks."""

    size: int

    def chunks(self) -> Iterator[bytes]: ...


@frozen
class Form:
    """`damaged`: characters that were no text; `lines` of the whole file."""

    encoding: str
    delimiter: str
    lines: int
    damaged: int = 0


def kind_of(head: bytes) -> str:
    """"xlsx" or "text", by the first octets. Raises Refused."""
    if head.startswith(b"PK\x03\x04"):
        return "xlsx"
    for mark, name in _OTHERS:
        if head.startswith(mark) and (name != "BMP" or b"\0" in head[:64]):
            raise Refused("NOT_A_TABLE", name)
    if re.match(rb"\s*(<!DOCTYPE|<html|<\?xml)", head[:200], re.IGNORECASE):
        raise Refused("NOT_A_TABLE", "HTML")
    return "text"


# --- encoding


def form_of(file: Octets) -> Form:
    """Reads all of it. Raises Refused where it is no text."""
    head = next(file.chunks(), b"")
    wide = _wide(head)
    if wide:
        lines, damaged, sample = _look(file, wide)
        return Form(wide, _delimiter(sample), lines, damaged)
    if b"\0" in head[:65536]:
        raise Refused("NOT_A_TABLE", "BINARY")
    lines, damaged, sample = _look(file, "utf-8")
    if damaged:
        good, single = _others(file)
        if damaged * 9 > good:  # hardly anything in it is UTF-8
            lines, damaged, sample = _look(file, single)
            return Form(single, _delimiter(sample), lines, damaged)
    return Form("utf-8", _delimiter(sample), lines, damaged)


#: a first line that spreadsheets write to tell each other
_SAID = re.compile("sep=(.)[ \t]*(?:\r\n|\r|\n)")


def _delimiter(sample: str) -> str:
    said = _SAID.match(sample)
    return said[1] if said is not None and said[1] in DELIMITERS else delimiter_of(sample)


def _wide(head: bytes) -> str:
    """UTF-16 by its mark, or by the zeros of its ASCII letters."""
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    sample = head[:4096]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if len(sample) >= 4 and odd > len(sample) * 0.15 and even < odd / 10:
        return "utf-16-le"
    if len(sample) >= 4 and even > len(sample) * 0.15 and odd < even / 10:
        return "utf-16-be"
    return ""


def _look(file: Octets, encoding: str) -> tuple[int, int, str]:
    """(lines, damaged characters, the first part) of the whole file."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    lines = damaged = 0
    sample = last = ""
    for chunk in file.chunks():
        text = decoder.decode(chunk)
        if len(sample) < CHUNK:
            sample += text[:CHUNK]
        lines += max(text.count("\n"), text.count("\r"))
        damaged += text.count("\ufffd")
        last = text[-1:] or last
    return lines + (last not in ("", "\n", "\r")), damaged, sample.removeprefix("\ufeff")


def _others(file: Octets) -> tuple[int, str]:
    """How many characters beyond ASCII are right as UTF-8, and which other encoding they look like."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = 0
    sample = bytearray()
    for chunk in file.chunks():
        text = decoder.decode(chunk)
        good += len(text) - len(text.encode("ascii", "ignore")) - text.count("\ufffd")
        if len(sample) < CHUNK:
            sample += bytes(b for b in chunk[:CHUNK] if b >= 0x80)[:CHUNK]
    # Arabic letters of Windows-1256 come in rows; as Windows-1252 they are accented letters next to signs.
    arabic = len(re.findall("[\u0621-\u064a]", bytes(sample).decode("cp1256", "replace")))
    latin = len(re.findall("[\u00c0-\u00ff]", bytes(sample).decode("cp1252", "replace")))
    joined = len(re.findall(rb"[\xc1-\xed]{3}", bytes(sample)))
    return good, "cp1256" if arabic >= latin * 0.6 and joined * 8 >= len(sample) else "cp1252"


def delimiter_of(sample: str) -> str:
    """The one that divides most of the first lines into as many columns."""
    lines = [line for line in sample.splitlines()[:200] if line.strip()][:50]
    best, most = ",", 0.0
    for delimiter in DELIMITERS:
        counts = [line.count(delimiter) for line in lines]
        if not any(counts):
            continue
        usual = max(set(counts), key=lambda n: (counts.count(n) if n else 0, n))
        share = counts.count(usual) / len(counts) if usual else 0.0
        # A comma in every text divides, too: more columns weigh a little more, an even share a lot.
        score = share + min(usual, 20) / 100
        if score > most:
            best, most = delimiter, score
    return best


# --- rows


class Rows:
    """Iterates over the records of a text as lists; `line` is the last line read, from 1. Raises Refused."""

    def __init__(self, file: Octets, encoding: str, delimiter: str) -> None:
        if encoding not in ENCODINGS or delimiter not in DELIMITERS:
            raise Refused("NOT_A_TABLE", "mapping")
        self._file, self._encoding = file, encoding
        self._quotes = 0
        csv.field_size_limit(MAX_CELL)
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=False)
        self.octets = 0

    @property
    def line(self) -> int:
        return self._reader.line_num

    def _lines(self) -> Iterator[str]:
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(self._encoding)("replace"), translate=True)
        rest, first = "", True
        for chunk in self._file.chunks():
            text = rest + decoder.decode(chunk)
            if first and text:
                text, first = text.removeprefix("\ufeff"), False
                text = _SAID.sub("\n", text, count=1) if text.startswith("sep=") else text
            self.octets += len(chunk)
            self._quotes += text.count('"') - rest.count('"')
            *lines, rest = text.split("\n")
            for line in lines:
                if len(line) > MAX_LINE:
                    raise Refused("LINE_TOO_LONG", str(self._reader.line_num + 1))
                yield line + "\n"
            if len(rest) > MAX_LINE:
                raise Refused("LINE_TOO_LONG", str(self._reader.line_num + 1))
        rest += decoder.decode(b"", final=True)
        if rest:
            yield rest

    def __iter__(self) -> Iterator[list[str]]:
        reader, before, span = self._reader, 0, 0
        try:
            for row in reader:
                span = reader.line_num - before
                if span > MAX_SPAN:
                    raise Refused("QUOTE_NOT_CLOSED", str(before + 1))
                before = reader.line_num
                yield row
        except csv.Error:
            # A cell without end: a quote that was never closed, unless it stands in one line.
            code = "QUOTE_NOT_CLOSED" if reader.line_num - before > 1 else "CELL_TOO_LONG"
            raise Refused(code, str(before + 1)) from None
        if span > 1 and self._quotes % 2:
            raise Refused("QUOTE_NOT_CLOSED", str(before - span + 1))


_DRESSED = re.compile("\\s*(?:'|=\"|=)\\s*([^\"=]*)\"?\\s*\\Z")


def bare(written: str) -> str:
    """A number without what keeps spreadsheets from rounding it: '079…, or ="079…"."""
    dressed = _DRESSED.match(written)
    return dressed[1] if dressed is not None else written


def first_rows(rows: Iterable[Sequence[str]], most: int) -> list[list[str]]:
    """The first ones that hold anything, their ends without empty cells. Raises Refused for too many columns."""
    found: list[list[str]] = []
    for row in rows:
        cells = [clean(c) for c in row]
        while cells and not cells[-1]:
            cells.pop()
        if len(cells) > MAX_COLUMNS:
            raise Refused("TOO_MANY_COLUMNS", str(len(cells)))
        if cells:
            found.append(cells)
            if len(found) >= most:
                break
    return found


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]+")


def clean(cell: str) -> str:
    """A cell as one line of text: no control characters, no blanks around it."""
    cell = cell.strip()
    return cell if cell.isascii() and cell.isprintable() else _CONTROL.sub(" ", cell).strip()
