"""Pages from templates: everything that comes from people is escaped, by Jinja2's autoescape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from protei_bulk.channels.portal.formats import formats
from protei_bulk.channels.portal.i18n import ENGLISH, Language
from protei_bulk.channels.portal.navigation import navigation
from protei_bulk.channels.portal.static_files import StaticFiles
from protei_bulk.channels.portal.visit import Visit


class Renderer:
    """An environment a language: filters and texts differ, templates are compiled once each."""

    def __init__(self, languages: dict[str, Language], static: StaticFiles, now: Callable[[], float]) -> None:
        self._languages, self._static, self._now = languages, static, now
        self.paths: set[str] = set()  # of pages that are there
        self._environments = {code: self._environment(language) for code, language in languages.items()}

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=PackageLoader("protei_bulk.channels.portal"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, extensions=["jinja2.ext.i18n"],
        )  # fmt: skip
        environment.globals.update(
            _=language.gettext, gettext=language.gettext, ngettext=language.ngettext, static=self._static.address,
            locale=language, locales=list(self._languages.values()),
        )  # fmt: skip
        # The real filters belong to a reader's zone: they are put in at each rendering.
        environment.filters.update(formats(language, Visit.zone.fget(_NOBODY), self._now))  # type: ignore[attr-defined]
        return environment

    def part(self, visit: Visit, template: str, **values: Any) -> str:
        """The markup of a part of a page, as the page includes it."""
        return self._rendered(visit, template, flashes=(), navigation=(), **values)

    def render(self, visit: Visit, template: str, **values: Any) -> str:
        """The markup of a page."""
        return self._rendered(visit, template, flashes=visit.flashes, navigation=navigation(visit, self.paths), **values)

    def _rendered(self, visit: Visit, template: str, **values: Any) -> str:
        environment = self._environments.get(visit.language.code) or self._environments["en"]
        environment.filters.update(formats(visit.language, visit.zone, self._now))
        return environment.get_template(template).render(
            visit=visit, who=_Who(visit) if visit.account is not None else None, can=visit.can, csrf=visit.csrf, theme=visit.theme,
            here=visit.here, there=self.paths, **values,
        )  # fmt: skip


class _Who:
    """What the frame shows of the account."""

    def __init__(self, visit: Visit) -> None:
        account = visit.who
        self.username, self.role, self.customer_name = account.username, account.role, visit.customer_name
        self.account = account


_NOBODY = Visit(None, "", "", "", ENGLISH)  # type: ignore[arg-type]
