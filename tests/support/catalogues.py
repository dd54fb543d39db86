"""The texts of the portal, gathered from its templates and modules into the catalogues that translators edit."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

PORTAL = Path(__file__).resolve().parents[2] / "protei_bulk" / "channels" / "portal"
_KEYWORDS = {"_": None, "gettext": None, "_n": None, "ngettext": (1, 2)}
_METHODS = [("**.py", "python"), ("templates/**.html", "jinja2.ext:babel_extract")]


def texts() -> Catalog:
    """Every text that the portal shows."""
    catalog = Catalog(charset="utf-8", fuzzy=False)
    options = {"templates/**.html": {"trimmed": "true", "silent": "false"}}
    for name, _line, message, comments, context in extract_from_dir(str(PORTAL), _METHODS, options, keywords=_KEYWORDS):
        catalog.add(message, locations=[(name, 0)], auto_comments=comments, context=context)
    return catalog


def catalogue(code: str) -> Path:
    return PORTAL / "locale" / code / "LC_MESSAGES" / "portal.po"


def read(code: str) -> Catalog:
    with catalogue(code).open("rb") as file:
        return read_po(file, locale=code, abort_invalid=True)


def main(added: list[str]) -> None:
    there = [p.name for p in sorted((PORTAL / "locale").glob("*")) if catalogue(p.name).is_file()]
    for code in sorted({*there, *added}):
        path = catalogue(code)
        known = read(code) if path.is_file() else Catalog(locale=code, charset="utf-8", fuzzy=False)
        known.update(texts(), no_fuzzy_matching=True)
        for message in known:
            message.locations = sorted({(name, 0) for name, _ in message.locations})
        known.obsolete.clear()
        out = BytesIO()
        write_po(out, known, omit_header=False, include_lineno=False, sort_output=True, width=120)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
        missing = [m.id for m in known if m.id and not (all(m.string) if isinstance(m.string, tuple | list) else m.string)]
        print(f"{code}: {len(known)} texts, {len(missing)} not translated")


if __name__ == "__main__":
    main(sys.argv[1:])
