"""The portal's languages: catalogues in gettext's format, read once at the start.

A catalogue is ``locale/<code>/LC_MESSAGES/portal.po``; adding a file adds a language. English
is what the templates and handlers are written in.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from attrs import field, frozen
from babel import Locale as BabelLocale
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})


@frozen
class Language:
    """`name` is what its speakers call it."""

    code: str
    name: str
    babel: BabelLocale = field(eq=False)
    _catalog: Catalog | None = field(default=None, eq=False)

    @property
    def direction(self) -> str:
        return "rtl" if self.code.split("_")[0] in RIGHT_TO_LEFT else "ltr"

    def gettext(self, text: str, **values: Any) -> str:
        """The translation, or the text itself; ``%(name)s`` takes values."""
        found = self._catalog.get(text) if self._catalog is not None else None
        said = found.string if found is not None and isinstance(found.string, str) and found.string and not found.fuzzy else text
        return said % values if values else said

    def ngettext(self, one: str, many: str, n: int, **values: Any) -> str:
        """The form for a number, which ``%(num)s`` stands for."""
        said = one if n == 1 else many
        if self._catalog is not None:
            found = self._catalog.get(one)
            if found is not None and isinstance(found.string, list | tuple) and not found.fuzzy:
                forms = found.string
                which = self.babel.plural_form(n)
                tags = _PLURALS.get(self.code)
                at = tags.index(which) if tags and which in tags else (0 if n == 1 else 1)
                if at < len(forms) and forms[at]:
                    said = forms[at]
        return said % {"num": format_decimal(n, locale=self.babel, numbering_system="latn"), **values}


#: the order of plural forms in a catalogue, by CLDR's names (as Babel's plural expression for the language counts them)
_PLURALS = {"ar": ("zero", "one", "two", "few", "many", "other"), "en": ("one", "other")}

ENGLISH = Language("en", "English", BabelLocale("en"))


def load_languages(folder: Traversable | None = None) -> dict[str, Language]:
    """By code; English first. Raises ValueError for a catalogue that cannot be read."""
    folder = folder or resources.files("protei_bulk.channels.portal").joinpath("locale")
    found = {"en": ENGLISH}
    entries = folder.iterdir() if folder.is_dir() else ()
    for entry in sorted(entries, key=lambda e: e.name):
        po = entry.joinpath("LC_MESSAGES", "portal.po")
        if entry.is_dir() and po.is_file():
            babel = BabelLocale.parse(entry.name)
            with po.open("rb") as file:
                catalog = read_po(file, locale=entry.name, abort_invalid=True)
            found[entry.name] = Language(entry.name, (babel.display_name or entry.name).capitalize(), babel, catalog)
    return found


def negotiate(languages: dict[str, Language], chosen: str, accepted: str) -> Language:
    """The one chosen before, else the best of an Accept-Language header, else English."""
    if chosen in languages:
        return languages[chosen]
    wishes: list[tuple[float, int, str]] = []
    for n, part in enumerate(accepted.split(",")[:20]):
        code, _, quality = part.strip().partition(";")
        try:
            q = float(quality.strip().removeprefix("q=")) if quality.strip() else 1.0
        except ValueError:
            continue
        wishes.append((-q, n, code.strip().lower()))
    for q, _, code in sorted(wishes):
        base = code.split("-")[0]
        if q < 0 and base in languages:
            return languages[base]
    return languages["en"]
