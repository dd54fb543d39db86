"""Debian's Chromium before the portal, driven by Playwright; axe-core looks for barriers.

    reader = Reader(self, gateway.url, width=390, language="ar")
    reader.login("ahmad")
    reader.open("/messages")
    reader.check()

One browser serves the whole run; each Reader has cookies of its own. A script's error, a violation of the content security policy or a
resource that is refused fails the test at its end, whichever page it was on. `SkipTest` says what the machine lacks.
"""

from __future__ import annotations

import atexit
import importlib.resources
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest import SkipTest

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from twisted.trial.unittest import SynchronousTestCase

from tests.support.gateway import PASSWORD
from tests.support.once import Once

DESKTOP: Final = 1440
PHONE: Final = 390
_HEIGHT: Final = 900
#: milliseconds: longer than anything takes on a busy machine
_LONGEST: Final = 30_000
_OPTIONS: Final = (
    "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--font-render-hinting=none",
)  # fmt: skip
#: what a page that is answered with an error makes Chromium say
_STATUS: Final = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_AXE: Final = """async (options) => (await axe.run(document, options)).violations
    .map((v) => ({...v, nodes: v.nodes.map((n) => n.target.join(" ") + ": " + n.html.slice(0, 200))}))"""
#: rules whose outcome the width or the colours change
_ON_A_PHONE: Final = ("color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable")
_WCAG: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
#: elements that reach beyond the window's edge at either side, outside of what scrolls by itself
_BEYOND: Final = """() => {
    const most = document.documentElement.clientWidth, out = [];
    if (document.documentElement.scrollWidth <= most && document.body.scrollWidth <= most) return out;
    for (const e of document.body.querySelectorAll("*")) {
        const b = e.getBoundingClientRect();
        if (b.width && (b.right > most + 1 || b.left < -1) && getComputedStyle(e).visibility !== "hidden")
            out.push(e.tagName.toLowerCase() + "." + String(e.className.baseVal ?? e.className).replaceAll(" ", "."));
    }
    return out.length ? out.slice(0, 6) : ["the page"];
}"""


def executable() -> str:
    """Debian's Chromium. Raises SkipTest."""
    for name in ("chromium", "chromium-browser"):
        found = shutil.which(name)
        if found:
            return found
    raise SkipTest("chromium is not installed: bin/test installs Debian's package when it runs as root")


def _launch() -> Browser:
    path = executable()
    driver = sync_playwright().start()
    atexit.register(driver.stop)
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    browser = driver.chromium.launch(executable_path=path, args=[*_OPTIONS, *root], timeout=120_000)
    atexit.register(browser.close)
    return browser


the_browser = Once(_launch)
_axe = Once(lambda: (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))


class Reader:
    """Somebody before the portal. `page` is Playwright's; `problems` what went wrong so far."""

    def __init__(self, test: SynchronousTestCase, base: str, *, width: int = DESKTOP, language: str = "en", theme: str = "light") -> None:
        self.test, self.base = test, base
        self.problems: list[str] = []
        context = the_browser().new_context(
            viewport={"width": width, "height": _HEIGHT}, locale={"en": "en-GB", "ar": "ar"}.get(language, language),
            color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce", base_url=self.base,
        )  # fmt: skip
        context.set_default_timeout(_LONGEST)
        self.page: Page = context.new_page()
        self._width = width
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.page.url}: {error}"))
        test.addCleanup(self._end)
        self._context = context

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        status = _STATUS.match(message.text)
        if status and message.location.get("url", "").partition("?")[0] == self.page.url.partition("?")[0]:
            return  # the page itself, which the test looks at
        self.problems.append(f"{self.page.url}: {message.text} ({message.location.get('url', '')})")

    def _end(self) -> None:
        self._context.close()
        self.test.assertEqual(self.problems, [], "what the browser complained of")

    # --- moving about

    @property
    def path(self) -> str:
        return self.page.url.removeprefix(self.base)

    def open(self, path: str, status: int = 200) -> None:
        answer = self.page.goto(path)
        assert answer is not None
        self.test.assertEqual(answer.status, status, path)

    def login(self, name: str, password: str = PASSWORD) -> None:
        self.open("/login")
        self.page.get_by_label(re.compile("^(User name|اسم المستخدم)")).fill(name)
        self.page.get_by_label(re.compile("^(Password|كلمة المرور)")).fill(password)
        self.page.locator("main button.primary").click()
        self.page.wait_for_url(lambda url: "/login" not in url)

    @contextmanager
    def going(self) -> Iterator[None]:
        """Around what brings another page: returns when that is there."""
        with self.page.expect_navigation():
            yield

    def press(self, name: str | re.Pattern[str], role: Any = "button") -> None:
        """A button or link by its name, that brings another page."""
        with self.going():
            self.page.get_by_role(role, name=name, exact=isinstance(name, str)).first.click()

    def tab_to(self, selector: str, most: int = 60) -> None:
        """Presses Tab until what is there has the focus."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                return
        self.test.fail(f"{self.path}: no Tab leads to {selector}")

    def sees(self, *texts: str) -> None:
        for text in texts:
            self.page.get_by_text(text).first.wait_for()

    # --- what is looked for on every page

    def barriers(self, rules: Sequence[str] = ()) -> list[str]:
        """What axe-core finds wrong and calls serious or critical: rule, what it asks, elements."""
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(_axe())
        only = {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": list(_WCAG)}
        found = self.page.evaluate(_AXE, {"runOnly": only, "resultTypes": ["violations"]})
        return [
            f"{self.path} {self._width} {v['id']} ({v['impact']}): {v['help']}: {' | '.join(v['nodes'][:4])}"
            for v in found if v["impact"] in ("serious", "critical")
        ]  # fmt: skip

    def overflow(self) -> list[str]:
        """What reaches beyond the window at the side."""
        beyond = self.page.evaluate(_BEYOND)
        return [f"{self.path} is wider than {self._width}: {', '.join(beyond)}"] if beyond else []

    def resize(self, width: int) -> None:
        self._width = width
        self.page.set_viewport_size({"width": width, "height": _HEIGHT})

    def faults(self) -> list[str]:
        """Of the page as it stands: every rule on a desktop; what size and colours change on a phone in dark; what overflows."""
        self.resize(DESKTOP)
        found = [*self.overflow(), *self.barriers()]
        self.resize(PHONE)
        self.page.emulate_media(color_scheme="dark")
        found += [*self.overflow(), *(f"dark: {b}" for b in self.barriers(_ON_A_PHONE))]
        self.page.emulate_media(color_scheme="light")
        self.resize(DESKTOP)
        return found

    def check(self) -> None:
        """Fails with what `faults` finds."""
        self.test.assertEqual(self.faults(), [])


def links(page: Page) -> Iterable[str]:
    """Paths of this site that the page links to, without fragments."""
    found = page.eval_on_selector_all("a[href]:not([download])", "all => all.map((a) => a.href)")
    base = page.evaluate("() => location.origin")
    return [href.removeprefix(base).partition("#")[0] for href in found if href.startswith(base + "/")]
