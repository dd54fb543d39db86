"""Pictures of every page of the portal, found by its links: two widths, two languages, light, and some in dark.

`python -m tests.support.pictures FOLDER [URL]`: of a gateway with invented data, or of the one at URL that has them.
Without FOLDER: those of the README, into docs/pictures.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page

from tests.support.browser import DESKTOP, PHONE, links, the_browser
from tests.support.demo import MARKETER, OPERATOR, demo
from tests.support.gateway import PASSWORD, ROOT

_HEIGHT = 900
_TALLEST = 3000  # pixels: the rest of longer pages is more of the same
#: where pages begin that no link leads to
_STARTS = ("/", "/account", "/queues/held", "/nothing-here")
_FILES = re.compile(r"^/(docs|api|static|openapi\.json|logout)|\.(csv|xlsx)(\?|$)")
#: what tells one thing of a kind from the next
_PLACES = re.compile(r"/(MSG|CAMP|MO)-[0-9A-Z]+|/\d+(?=/|$)|(?<=/smscs/)[^/?]+|(?<=/routes/)(?!new|explain|costs)[^/?]+|(?<=/with/)[^/?]+")
#: of these one picture of each state
_STATES = ("/campaigns/{}",)
_DARK = ("/", "/campaigns", "/messages", "/campaigns/{}")


def pattern_of(path: str) -> str:
    return _PLACES.sub(lambda m: "/{}" if m[0].startswith("/") else "{}", path.partition("?")[0])


def pages(page: Page) -> Iterator[tuple[str, str]]:
    """(name, path) of each page that links lead to; several campaigns, one of each other kind."""
    seen: dict[str, int] = {}
    waiting = list(_STARTS)
    while waiting:
        path = waiting.pop(0)
        pattern = pattern_of(path)
        if _FILES.search(path) or seen.get(pattern, 0) >= (8 if pattern in _STATES else 1) or f"={path}" in seen:
            continue
        seen[pattern] = seen.get(pattern, 0) + 1
        seen[f"={path}"] = 1
        page.goto(path)
        waiting += links(page)
        number = f"-{seen[pattern]}" if pattern in _STATES else ""
        yield (re.sub(r"[^\w]+", "-", pattern.replace("{}", "one")).strip("-") or "dashboard") + number, path


def take(url: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for role, name in (("marketer", MARKETER), ("operator", OPERATOR)):
        found: list[tuple[str, str]] = []
        for language, width, theme in (
            ("en", DESKTOP, "light"), ("en", PHONE, "light"), ("ar", DESKTOP, "light"), ("ar", PHONE, "light"), ("en", DESKTOP, "dark"),
        ):  # fmt: skip
            context = the_browser().new_context(
                viewport={"width": width, "height": _HEIGHT}, locale=language, color_scheme=theme, reduced_motion="reduce", base_url=url,
            )  # fmt: skip
            page = context.new_page()
            if name == MARKETER and theme == "light":
                page.goto("/login")
                _shoot(page, folder / f"login.{language}.{width}.png")
            _enter(page, name)
            found = found or list(pages(page))
            for title, path in found:
                if theme == "dark" and pattern_of(path) not in _DARK:
                    continue
                page.goto(path)
                page.wait_for_timeout(150)  # what live parts bring
                _shoot(page, folder / f"{role}.{title}.{language}.{width}{'.dark' if theme == 'dark' else ''}.png")
            context.close()


def for_readme(url: str, folder: Path) -> None:
    """The two that the README shows."""
    folder.mkdir(parents=True, exist_ok=True)
    page = the_browser().new_context(viewport={"width": DESKTOP, "height": _HEIGHT}, locale="en", base_url=url).new_page()
    _enter(page, MARKETER)
    page.wait_for_timeout(20_000)  # a campaign that has just begun shows little
    page.screenshot(path=folder / "dashboard.png")
    page.goto("/campaigns?status=RUNNING")
    with page.expect_navigation():
        page.locator("main tbody a").first.click()
    page.wait_for_timeout(20_000)
    page.screenshot(path=folder / "campaign.png")


def _enter(page: Page, name: str) -> None:
    page.goto("/login")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(PASSWORD)
    with page.expect_navigation():
        page.locator("main button.primary").click()


def _shoot(page: Page, file: Path) -> None:
    size = page.viewport_size
    assert size is not None
    height = min(_TALLEST, int(page.evaluate("document.documentElement.scrollHeight")))
    page.set_viewport_size({"width": size["width"], "height": max(_HEIGHT, height)})
    page.screenshot(path=file)
    page.set_viewport_size(size)


def main(folder: str = "", url: str = "") -> None:
    gateway = None if url else demo()
    try:
        base = url or (gateway.url if gateway else "")
        if folder:
            take(base, Path(folder))
        else:
            for_readme(base, ROOT / "docs" / "pictures")
    finally:
        if gateway is not None:
            gateway.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
