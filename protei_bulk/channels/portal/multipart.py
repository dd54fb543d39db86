"""Forms with a file: `multipart/form-data`, taken apart within bounds. The site takes only small forms apart by itself.

Such a form carries its CSRF token as its first field: it is checked before anything else of the body is read.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Mapping

from attrs import field, frozen
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import MultiPartParser
from werkzeug.http import parse_options_header

_MOST_PARTS = 30
_HEAD = 600  # octets that a delimiter and the first field have room in
_TOKEN = re.compile(rb'--[^\r\n]{1,200}\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n([0-9a-f]{1,64})\r\n')


class BadForm(ValueError):
    """It is no such form, or too much of one."""


@frozen
class Form:
    """`values` of fields; `file` is what was chosen."""

    values: Mapping[str, str] = field(factory=dict)
    file: bytes = b""

    def text(self, key: str, most: int = 1000) -> str:
        """Without blanks around it, without NUL, in one normal form."""
        return unicodedata.normalize("NFC", self.values.get(key, "")).replace("\0", "\ufffd").strip()[:most]

    def content(self, key: str) -> str:
        """What the file says; where none was chosen, the field of this name."""
        return decoded(self.file) if self.file else self.values.get(key, "").replace("\r\n", "\n")


def read_form(request: IRequest, most: int) -> Form:
    """`most` octets of the file, and half as many more of the fields, whose line ends are longer. For a thread. Raises BadForm."""
    kind, options = parse_options_header(request.getHeader("content-type") or "")
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary or len(boundary) > 200:
        raise BadForm("expected multipart/form-data")
    body = request.content
    body.seek(0)
    try:
        parser = MultiPartParser(max_form_memory_size=most * 3 // 2, max_form_parts=_MOST_PARTS)
        values, files = parser.parse(body, boundary.encode("latin-1", "replace"), None)
    except (HTTPException, ValueError) as error:
        raise BadForm(str(error)) from None
    found = next((f for f in files.values() if f.filename), None)
    content = b"" if found is None else found.read(most + 1)
    if len(content) > most:
        raise BadForm("the file is too long")
    return Form(values.to_dict(), content)


def first_token(request: IRequest) -> str:
    """The field `csrf`, where it comes first; "" where it does not."""
    if not (request.getHeader("content-type") or "").startswith("multipart/form-data"):
        return ""
    request.content.seek(0)
    found = _TOKEN.match(request.content.read(_HEAD))
    return "" if found is None else found[1].decode()


def decoded(content: bytes) -> str:
    """UTF-8; UTF-16 with its mark, as spreadsheets save "Unicode text"; else octet by octet. NUL is no text."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "replace")
    return text.replace("\0", "\ufffd").replace("\r\n", "\n")
