"""One request of a browser on its way through the portal: who asks, in which language, and what was filled in."""

from __future__ import annotations

import unicodedata
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import define, field, frozen
from twisted.web.iweb import IRequest

from protei_bulk.channels.portal.i18n import Language
from protei_bulk.model.account import Account
from protei_bulk.model.permissions import Permission, Scope, scope_of

_UTC = ZoneInfo("UTC")


@frozen
class Flash:
    """What is told once at the top of the next page. kind: good, warn, bad, info."""

    kind: str
    text: str


@define(eq=False)
class Visit:
    """`account` is None before the login; `session_id` binds the CSRF token."""

    request: IRequest
    path: str
    ip: str
    user_agent: str
    language: Language
    theme: str = ""
    account: Account | None = None
    enrol: bool = False  # it must set up its second factor before anything else
    customer_name: str = ""
    session_id: str = ""
    csrf: str = ""
    token: str = field(default="", repr=False)
    places: dict[str, str] = field(factory=dict)  # the values of {names} in the route's path
    scope: Scope = Scope.NONE
    flashes: list[Flash] = field(factory=list)
    cookies: list[bytes] = field(factory=list)  # Set-Cookie headers to send

    @property
    def who(self) -> Account:
        """The account, of a page that asks for one."""
        assert self.account is not None
        return self.account

    @property
    def zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.account.timezone) if self.account is not None else _UTC
        except (ZoneInfoNotFoundError, ValueError):
            return _UTC

    @property
    def here(self) -> str:
        """Path and query, to come back to."""
        return str(self.request.uri.decode("latin-1"))[:2000]

    def can(self, permission: Permission | str) -> bool:
        if isinstance(permission, str):
            permission = Permission[permission]
        return self.account is not None and scope_of(self.account.role, permission) is not Scope.NONE

    def _(self, text: str, **values: Any) -> str:
        return self.language.gettext(text, **values)

    def ngettext(self, one: str, many: str, n: int, **values: Any) -> str:
        return self.language.ngettext(one, many, n, **values)

    # --- what was filled in

    def all(self, name: str) -> list[str]:
        """Every value of a field of the form or the query, as text in one normal form, without NUL."""
        given: list[bytes] = (self.request.args or {}).get(name.encode(), [])
        return [unicodedata.normalize("NFC", g.decode("utf-8", "replace")).replace("\0", "\ufffd") for g in given]

    def raw(self, name: str) -> str:
        """The value as it was typed, line ends as \\n."""
        given = self.all(name)
        return given[0].replace("\r\n", "\n").replace("\r", "\n") if given else ""

    def text(self, name: str, most: int = 1000) -> str:
        """The value without blanks around it, cut to a length that no page needs more of."""
        return self.raw(name).strip()[:most]

    def whole(self, name: str, default: int = 0, low: int = 0, high: int = 2**31 - 1) -> int:
        """A whole number within bounds, else the default."""
        given = self.text(name, 20)
        return int(given) if given.isascii() and given.isdigit() and low <= int(given) <= high else default

    # --- lists

    def link(self, **changes: Any) -> str:
        """This page with other query values; empty ones are left out."""
        values = {k: self.text(k) for k in (key.decode("latin-1") for key in (self.request.args or {})) if k != "csrf"}
        values.update({k: str(v) for k, v in changes.items()})
        query = urlencode({k: v for k, v in values.items() if v})
        return f"{self.path}?{query}" if query else self.path


@define
class Listing:
    """What the macros of tables.html need to know about one page of a list."""

    visit: Visit
    shown: int
    next: str = ""  # the cursor of the following page
    sort: str = ""
    direction: str = "desc"

    @property
    def first(self) -> bool:
        return not self.visit.text("after")

    def link(self, **changes: Any) -> str:
        return self.visit.link(**changes)
