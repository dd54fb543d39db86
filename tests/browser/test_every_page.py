"""Every page that the portal has, found by its links: no barrier that axe-core calls serious or critical, in light and dark, on desktop
and phone; nothing reaches beyond the window; no script complains; and no page was left out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Container
from typing import Any
from unittest.mock import MagicMock

from twisted.web.resource import Resource

from protei_bulk.channels.portal.wiring import PortalChannel
from tests.browser.base import Case
from tests.support.browser import PHONE, Reader, links

#: what is no page of the portal, and files
_ELSEWHERE = re.compile(r"^/(docs|api|static|openapi\.json|logout)|\.(csv|xlsx|json)(\?|$)")


def patterns() -> list[str]:
    """Of all pages, as the portal itself knows them."""
    given: dict[str, Any] = {name: MagicMock() for name in inspect.signature(PortalChannel).parameters}
    channel = PortalChannel(**{**given, "secret": b"x" * 32, "api": Resource()})  # type: ignore[no-untyped-call]
    return sorted(p for p in channel.shell.renderer.paths if not _ELSEWHERE.search(p))


def pattern_of(path: str, known: list[str]) -> str:
    """The pattern that a path is of; one without places wins."""
    bare = path.partition("?")[0]
    for pattern in sorted(known, key=lambda p: p.count("{")):
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(pattern)), bare):
            return pattern
    return ""


class EveryPage(Case):
    def walk(self, reader: Reader, looked_at: Container[str] = ()) -> tuple[dict[str, str], list[str]]:
        """One path of each pattern that can be reached by links, and the faults of each that was not looked at before."""
        known = patterns()
        seen: dict[str, str] = {}
        faults: list[str] = []
        waiting = ["/", f"/messages/{self.a_message()}", "/account"]
        while waiting:
            path = waiting.pop(0)
            pattern = pattern_of(path, known)
            if not pattern or pattern in seen:
                continue
            seen[pattern] = path
            answer = reader.page.goto(path)
            if answer is None or answer.status >= 400:
                faults.append(f"{path}: {answer and answer.status}")
                continue
            if pattern not in looked_at:
                faults += reader.faults()
            waiting += [p for p in links(reader.page) if not _ELSEWHERE.search(p)]
        return seen, faults

    def test_all(self) -> None:
        # An operator sees what a customer's user sees and more; what only the latter has comes after it.
        reached, faults = self.walk(self.reader("chief"))
        seen, found = self.walk(self.reader("ahmad"), reached)
        self.assertEqual([*faults, *found], [])
        self.assertEqual(set(patterns()) - {*reached, *seen} - {"/login"}, set(), "no link leads there")

    def test_in_arabic(self) -> None:
        reader = self.reader("chief", width=PHONE, language="ar")
        self.assertEqual(reader.page.locator("html").get_attribute("dir"), "rtl")
        reader.faults = reader.overflow  # type: ignore[method-assign]
        _, faults = self.walk(reader)
        self.assertEqual(faults, [])

    def test_gates_and_errors(self) -> None:
        reader = self.reader()
        reader.open("/login")
        reader.check()
        reader.page.get_by_label("User name").fill("ahmad")
        reader.page.get_by_label("Password").fill("not this one")
        reader.press("Log in")
        reader.sees("is not right")
        reader.check()
        reader.login("ahmad")
        reader.open("/nothing", 404)
        reader.check()
        reader.open("/campaigns/CAMP-NONE", 404)
        reader.open("/messages?status=DELETED")
        reader.check()
