"""Login with password and one-time code, logout, language."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from protei_bulk.access.results import BUSY, INVALID_OTP, OTP_REQUIRED, TOO_MANY_ATTEMPTS, AuthResult
from protei_bulk.access.secrets import Seal, SecretError
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit

_TICKET_SECONDS = 300.0  # between the password and the code


class Auth(Protocol):
    def authenticate_web(
        self, db: object = None, username: str = "", password: str = "", otp_code: str | None = None, ip_address: str = "",
        user_agent: str = "",
    ) -> Deferred[AuthResult]: ...  # fmt: skip

    def logout(self, db: object = None, token: str = "", ip_address: str = "", user_agent: str = "") -> Deferred[bool]: ...


class Login:
    """`key` seals what the second step of a login needs to know of the first."""

    def __init__(self, shell: Shell, auth: Auth, key: bytes, now: Callable[[], float] = time.time) -> None:
        self._shell, self._auth, self._seal, self._now = shell, auth, Seal(key), now

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/login", None, self.show),
            Page("POST", "/login", None, self.enter),
            Page("POST", "/logout", None, self.leave),
            Page("POST", "/preferences", None, self.preferences),
        ]

    async def show(self, visit: Visit) -> Answer:
        if visit.account is not None:
            return self._shell.to(visit, _inside(visit.text("next")))
        return self._form(visit)

    async def enter(self, visit: Visit) -> Answer:
        """The first step sends name and password, the second the sealed ticket of the first and a code."""
        username, password, code = visit.text("username", 100), visit.raw("password")[:1024], visit.text("code", 40)
        ticket = visit.raw("ticket")[:4096]
        if ticket:
            opened = self._opened(ticket)
            if opened is None:
                return self._form(visit, error=visit._("That took too long. Please begin again."))
            username, password = opened
        if not username or not password:
            return self._form(visit, error=visit._("Enter your user name and password."))
        result = await self._auth.authenticate_web(None, username, password, code.replace(" ", "") or None, visit.ip, visit.user_agent)
        if result.success and result.refresh_token:
            visit.cookies.append(self._shell.cookies.session(result.refresh_token, visit.request.isSecure()))
            return self._shell.to(visit, _inside(visit.text("next")))
        if result.code in (OTP_REQUIRED, INVALID_OTP):
            wrong = visit._("That code is not right, or was used already.") if result.code == INVALID_OTP else ""
            return self._form(visit, 401 if wrong else 200, ticket=self._ticket(username, password), error=wrong)
        if result.code == TOO_MANY_ATTEMPTS:
            seconds = max(1, round(result.retry_after))
            waits = visit.ngettext(
                "Too many attempts. Try again in %(num)s second.", "Too many attempts. Try again in %(num)s seconds.", seconds
            )
            return self._form(visit, 429, error=waits)
        if result.code == BUSY:
            return self._form(visit, 503, error=visit._("Too many log in at this moment. Please try again."))
        return self._form(visit, 401, error=visit._("User name or password is not right, or the account is suspended."))

    async def leave(self, visit: Visit) -> Answer:
        if visit.token:
            await self._auth.logout(None, visit.token, visit.ip, visit.user_agent)
        visit.cookies.append(self._shell.cookies.no_session(visit.request.isSecure()))
        visit.token, visit.account = "", None
        return self._shell.to(visit, "/login", Flash("info", visit._("You are logged out.")))

    async def preferences(self, visit: Visit) -> Answer:
        code = visit.text("language", 10)
        if code in self._shell.languages:
            visit.cookies.append(self._shell.cookies.language(code, visit.request.isSecure()))
        return self._shell.to(visit, _inside(visit.text("back")))

    def _form(self, visit: Visit, status: int = 200, *, ticket: str = "", error: str = "") -> Answer:
        return self._shell.page(
            visit, "login.html", status, ticket=ticket, error=error, next=_inside(visit.text("next")), username=visit.text("username", 100)
        )

    def _ticket(self, username: str, password: str) -> str:
        return self._seal.close(json.dumps([username, password, self._now() + _TICKET_SECONDS]).encode(), "login")

    def _opened(self, ticket: str) -> tuple[str, str] | None:
        try:
            username, password, until = json.loads(self._seal.open(ticket, "login"))
        except (SecretError, ValueError):
            return None
        return (username, password) if self._now() <= until else None


def _inside(path: str) -> str:
    """A path of this site, to go on to; anything else leads to the first page.

    Browsers drop tabs and line ends from an address, and take a backslash for a slash: only what a URL may hold stays.
    """
    inside = path.startswith("/") and not path.startswith("//") and all("!" <= c <= "~" and c != "\\" for c in path)
    return path if inside and not path.startswith(("/login", "/logout", "/preferences")) else "/"
